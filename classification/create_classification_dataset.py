"""Makes a training set out of crops, and splits it by location.

Reads:
  OUTPUT_DIR/queried_images.json of json_validator (or --queried-images-json)
  the detection cache and the crops of detect_and_crop; a crop that was cut from another
  box or image than these tell is left out
  the metadata store of import_metadata, with --megadb
Writes into OUTPUT_DIR, with --mode csv:
  classification_ds.csv           one row for each crop
  label_index.json                the labels and their numbers
  classification_ds_left_out.csv  images and crops that are not in it, and why of each
and with --mode splits, out of classification_ds.csv:
  splits.json           the locations of train, val and test
  splits_summary.csv    crops and locations of each label in each split; also on stdout

All crops of a location are in one split. --method balanced, the default, puts each label
into every split wherever the locations allow it, and names the labels that block each
other; then it brings each label's crops as near as it can to the fractions asked for.

With --megadb no sequence is taken apart either: locations that hold parts of one go into
the same split. Images of a dataset whose sequence has the same id are one sequence. Where
cameras number their sequences each for itself, that would join them all: import with the
camera's column joined to the sequence's (--columns sequence=CAMERA+SEQUENCE), or leave
--megadb out.

With --match-test the test set is the other one's: its rows at its test locations, and none
of one's own rows at these locations or of the same crops.

Example:
  create_classification_dataset.py run --cropped-images-dir crops --detector-output-cache-dir mdcache --detector-version 4.1 --threshold 0.8 --val-frac 0.2 --test-frac 0.2
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from classification.artifacts import (
    crops_left_out,
    dataset_csv,
    kinds,
    label_index,
    label_spec,
    queried_images,
    split_summary,
    splits,
    step_log,
)
from classification.cropping.cached_animals import CachedAnimals
from classification.cropping.recorded import RecordedCrops
from classification.cropping.wanted import Source
from classification.dataset import counting, rows
from classification.dataset.counts import Fractions
from classification.megadb import spanning
from classification.megadb.reading import MetadataStore
from classification.runtime import cli, locking, outputs, progress, tables
from classification.runtime.errors import ArtifactError, ConfigurationError, in_file
from classification.runtime.name_set import NameSet

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from classification.artifacts.dataset_csv import CropRow
    from classification.artifacts.left_out import LeftOut
    from classification.artifacts.splits import Location
    from classification.artifacts.step_log import StepLog
    from classification.dataset.counting import Crops
    from classification.dataset.splitting import Choice
    from classification.megadb.spanning import Spanning
    from detection.boxes import Box

STEP = "create_classification_dataset"
CSV, SPLITS = "csv", "splits"
METHODS = ("balanced", "random", "smallest_first")
_FEW_LOCATIONS = 3
# Enough that each folder is listed once, in whatever order the images come.
_FOLDERS = 100_000
_FEWEST = 2  # locations that can be split
_NOTHING = 1e-9
_WAY_OUT_BY_REASON = {
    rows.NO_CROP: "detect_and_crop --cropped-images-dir makes them; ",
    rows.NOT_DETECTED: "detect_and_crop --run-detector finds boxes; ",
    rows.NOT_CONFIDENT: "--threshold says how sure is enough; ",
}

_Digests: TypeAlias = tuple[str | None, str | None]  # of an image, and of its detector
_NOT_KNOWN: _Digests = (None, None)
_WAY_OUT_OF_OTHERS = "detect_and_crop cuts crops of something else anew; "

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    output_dir: Path
    mode: list[str]
    match_test: tuple[Path, Path] | None
    queried_images_json: Path | None
    cropped_images_dir: Path | None
    detector_output_cache_dir: Path | None
    detector_version: str | None
    threshold: float
    min_locs: int | None
    val_frac: float | None
    test_frac: float | None
    method: str
    label_spec: Path | None
    megadb: Path | None
    seed: int
    logdir: Path
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the table of crops is made of.

    Attributes:
        queried_images: the images.
        crops_dir: root of the crops.
        cache_dir: the detection cache; None where people drew all boxes.
        detector_version: names the folder of the cache, and crops; None for the only
            one of the cache.
        threshold: least confidence of a detector's box, in [0, 1].
        min_locs: labels at fewer locations are dropped; None for no limit.
    """

    queried_images: Path
    crops_dir: Path
    cache_dir: Path | None
    detector_version: str | None
    threshold: float
    min_locs: int | None


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """How locations are given to splits.

    Attributes:
        fractions: what each split is to hold.
        method: one of ``METHODS``.
        label_spec: whose ``prioritize`` says which datasets to test on, or None.
        megadb: metadata store that knows the sequences to keep together, or None.
        seed: of the random numbers.
    """

    fractions: Fractions
    method: str
    label_spec: Path | None
    megadb: Path | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Match:
    """A test set that is taken over from another training set.

    Attributes:
        rows: its table of crops.
        splits: which split its locations are in.
        test: its test locations, at least one.
    """

    rows: Path
    splits: Path
    test: frozenset[Location]


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    add = parser.add_argument
    add(
        "output_dir",
        type=outputs.Output(files=_written, is_folder=True),
        help="folder of the training set's files",
    )
    add(
        "--mode",
        nargs="+",
        choices=(CSV, SPLITS),
        default=[CSV, SPLITS],
        help="what to make (default: both)",
    )
    add(
        "--match-test",
        nargs=2,
        type=Path,
        metavar=("CSV", "SPLITS_JSON"),
        help="take over the test set of another training set: its classification_ds.csv "
        "and its splits.json; instead of --test-frac",
    )
    add(
        "--logdir",
        type=outputs.folder(default=lambda args: args.output_dir),
        help="folder for the log (default: OUTPUT_DIR)",
    )
    _add_csv(parser)
    _add_splits(parser)
    return parser


