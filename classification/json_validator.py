r"""Selects the images to train on: label specification x taxonomy x metadata.

Each label of the specification takes the dataset labels at or below its taxa, and those
that it names. Without --output-dir, what each label takes is printed, one dataset label a
line (label, dataset|label, and with --megadb the number of images), and that is all.

With --output-dir, every image of the metadata store is selected whose only dataset label
is one of these. Then are left out, in this order: files not named as images are, files
that are not there (-c), labels with too few locations (--min-locs), and images beyond a
label's max_count.

Reads   label_spec.json             labels (csv_to_json makes it from a table)
        taxonomy CSV                which taxon each label of each dataset means
        --megadb DIR                the metadata store that import_metadata writes
        --mislabeled-images DIR     <dataset>.csv: images whose label is wrong
Writes  into --output-dir:
        queried_images.json         the images
        queried_images_counts.csv   how many of each label, dataset and location
        included_dataset_labels.txt the dataset labels of each label
        image_counts_by_label_presample.json, image_counts_by_label_sampled.json
        json_validator_log_<time>.json   what was left out, and why

Example:
    python json_validator.py run/label_spec.json taxonomy.csv --megadb megadb \
        --output-dir run --min-locs 5 --json-indent 1
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import (
    dataset_csv,
    image_counts,
    included_labels,
    kinds,
    label_spec,
    location_counts,
    queried_images,
    step_log,
    taxonomy_csv,
)
from classification.cropping.existing import ExistingCrops
from classification.labels.explaining import Case, explain
from classification.labels.outcomes import Outcome, Outcomes
from classification.labels.sampling import Quota
from classification.labels.wanted import (
    Vocabulary,
    check_disjoint,
    entries_without,
    find_wanted,
    idle_exclusions,
    labels_by_pair,
    nearest,
)
from classification.labels.wording import some_of
from classification.megadb import query
from classification.megadb.corrections import read_corrections
from classification.megadb.presence import find_missing
from classification.megadb.reading import MetadataStore
from classification.runtime import cli, locking, outputs, progress
from classification.runtime.errors import ConfigurationError, in_file
from classification.storage import flags as places_flags
from classification.storage import holdings, places
from classification.storage.places import Place
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from classification.artifacts.label_spec import LabelSpec
    from classification.artifacts.step_log import StepLog
    from classification.labels.wanted import Wanted
    from classification.megadb.query import Candidates
    from classification.megadb.reading import LabelCount
    from classification.storage.digests import Md5
    from classification.storage.places import Manner
    from taxonomy.graph import DatasetLabel, Taxonomy

_FLAG = "--check-blob-exists"
_ROOTS_ONLY = ""  # --check-blob-exists without a folder
_WARNINGS = 5
# How the last line names what the log counts.
_LEFT_OUT = {
    "images_of_several_labels": "of several labels",
    "nonimage_files": "not named as images are",
    "nonexistent_images": "not there",
    "images_of_labels_with_few_locs": "of labels with too few locations",
    "images_beyond_max_count": "beyond max_count",
}

STEP = "json_validator"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    label_spec_json: Path
    taxonomy_csv: Path
    megadb: Path | None
    allow_multilabel: bool
    single_parent_taxonomy: bool
    check_blob_exists: str | None
    base_url: list[Place]
    container_url: list[Place]
    tries: int
    timeout: int
    md5: Md5
    threads: int
    min_locs: int | None
    output_dir: Path | None
    json_indent: int | None
    seed: int
    mislabeled_images: Path | None
    explain: list[str]
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Where it is looked whether images are there.

    Attributes:
        places: given by a person; those that the metadata store knows come after them.
        manner: how servers are asked.
        threads: number of images that a server is asked for at once.
    """

    places: Sequence[Place]
    manner: Manner
    threads: int


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to select.

    Attributes:
        allow_multilabel: let labels share dataset labels.
        single_parent_taxonomy: refuse taxa with several parents.
        lookup: where to look whether images are there; None to take them all.
        min_locs: leave out labels with fewer locations, or None.
        seed: of the draw where a label has a ``max_count``.
        mislabeled_images: folder of corrections, or None.
        json_indent: of queried_images.json, or None for one line.
        explain: full names of images to explain; none to select images.
    """

    allow_multilabel: bool
    single_parent_taxonomy: bool
    lookup: Lookup | None
    min_locs: int | None
    seed: int
    mislabeled_images: Path | None
    json_indent: int | None
    explain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Request:
    """A specification, looked up.

    Attributes:
        spec_by_label: as it was read.
        wanted_by_label: what each label takes.
        vocabulary: what it could name.
        counts: images of the store by dataset label; empty without a store.
    """

    spec_by_label: Mapping[str, LabelSpec]
    wanted_by_label: Mapping[str, Wanted]
    vocabulary: Vocabulary
    counts: Mapping[DatasetLabel, LabelCount]


@dataclass(frozen=True, slots=True)
class _Selection:
    """What became of the images of a store.

    Attributes:
        candidates: those with a wanted label.
        outcomes: what became of them.
        class_by_dataset: corrections, by the store's names.
        presample: images of each label before ``max_count``.
    """

    candidates: Candidates
    outcomes: Outcomes
    class_by_dataset: Mapping[str, Mapping[str, str]]
    presample: Mapping[str, int]


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    parser.add_argument(
        "label_spec_json", type=Path, help="what each label consists of"
    )
    parser.add_argument(
        "taxonomy_csv", type=Path, help="which taxon each dataset label means"
    )
    cli.add_megadb(parser, "metadata store to query")
    parser.add_argument(
        "-o",
        "--output-dir",
        type=outputs.folder(
            {
                queried_images.FILENAME: kinds.QUERIED_IMAGES,
                included_labels.FILENAME: kinds.INCLUDED_LABELS,
                image_counts.PRESAMPLE_FILENAME: kinds.IMAGE_COUNTS,
                image_counts.SAMPLED_FILENAME: kinds.IMAGE_COUNTS,
                location_counts.FILENAME: kinds.LOCATION_COUNTS,
            }
        ),
        metavar="DIR",
        help="folder to write into; made if missing (default: only print what each "
        "label takes)",
    )
    parser.add_argument(
        "--allow-multilabel",
        action="store_true",
        help="let labels share dataset labels; an image then has several labels",
    )
    parser.add_argument(
        "--single-parent-taxonomy",
        action="store_true",
        help="refuse a taxonomy in which a taxon has several parents, also where a "
        "rule would pick one",
    )
    _add_filters(parser)
    parser.add_argument(
        "--json-indent",
        type=cli.non_negative_int,
        metavar="N",
        help="indent queried_images.json by N spaces a level (default: one line)",
    )
    parser.add_argument(
        "--explain",
        action="append",
        default=[],
        metavar="IMAGE",
        help="say why the image of this full name, dataset/path, is or is not "
        "selected under these options, and write nothing; may be repeated",
    )
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-m",
        "--mislabeled-images",
        type=Path,
        metavar="DIR",
        help="folder of corrections, one <dataset>.csv a dataset, with the columns "
        "file and correct_class; an image may come in or go out by one",
    )
    parser.add_argument(
        "-c",
        _FLAG,
        nargs="?",
        const=_ROOTS_ONLY,
        metavar="DIR",
        help="leave out images whose file is not there: DIR/<dataset>/<path> is looked "
        "for, then <path> in the dataset's root folder (import_metadata --images-dir), "
        "behind its web address or in its container; without DIR there alone",
    )
    group = parser.add_argument_group("where --check-blob-exists looks, too")
    places_flags.add_remote(group)
    group.add_argument(
        "-n",
        "--threads",
        type=cli.positive_int,
        default=50,
        help="images that a server is asked for at once; a container is listed instead "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--min-locs",
        type=cli.positive_int,
        metavar="N",
        help="leave out labels with images of fewer than N locations",
    )
    parser.add_argument(
        "--seed",
        type=cli.non_negative_int,
        default=123,
        help="of the draw where a label has a max_count (default: %(default)s)",
    )


def run(
    label_spec_json: Path,
    taxonomy_path: Path,
    *,
    megadb: Path | None,
    output_dir: Path | None,
    options: Options,
) -> None:
    """Prints what each label takes, or selects the images.

    Raises:
        ArtifactError: a file breaks its format, or the specification names what is not
            there or contradicts itself.
        ConfigurationError: the options contradict the files, or no image is selected.
        StorageError: images cannot be looked for, or a folder cannot be written.
    """
    spec_by_label = label_spec.read(label_spec_json)
    taxonomy = taxonomy_csv.read(
        taxonomy_path, single_parent=options.single_parent_taxonomy
    )
    _check_folder(options.mislabeled_images)
    if megadb is None:
        with in_file(label_spec_json):
            _print(_look_up(spec_by_label, taxonomy, None, options))
        return
    work_dir = output_dir or Path(tempfile.gettempdir())
    with MetadataStore.open(megadb, work_dir=work_dir) as store:
        with in_file(label_spec_json):
            request = _look_up(spec_by_label, taxonomy, store, options)
        if options.explain:
            _explain(store, request, options)
        elif output_dir is None:
            _print(request)
        else:
            with locking.only_run(output_dir, STEP):
                _query(store, request, output_dir, options)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if args.megadb is None and (args.explain or args.output_dir is not None):
        parser.error(
            "--output-dir and --explain need --megadb DIR, the metadata store that "
            f"import_metadata writes (or the environment variable {cli.MEGADB_VARIABLE})"
        )
    return cli.exit_code(
        run,
        args.label_spec_json,
        args.taxonomy_csv,
        megadb=args.megadb,
        output_dir=args.output_dir,
        options=_to_options(args),
    )


def _to_options(args: Arguments) -> Options:
    return Options(
        allow_multilabel=args.allow_multilabel,
        single_parent_taxonomy=args.single_parent_taxonomy,
        lookup=None if args.check_blob_exists is None else _to_lookup(args),
        min_locs=args.min_locs,
        seed=args.seed,
        mislabeled_images=args.mislabeled_images,
        json_indent=args.json_indent,
        explain=tuple(args.explain),
    )


def _to_lookup(args: Arguments) -> Lookup:
    folder = args.check_blob_exists
    near = [Place(folder)] if folder else []
    return Lookup(
        places=[*near, *places_flags.distant_places_of(args)],
        manner=places_flags.manner_of(args),
        threads=args.threads,
    )


def _check_folder(mislabeled_images: Path | None) -> None:
    if mislabeled_images is not None and not mislabeled_images.is_dir():
        raise ConfigurationError(
            f"no such folder: {mislabeled_images} (--mislabeled-images)"
        )


def _look_up(
    spec_by_label: Mapping[str, LabelSpec],
    taxonomy: Taxonomy,
    store: MetadataStore | None,
    options: Options,
) -> _Request:
    for label in spec_by_label:
        dataset_csv.check_label(label)  # refused now, not once all crops are cut
    counts = {} if store is None else store.count_labels()
    vocabulary = Vocabulary(
        taxonomy=taxonomy,
        stored=frozenset(counts),
        datasets=frozenset(map(normal, store.datasets if store else ())),
    )
    wanted_by_label = find_wanted(spec_by_label, vocabulary)
    if not options.allow_multilabel:
        check_disjoint(wanted_by_label)
    return _Request(spec_by_label, wanted_by_label, vocabulary, counts)


def _print(request: _Request) -> None:
    for label, wanted in request.wanted_by_label.items():
        for pair in sorted(wanted.pairs):
            cells = [label, str(pair)]
            if request.vocabulary.datasets:
                count = request.counts.get(pair)
                cells.append(str(count.alone if count else 0))
            sys.stdout.write("\t".join(map(cli.one_line, cells)) + "\n")


def _query(
    store: MetadataStore, request: _Request, output_dir: Path, options: Options
) -> None:
    log = _open_log(options)
    selection = _select(store, request, options, log)
    outcomes, labels = selection.outcomes, tuple(request.spec_by_label)
    _count(log, selection)
    _note_oddities(log, request, selection)
    if not outcomes.count(Outcome.TAKEN):
        path = step_log.write(output_dir, log)
        raise ConfigurationError(f"no image is selected; {path} says what was left out")
    included_labels.write(
        output_dir / included_labels.FILENAME,
        {label: wanted.pairs for label, wanted in request.wanted_by_label.items()},
    )
    image_counts.write(
        output_dir / image_counts.PRESAMPLE_FILENAME, selection.presample
    )
    images = query.queried_images(
        store, selection.candidates, outcomes.labels, outcomes.taken
    )
    total = outcomes.count(Outcome.TAKEN)
    queried_images.write(
        output_dir / queried_images.FILENAME,
        progress.track(images, total=total, unit="images"),
        indent=options.json_indent,
    )
    sampled = outcomes.images_by_label(labels)
    image_counts.write(output_dir / image_counts.SAMPLED_FILENAME, sampled)
    location_counts.write(
        output_dir / location_counts.FILENAME,
        query.count_locations(selection.candidates, outcomes.labels, outcomes.taken),
    )
    _finish(log, sampled, output_dir)


def _select(
    store: MetadataStore, request: _Request, options: Options, log: StepLog
) -> _Selection:
    """Decides about every image, and lists in the log what is left out."""
    labels = labels_by_pair(request.wanted_by_label)
    class_by_dataset: Mapping[str, Mapping[str, str]] = {}
    if options.mislabeled_images is not None:
        class_by_dataset = read_corrections(store, options.mislabeled_images)
    candidates = query.find(store, labels, class_by_dataset)
    outcomes = Outcomes(candidates.kind, [labels[pair] for pair in candidates.pairs])
    outcomes.take_out(~candidates.is_image, Outcome.NO_IMAGE_NAME)
    log.extra["nonimage_files"] = _names(store, outcomes, Outcome.NO_IMAGE_NAME)
    if options.lookup is not None:
        missing = _find_missing(store, outcomes.taken, options.lookup)
        outcomes.take_out(missing, Outcome.NOT_THERE)
        log.extra["nonexistent_images"] = _names(store, outcomes, Outcome.NOT_THERE)
    if options.min_locs is not None:
        log.extra[f"labels with < {options.min_locs} locs"] = (
            outcomes.require_locations(candidates.location, options.min_locs)
        )
    presample = outcomes.images_by_label(tuple(request.spec_by_label))
    outcomes.draw(_quotas(request, outcomes, candidates), seed=options.seed)
    return _Selection(candidates, outcomes, class_by_dataset, presample)


def _find_missing(
    store: MetadataStore, wanted: NDArray[np.bool_], lookup: Lookup
) -> NDArray[np.bool_]:
    shared = [place for place in lookup.places if not place.dataset]
    for place in shared:
        if not place.is_there:
            raise ConfigurationError(f"no such folder: {place.where} ({_FLAG})")
    own = places.find_places(
        store.datasets_of(wanted),
        lookup.places,
        store.folder,
        is_needed=not shared,
        flag=_FLAG,
    )

    def holdings_of(dataset: str) -> list[holdings.Holdings]:
        found = [*shared, *own.get(dataset, ())]
        return [
            holdings.open_holdings(
                place,
                dataset,
                listing=ExistingCrops,
                patience=lookup.manner.patience,
                threads=lookup.threads,
            )
            for place in sorted(found, key=lambda place: place.is_remote)
        ]

    return find_missing(store, wanted, holdings_of)


def _names(store: MetadataStore, outcomes: Outcomes, outcome: Outcome) -> list[str]:
    return store.names(outcomes.outcome == outcome)


def _quotas(
    request: _Request, outcomes: Outcomes, candidates: Candidates
) -> list[Quota]:
    return [
        Quota(
            label=label,
            kinds=frozenset(
                kind for kind, names in enumerate(outcomes.labels) if label in names
            ),
            max_count=spec.max_count,
            levels=tuple(
                _kinds_of(candidates.pairs, datasets) for datasets in spec.prioritize
            ),
        )
        for label, spec in request.spec_by_label.items()
    ]


def _kinds_of(pairs: Sequence[DatasetLabel], datasets: Sequence[str]) -> frozenset[int]:
    names = set(map(normal, datasets))
    return frozenset(kind for kind, pair in enumerate(pairs) if pair.dataset in names)


def _open_log(options: Options) -> StepLog:
    return step_log.StepLog(
        step=STEP,
        options={
            "allow_multilabel": options.allow_multilabel,
            "single_parent_taxonomy": options.single_parent_taxonomy,
            "check_exists": options.lookup is not None,
            "min_locs": options.min_locs,
            "seed": options.seed,
            "mislabeled_images": _text(options.mislabeled_images),
        },
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _count(log: StepLog, selection: _Selection) -> None:
    candidates, outcomes = selection.candidates, selection.outcomes
    corrections = candidates.corrections.values()
    kinds = outcomes.kinds_taken()
    log.counts |= {
        "images_in_store": len(outcomes.kind),
        "images_of_several_labels": candidates.several,
        "images_brought_in_by_correction": sum(one.added for one in corrections),
        "images_sent_out_by_correction": sum(one.removed for one in corrections),
        "images_relabelled_by_correction": sum(one.relabelled for one in corrections),
        "nonimage_files": outcomes.count(Outcome.NO_IMAGE_NAME),
        "nonexistent_images": outcomes.count(Outcome.NOT_THERE),
        "images_of_labels_with_few_locs": outcomes.count(Outcome.TOO_FEW_LOCATIONS),
        "images_beyond_max_count": outcomes.count(Outcome.NOT_DRAWN),
        "images": outcomes.count(Outcome.TAKEN),
        "datasets": len({candidates.pairs[kind].dataset for kind in kinds}),
    }


def _note_oddities(log: StepLog, request: _Request, selection: _Selection) -> None:
    """Puts into the log, and says, what looks like a mistake of the user's."""
    present = {pair for pair, count in request.counts.items() if count.images}
    for entry, like in entries_without(request.wanted_by_label, present):
        hint = f"; it has {like}" if like else ""
        log.notes.append(
            (entry.where, f"{entry.name} matches no image of the store{hint}")
        )
    for entry in idle_exclusions(request.wanted_by_label):
        log.notes.append(
            (entry.where, f"the label takes nothing of {entry.name} anyway")
        )
    log.notes += _odd_corrections(request.vocabulary, selection)
    for item, remark in log.notes[:_WARNINGS]:
        _logger.warning("%s: %s", cli.one_line(item), cli.one_line(remark))
    if len(log.notes) > _WARNINGS:
        _logger.warning(
            "%d more remarks like these are in the log", len(log.notes) - _WARNINGS
        )


