r"""Proposes what a classifier could learn: taxa with enough images, as fine as possible.

Counts the images of the metadata store by taxon, and goes down the taxonomy. A taxon with
at least --min-images, none of whose children has as many, becomes a label. Children that
have enough are searched further; what is left of their parent, the images labelled as the
parent itself among it, becomes "<level>: <name> (other)" if that is enough. An image counts
if it has one label, as in json_validator. Labels that mean no taxon, such as "empty", are
in no proposal: add them by hand.

Prints each label with its images and locations. With --output, writes a label
specification that json_validator reads; each label takes at most --max-count images.

Example:
    python propose_label_spec.py taxonomy.csv --megadb megadb --min-images 2000 \
        --output run/label_spec.json
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import dataset_csv, kinds, label_spec, taxonomy_csv
from classification.labels import proposing
from classification.labels.wanted import (
    Vocabulary,
    check_disjoint,
    find_wanted,
    labels_by_pair,
)
from classification.megadb import query
from classification.megadb.reading import MetadataStore
from classification.runtime import cli, outputs, tables
from classification.runtime.errors import ConfigurationError
from taxonomy.graph import HomonymError, normal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from classification.artifacts.label_spec import LabelSpec
    from classification.labels.proposing import Proposed
    from classification.megadb.query import Candidates
    from classification.megadb.reading import LabelCount
    from taxonomy.graph import DatasetLabel, Taxon, Taxonomy

_PEOPLE = "species: homo sapiens"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    taxonomy_csv: Path
    megadb: Path | None
    output: Path | None
    min_images: int
    max_count: int | None
    no_max_count: bool
    exclude: list[str]
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to propose.

    Attributes:
        min_images: least number of images of a label.
        max_count: the most images that a label takes; None for three times the mean.
        is_limited: whether there is a most at all.
        exclude: taxa that are in no label, each as ``<level>: <name>``.
    """

    min_images: int = proposing.MIN_IMAGES
    max_count: int | None = None
    is_limited: bool = True
    exclude: Sequence[str] = (_PEOPLE,)


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("propose_label_spec", __doc__)
    parser.add_argument(
        "taxonomy_csv", type=Path, help="which taxon each dataset label means"
    )
    cli.add_megadb(parser, "metadata store whose images are counted")
    parser.add_argument(
        "-o",
        "--output",
        type=outputs.file(kinds.LABEL_SPEC),
        metavar="JSON",
        help="label specification to write (default: only print the labels)",
    )
    parser.add_argument(
        "--min-images",
        type=cli.positive_int,
        default=Options.min_images,
        metavar="N",
        help="least number of images of a label (default: %(default)s)",
    )
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--max-count",
        type=cli.positive_int,
        metavar="N",
        help="the most images that a label takes (default: three times the mean of all "
        "labels)",
    )
    limit.add_argument(
        "--no-max-count", action="store_true", help="let labels take all their images"
    )
    parser.add_argument(
        "--exclude",
        nargs="*",
        default=list(Options.exclude),
        metavar="TAXON",
        help=f'taxa that are in no label, each as "level: name" (default: "{_PEOPLE}")',
    )
    return parser


def run(
    taxonomy_path: Path, megadb: Path, *, output: Path | None, options: Options
) -> None:
    """Prints the labels that are proposed, and writes their specification.

    Raises:
        ArtifactError: a file breaks its format.
        ConfigurationError: nothing has enough images, or a taxon cannot be told.
        StorageError: there is no room to work in, or the output cannot be written.
    """
    taxonomy = taxonomy_csv.read(taxonomy_path)
    exclude = _find_excluded(options.exclude, taxonomy)
    with MetadataStore.open(megadb, work_dir=Path(tempfile.gettempdir())) as store:
        candidates = query.find(store, taxonomy.labels, {})
        counts = store.count_labels()
        datasets = frozenset(map(normal, store.datasets))
    proposed = proposing.propose(
        taxonomy,
        candidates.count(),
        min_images=options.min_images,
        exclude=exclude,
    )
    if not proposed.labels:
        raise ConfigurationError(
            f"no taxon has {options.min_images} images; --min-images asks for fewer"
        )
    specs = proposing.to_specs(
        proposed,
        taxonomy,
        max_count=options.max_count,
        is_limited=options.is_limited,
    )
    vocabulary = Vocabulary(taxonomy, frozenset(counts), datasets)
    labels = _look_up(specs, vocabulary, candidates)
    _print(proposed, _count_locations(candidates, labels))
    if output is not None:
        label_spec.write(output, specs, indent=1)
    _tell(proposed, taxonomy, counts, output)


def _find_excluded(names: Sequence[str], taxonomy: Taxonomy) -> list[Taxon]:
    found = []
    for name in names:
        try:
            taxon = proposing.find_taxon(name, taxonomy)
        except HomonymError as error:
            raise ConfigurationError(f"--exclude: {error}") from error
        if taxon is not None:
            found.append(taxon)
        elif name != _PEOPLE:
            raise ConfigurationError(f"--exclude: the taxonomy has no taxon {name!r}")
    return found


def _look_up(
    specs: Mapping[str, LabelSpec], vocabulary: Vocabulary, candidates: Candidates
) -> list[tuple[str, ...]]:
    """Returns the label of each kind of image, by the rules of json_validator."""
    for label in specs:
        dataset_csv.join_labels([label])
    wanted = find_wanted(specs, vocabulary)
    check_disjoint(wanted)
    labels = labels_by_pair(wanted)
    return [labels.get(pair, ()) for pair in candidates.pairs]


def _count_locations(
    candidates: Candidates, labels: Sequence[tuple[str, ...]]
) -> Counter[str]:
    counts = query.count_locations(candidates, labels, candidates.images)
    return Counter(count.label for count in counts)


def _print(proposed: Proposed, locations: Mapping[str, int]) -> None:
    rows: list[tuple[object, ...]] = [("label", "images", "locations")]
    rows += [
        (label.name, label.images, locations[label.name]) for label in proposed.labels
    ]
    for line in tables.align(rows):
        sys.stdout.write(line + "\n")


def _tell(
    proposed: Proposed,
    taxonomy: Taxonomy,
    counts: Mapping[DatasetLabel, LabelCount],
    output: Path | None,
) -> None:
    meaningless, unknown = 0, 0
    for pair, count in counts.items():
        if pair not in taxonomy.labels:
            unknown += count.alone
        elif taxonomy.taxon_of(*pair) is None:
            meaningless += count.alone
    _logger.info(
        "%d labels of %d images%s; left out: %d of taxa with too few, %d excluded, %d of "
        "labels that mean no taxon, %d of labels that the taxonomy does not have",
        len(proposed.labels),
        proposed.images,
        "" if output is None else f" in {output}",
        proposed.too_few,
        proposed.excluded,
        meaningless,
        unknown,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if args.megadb is None:
        parser.error(
            "--megadb DIR is needed, the metadata store that import_metadata writes (or "
            f"the environment variable {cli.MEGADB_VARIABLE})"
        )
    return cli.exit_code(
        run,
        args.taxonomy_csv,
        args.megadb,
        output=args.output,
        options=Options(
            min_images=args.min_images,
            max_count=args.max_count,
            is_limited=not args.no_max_count,
            exclude=tuple(args.exclude),
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
