r"""Maps the labels of a classifier onto the targets a person asks for.

Each target takes the labels whose taxa all lie within it; the labels that no target
takes make up the target "other". A target that would take only a part of a label is
refused, since the classifier cannot tell the parts apart.

Reads   desired_label_spec.json     the targets (format of label_spec.json)
        classifier_label_spec.json  what the classifier was trained on
        taxonomy CSV                which taxon each label of each dataset means
        label index JSON            -i: the labels that the classifier really has
Writes  target mapping JSON         -o: target -> its classifier labels; to be read by
                                    aggregate_classifier_probs

Example:
    python map_classification_categories.py targets.json classifier_label_spec.json \
        taxonomy.csv -o target_to_classifier_labels.json -i label_index.json
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import (
    kinds,
    label_index,
    label_spec,
    target_mapping,
    taxonomy_csv,
)
from classification.labels.mapping import (
    map_labels,
    meaning,
    select_labels,
    select_targets,
)
from classification.labels.selection import warnings
from classification.runtime import cli, outputs
from classification.runtime.errors import in_file
from taxonomy.graph import Taxon

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from classification.labels.selection import Selected
    from taxonomy.graph import Taxonomy

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    desired_label_spec_json: Path
    classifier_label_spec_json: Path
    taxonomy_csv: Path
    output: Path
    classifier_label_index: Path | None
    overwrite: bool
    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("map_classification_categories", __doc__)
    parser.add_argument(
        "desired_label_spec_json",
        type=Path,
        help="label specification of the targets; none may be called 'other'",
    )
    parser.add_argument(
        "classifier_label_spec_json",
        type=Path,
        help="label specification that the classifier was trained on",
    )
    parser.add_argument(
        "taxonomy_csv", type=Path, help="which taxon each dataset label means"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=outputs.file(kinds.TARGET_MAPPING),
        required=True,
        help="target mapping JSON to write",
    )
    parser.add_argument(
        "-i",
        "--classifier-label-index",
        type=Path,
        help="label index JSON of the classifier, where it has not all labels of its "
        "specification; labels that the specification lacks go to 'other'",
    )
    return parser


def run(
    desired_label_spec_json: Path,
    classifier_label_spec_json: Path,
    taxonomy_path: Path,
    *,
    output: Path,
    classifier_label_index: Path | None,
) -> None:
    """Writes the target mapping."""
    spec_by_target = label_spec.read(desired_label_spec_json)
    spec_by_label = label_spec.read(classifier_label_spec_json)
    names = (
        label_index.read(classifier_label_index)
        if classifier_label_index
        else tuple(spec_by_label)
    )
    taxonomy = taxonomy_csv.read(taxonomy_path)
    with in_file(classifier_label_spec_json):
        labels = select_labels(names, spec_by_label, taxonomy)
        _warn(classifier_label_spec_json, labels.values(), taxonomy)
    with in_file(desired_label_spec_json):
        targets = select_targets(spec_by_target, taxonomy)
        _warn(desired_label_spec_json, targets.values(), taxonomy)
        mapping = map_labels(targets, labels, taxonomy)
    target_mapping.write(output, mapping)
    _logger.info("wrote %s: %s", output, cli.one_line(_summary(mapping, labels)))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.desired_label_spec_json,
        args.classifier_label_spec_json,
        args.taxonomy_csv,
        output=args.output,
        classifier_label_index=args.classifier_label_index,
    )


def _warn(path: Path, found: Iterable[Selected | None], taxonomy: Taxonomy) -> None:
    for text in warnings(found, taxonomy):
        _logger.warning("%s: %s", path, cli.one_line(text))


def _summary(
    mapping: Mapping[str, Sequence[str]], labels: Mapping[str, Selected | None]
) -> str:
    taken = {target: names for target, names in mapping.items() if names}
    other = len(taken.pop(target_mapping.OTHER, ()))
    unspecified = sum(selected is None for selected in labels.values())
    without_taxon = sum(
        selected is not None
        and not any(isinstance(member, Taxon) for member in meaning(selected))
        for selected in labels.values()
    )
    idle = [name for name in mapping if name not in taken]
    idle.remove(target_mapping.OTHER)
    return (
        f"{len(labels) - other} classifier labels in {len(taken)} targets, "
        f"{other} in other; {unspecified} labels are not in the classifier's "
        f"specification, {without_taxon} have no taxon; "
        f"targets without a label: {', '.join(idle) or 'none'}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