def _odd_corrections(
    vocabulary: Vocabulary, selection: _Selection
) -> Iterator[tuple[str, str]]:
    known = vocabulary.taxonomy.labels | vocabulary.stored
    for dataset, class_by_file in selection.class_by_dataset.items():
        counted = selection.candidates.corrections.get(dataset)
        if counted is not None and counted.unknown:
            yield dataset, f"{counted.unknown} corrections name no image of it"
        there = {pair.label for pair in known if pair.dataset == normal(dataset)}
        for right in sorted(set(map(normal, class_by_file.values())) - there - {""}):
            near = nearest(right, there)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            yield (
                dataset,
                f"nothing else knows its label {right!r}, of corrections{hint}",
            )


def _finish(log: StepLog, sampled: Mapping[str, int], output_dir: Path) -> None:
    empty = [label for label, images in sampled.items() if not images]
    if empty:
        _logger.warning("no image of %s is selected", cli.one_line(some_of(empty)))
    path = step_log.write(output_dir, log)
    counts = log.counts
    left_out = ", ".join(
        f"{counts[key]} {what}" for key, what in _LEFT_OUT.items() if counts[key]
    )
    _logger.info(
        "%d images of %d labels from %d datasets in %s; left out: %s; log: %s",
        counts["images"],
        len(sampled) - len(empty),
        counts["datasets"],
        output_dir / queried_images.FILENAME,
        left_out or "none",
        path,
    )


def _explain(store: MetadataStore, request: _Request, options: Options) -> None:
    selection = _select(store, request, options, _open_log(options))
    for name in options.explain:
        facts = store.facts(name)
        if facts is None:
            lines: Iterator[str] = iter(
                [f"{name}: not in the store; {store.like(name)}"]
            )
        else:
            corrections = selection.class_by_dataset.get(facts.dataset, {})
            case = Case(
                name=store.full_name(facts.dataset, facts.file),
                dataset=facts.dataset,
                table=f"row {facts.row} of {store.path_of(facts.dataset)}",
                labels=facts.labels,
                level=facts.level,
                location=facts.location,
                correction=corrections.get(facts.file),
                outcome=Outcome(int(selection.outcomes.outcome[facts.place])),
            )
            lines = explain(
                case,
                request.spec_by_label,
                request.wanted_by_label,
                min_locs=options.min_locs,
            )
        for line in lines:
            sys.stdout.write(cli.one_line(line) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