def _written(folder: Path, args: Arguments) -> outputs.Files:
    """Returns the files of fixed names that are written, with their kinds."""
    kind_by_name: dict[str, outputs.Kind] = {}
    if CSV in args.mode:
        kind_by_name |= {
            dataset_csv.FILENAME: kinds.DATASET_CSV,
            crops_left_out.FILENAME: kinds.CROPS_LEFT_OUT,
            label_index.FILENAME: kinds.LABEL_INDEX,
        }
    if SPLITS in args.mode:
        kind_by_name |= {
            splits.FILENAME: kinds.SPLITS,
            split_summary.FILENAME: kinds.SPLIT_SUMMARY,
        }
    own = args.match_test or ()  # a test set that is made anew from itself is no loss
    return {
        path: kind
        for name, kind in kind_by_name.items()
        if (path := folder / name) not in own
    }


def _add_csv(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("--mode csv")
    add = group.add_argument
    add(
        "-q",
        "--queried-images-json",
        type=Path,
        help="the images (default: OUTPUT_DIR/queried_images.json)",
    )
    add("-c", "--cropped-images-dir", type=Path, help="root of the crops")
    add(
        "-d",
        "--detector-output-cache-dir",
        type=Path,
        help="the detection cache; not needed where people drew the boxes of all images",
    )
    add(
        "-v",
        "--detector-version",
        help="names the folder of the cache, and crops (default: that of the cache "
        "where it holds a single one)",
    )
    add(
        "-t",
        "--threshold",
        type=cli.fraction,
        default=0.8,
        help="take a detector's boxes of at least this confidence (default: %(default)s; "
        "MegaDetector 5 wants about 0.2)",
    )
    add(
        "--min-locs",
        type=cli.positive_int,
        metavar="N",
        help="drop labels with crops at fewer than N locations",
    )


def _add_splits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("--mode splits")
    add = group.add_argument
    add("--val-frac", type=cli.fraction, help="share of val")
    add("--test-frac", type=cli.fraction, help="share of test")
    add(
        "--method",
        choices=METHODS,
        default=METHODS[0],
        help="how locations are given to splits: losing the fewest labels, by the best "
        "of 10,000 random trials, or rarest labels first (default: %(default)s)",
    )
    add(
        "--label-spec",
        type=Path,
        metavar="JSON",
        help="label specification, whose prioritize says which datasets each label is "
        "to be validated and tested on",
    )
    add(
        "--megadb",
        type=Path,
        metavar="DIR",
        help="metadata store of import_metadata: locations that hold parts of one "
        "sequence go into the same split",
    )
    add("--seed", type=int, default=0, help="of random numbers (default: %(default)s)")


def run(
    output_dir: Path,
    *,
    sources: Sources | None,
    splitting: Splitting | None,
    match: tuple[Path, Path] | None,
    logdir: Path,
) -> None:
    """Makes the table of crops, the splits, or both.

    Raises:
        PipelineError: a file that is missing or breaks its format, nothing to split, or
            another run that writes into the folder.
    """
    taken_over = _read_match(match)
    log = step_log.StepLog(
        step=STEP, options=_options_to_log(output_dir, sources, splitting)
    )
    with locking.only_run(output_dir, STEP):
        if sources:
            _make_csv(output_dir, sources, taken_over, log)
        if splitting:
            _make_splits(output_dir, splitting, taken_over, log)
        _logger.info("log: %s", step_log.write(logdir, log))


def _options_to_log(
    output_dir: Path, sources: Sources | None, splitting: Splitting | None
) -> dict[str, str | int | float | None]:
    options: dict[str, str | int | float | None] = {"output_dir": str(output_dir)}
    if sources:
        options |= {"threshold": sources.threshold, "min_locs": sources.min_locs}
    if splitting:
        options |= {
            "val_frac": splitting.fractions.val,
            "test_frac": splitting.fractions.test,
            "method": splitting.method,
            "seed": splitting.seed,
        }
    return options


def _read_match(match: tuple[Path, Path] | None) -> Match | None:
    if match is None:
        return None
    table, path = match
    test = frozenset(splits.read(path).test)
    if not test:
        raise ConfigurationError(f"{path}: --match-test: it has no test locations")
    return Match(rows=table, splits=path, test=test)


def _make_csv(
    output_dir: Path, sources: Sources, match: Match | None, log: StepLog
) -> None:
    _check_sources(sources)
    path = output_dir / dataset_csv.FILENAME
    listed = output_dir / crops_left_out.FILENAME
    log.counts["crops"] = 0
    with (
        crops_left_out.writing(listed) as table,
        dataset_csv.Spool(output_dir) as own,
        dataset_csv.Spool(output_dir) as tested,
    ):
        leave_out = _counting(table.writerow, log.counts)
        theirs = _take_over(match, tested)
        own.add(_own_rows(sources, leave_out))
        rare = _find_rare(own, sources.min_locs)
        kept = _kept_rows(own.rows(), rare, match, theirs, leave_out)
        labels = _write_rows(path, itertools.chain(kept, tested.rows()), log)
    log.extra["labels_dropped"] = sorted(rare)
    _say_csv(path, listed, labels, log)
    label_index.write(output_dir / label_index.FILENAME, labels)


def _find_rare(own: dataset_csv.Spool, min_locs: int | None) -> frozenset[str]:
    return rows.rare_labels(own.rows(), min_locs) if min_locs else frozenset()


def _check_sources(sources: Sources) -> None:
    if not sources.queried_images.exists():
        raise ArtifactError(
            "missing; json_validator --output-dir writes it, and --queried-images-json "
            "says where it is",
            where=str(sources.queried_images),
        )
    if not sources.crops_dir.is_dir():
        raise ConfigurationError(
            f"{sources.crops_dir}: no such folder; detect_and_crop --cropped-images-dir "
            "makes it"
        )


def _counting(
    write: Callable[[LeftOut], object], counts: dict[str, int]
) -> Callable[[LeftOut], None]:
    """Returns a function that lists what is left out, and counts it by reason."""

    def leave_out(item: LeftOut) -> None:
        write(item)
        kind = rows.kind_of(item)
        counts[kind] = counts.get(kind, 0) + 1

    return leave_out


def _say_csv(path: Path, listed: Path, labels: Sequence[str], log: StepLog) -> None:
    """Says what was made.

    Raises:
        ConfigurationError: nothing was.
    """
    crops = log.counts["crops"]
    reasons = sorted(
        (-count, reason) for reason, count in log.counts.items() if reason != "crops"
    )
    why = "; ".join(f"{-count} x {reason}" for count, reason in reasons)
    if log.extra["labels_dropped"]:
        _logger.info("--min-locs drops %s", ", ".join(log.extra["labels_dropped"]))
    others = any(reason.startswith(rows.OTHER_CROP) for _, reason in reasons)
    if not crops:
        way_out = _WAY_OUT_BY_REASON.get(reasons[0][1], "") if reasons else ""
        way_out += _WAY_OUT_OF_OTHERS if others else ""
        raise ConfigurationError(
            f"{path}: no crop is left: {why or 'no image was queried'}; {way_out}"
            f"{listed} lists each"
        )
    _logger.info(
        "%s: %d crops of %d labels; %s lists what was left out: %s",
        path,
        crops,
        len(labels),
        listed,
        why + f" ({_WAY_OUT_OF_OTHERS.rstrip('; ')})" if others else why or "nothing",
    )


def _take_over(match: Match | None, tested: dataset_csv.Spool) -> NameSet:
    """Puts the rows of another test set aside; returns their crops."""
    crops = NameSet()
    if match is None:
        return crops

    def taken() -> Iterator[CropRow]:
        for row in dataset_csv.read(match.rows):
            if (row.dataset, row.location) in match.test:
                crops.add(row.path)
                yield row

    tested.add(taken())
    if not len(crops):
        raise ConfigurationError(
            f"{match.rows} has no crop at the test locations of {match.splits}; "
            "--match-test wants two files of one training set"
        )
    return crops


def _own_rows(
    sources: Sources, leave_out: Callable[[LeftOut], None]
) -> Iterator[CropRow]:
    file = queried_images.open_file(sources.queried_images)
    cached = CachedAnimals(
        sources.cache_dir, sources.detector_version, threshold=sources.threshold
    )
    shown = progress.track(file.images(), total=file.image_count, unit="images")
    with RecordedCrops.reading(sources.crops_dir, folders_kept=_FOLDERS) as crops:
        for name, image in shown:
            found, digests = None, _NOT_KNOWN
            if image.boxes is None:
                found = cached.of(name, image.dataset)
                digests = cached.digests_of(name, image.dataset)
            misfit = _judge(crops, name, digests)
            try:
                taken = rows.take(
                    name, image, found, suffix=cached.suffix, misfit=misfit
                )
            except ArtifactError:
                with in_file(sources.queried_images):
                    raise
            for item in taken.left_out:
                leave_out(item)
            yield from taken.rows
        if crops.silent:
            _logger.info(
                "%d crops do not say what they were cut from, and are taken for those of "
                "the boxes",
                crops.silent,
            )


def _judge(
    crops: RecordedCrops, image: str, digests: _Digests
) -> Callable[[str, Box, bool], str | None]:
    """Return what says why a crop is not of a box of an image; see ``rows.take``."""
    return lambda crop, box, drawn: crops.misfit(
        crop, Source(image, box, drawn, *digests)
    )


def _kept_rows(
    own: Iterable[CropRow],
    rare: Collection[str],
    match: Match | None,
    theirs: NameSet,
    leave_out: Callable[[LeftOut], None],
) -> Iterator[CropRow]:
    """Yields the rows that all crops together leave."""
    for row in own:
        kept = rows.without_labels(row, rare) if rare else row
        if match and row.path in theirs:
            continue  # it comes with their rows
        if match and (row.dataset, row.location) in match.test:
            leave_out(rows.left_out(row, rows.AT_TEST_LOCATION))
        elif kept is None:
            leave_out(rows.left_out(row, rows.AT_FEW_LOCATIONS))
        else:
            yield kept


class _NothingLeftError(Exception):
    """There is no row; whatever table was there before is better than none."""


def _write_rows(path: Path, found: Iterable[CropRow], log: StepLog) -> list[str]:
    """Writes the table, unless it would be empty; returns its labels, sorted."""
    cells: set[str] = set()

    def noted() -> Iterator[CropRow]:
        for row in found:
            cells.add(row.label)
            yield row
        if not cells:
            raise _NothingLeftError

    with contextlib.suppress(_NothingLeftError):
        log.counts["crops"] = dataset_csv.write(path, noted())
    return sorted({label for cell in cells for label in dataset_csv.split_labels(cell)})


def _make_splits(
    output_dir: Path, splitting: Splitting, match: Match | None, log: StepLog
) -> None:
    from classification.dataset.splitting import (  # noqa: PLC0415 - scipy takes a moment
        Method,
        choose,
    )

    path = output_dir / dataset_csv.FILENAME
    crops = counting.count_crops(dataset_csv.read(path))
    test = match.test if match else frozenset()
    _check_locations(path, crops, match)
    places = _find_places(path, crops, splitting.megadb, test, log)
    counts = counting.count_places(
        crops, places, test=test, datasets_by_label=_prioritized(splitting.label_spec)
    )
    choice = choose(
        counts,
        splitting.fractions,
        method=Method(splitting.method),
        seed=splitting.seed,
    )
    targets = _targets(splitting.fractions, test)
    summary = counting.summarize(counts, choice.split, targets)
    splits.write(
        output_dir / splits.FILENAME,
        counting.to_splits(places, choice.split, test=test),
    )
    split_summary.write(output_dir / split_summary.FILENAME, summary)
    table = [split_summary.COLUMNS, *(row.cells() for row in summary)]
    sys.stdout.writelines(f"{line}\n" for line in tables.align(table))
    _say(choice, crops, log)
    _logger.info(
        "%s: %d locations; score %.4f; %d missing pairs of label and split",
        output_dir / splits.FILENAME,
        len(crops),
        choice.score,
        len(choice.missing),
    )


def _check_locations(path: Path, crops: Crops, match: Match | None) -> None:
    """Makes sure that there is something to split.

    Raises:
        ConfigurationError: there is not, or nothing to test on.
    """
    test = match.test if match else frozenset()
    if not crops:
        raise ConfigurationError(f"{path}: no crop, so there is nothing to split")
    if match and not crops.keys() & test:
        raise ConfigurationError(
            f"{path} has no crop at the test locations of {match.splits}; --mode csv "
            "with the same --match-test takes them over"
        )
    if len(crops.keys() - test) < _FEWEST:
        beside = " that are not of the test set" if match else ""
        raise ConfigurationError(
            f"{path}: all crops{beside} are of one location, so there is nothing to "
            "split; import_metadata --location-from day, sequence or folder makes several"
        )


def _find_places(
    path: Path,
    crops: Crops,
    megadb: Path | None,
    test: frozenset[Location],
    log: StepLog,
) -> list[list[Location]]:
    """Returns the locations, those together that hold parts of one sequence.

    Raises:
        ConfigurationError: all are together, or the store knows none of the images.
    """
    if megadb is None:
        return counting.group(crops)
    with MetadataStore.open(megadb, work_dir=path.parent) as store:
        found = spanning.find(store, spanning.images_of(path))
    if found.unknown == found.images:
        raise ConfigurationError(
            f"{megadb} has none of the images of {path}; --megadb wants the store that "
            "json_validator asked"
        )
    places = counting.group(crops, found.shared)
    if sum(test.isdisjoint(place) for place in places) < _FEWEST:
        raise ConfigurationError(
            f"{megadb}: {found.sequences} ids of sequences stand at several locations "
            "and leave nothing to split; if cameras number theirs each for itself, "
            "import_metadata --columns sequence=CAMERA+SEQUENCE makes them unique, or "
            "leave --megadb out"
        )
    _say_places(found, places, test, log)
    return places


def _say_places(
    found: Spanning,
    places: Sequence[Sequence[Location]],
    test: frozenset[Location],
    log: StepLog,
) -> None:
    """Says which locations stay together because of sequences."""
    joined = [place for place in places if len(place) > 1]
    if found.unknown:
        _logger.warning(
            "%d of %d images are not in the store, so that their sequences are unknown",
            found.unknown,
            found.images,
        )
    if joined:
        _logger.info(
            "%d sequences span locations: %d locations stay together in %d groups, the "
            "largest of %d",
            found.sequences,
            sum(map(len, joined)),
            len(joined),
            max(map(len, joined)),
        )
    else:
        _logger.info("no sequence spans locations")
    drawn_in = sorted(
        location
        for place in joined
        if not test.isdisjoint(place)
        for location in place
        if location not in test
    )
    if drawn_in:
        _logger.warning(
            "%d further locations are in test, since a sequence spans them and one of "
            "--match-test: %s",
            len(drawn_in),
            ", ".join(map("/".join, drawn_in)),
        )
    log.extra["sequences_spanning_locations"] = found.sequences
    log.extra["locations_together"] = [[list(pair) for pair in p] for p in joined]


def _prioritized(path: Path | None) -> dict[str, tuple[str, ...]]:
    if path is None:
        return {}
    return {
        label: tuple(dataset for level in spec.prioritize for dataset in level)
        for label, spec in label_spec.read(path).items()
        if spec.prioritize
    }


def _targets(
    fractions: Fractions, test: Collection[Location]
) -> Mapping[str, float | None]:
    train, val, share = fractions.targets
    return {"train": train, "val": val, "test": None if test else share}


def _say(choice: Choice, crops: counting.Crops, log: StepLog) -> None:
    """Says which labels are not in every split, and why."""
    where: dict[str, int] = {}
    for counter in crops.values():
        for label in counter:
            where[label] = where.get(label, 0) + 1
    few = sorted(label for label, count in where.items() if count < _FEW_LOCATIONS)
    if few:
        _logger.info("at fewer than %d locations: %s", _FEW_LOCATIONS, ", ".join(few))
    for label, split in choice.missing:
        _logger.info("%s: no crop of %s", split, label)
    for group in choice.blocking:
        _logger.info("these block each other: %s", ", ".join(group))
    log.extra["missing"] = [list(pair) for pair in choice.missing]
    log.extra["blocking"] = [list(group) for group in choice.blocking]
    log.extra["labels_at_few_locations"] = few
    log.extra["fewest_missing_proven"] = choice.proven


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    _check(parser, args)
    return cli.exit_code(_run_with, args)


def _check(parser: argparse.ArgumentParser, args: Arguments) -> None:
    if CSV in args.mode and args.cropped_images_dir is None:
        parser.error("--mode csv needs --cropped-images-dir, the folder of the crops")
    if SPLITS not in args.mode:
        return
    if args.val_frac is None or (args.test_frac is None) == (args.match_test is None):
        parser.error(
            "--mode splits needs --val-frac, and either --test-frac or --match-test "
            "(--mode csv makes the table of crops only)"
        )
    if args.val_frac + (args.test_frac or 0) >= 1 - _NOTHING:
        parser.error("--val-frac and --test-frac leave nothing for train")


def _run_with(args: Arguments) -> None:
    match = tuple(args.match_test) if args.match_test else None
    run(
        args.output_dir,
        sources=_sources(args) if CSV in args.mode else None,
        splitting=_splitting(args) if SPLITS in args.mode else None,
        match=(match[0], match[1]) if match else None,
        logdir=args.logdir,
    )


def _sources(args: Arguments) -> Sources:
    return Sources(
        queried_images=args.queried_images_json
        or args.output_dir / queried_images.FILENAME,
        crops_dir=args.cropped_images_dir or Path(),
        cache_dir=args.detector_output_cache_dir,
        detector_version=args.detector_version,
        threshold=args.threshold,
        min_locs=args.min_locs,
    )


def _splitting(args: Arguments) -> Splitting:
    return Splitting(
        fractions=Fractions(val=args.val_frac or 0.0, test=args.test_frac or 0.0),
        method=args.method,
        label_spec=args.label_spec,
        megadb=args.megadb,
        seed=args.seed,
    )


if __name__ == "__main__":
    raise SystemExit(main())
