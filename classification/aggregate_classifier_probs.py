r"""Sums the probabilities of a classifier's categories to those of targets.

A target's probability is the sum of its categories' probabilities. Every column of the
classifier output must stand under exactly one target.

Reads   classifier output CSV       of run_classifier, .csv or .csv.gz
        target mapping JSON         -t: of map_classification_categories
Writes  remapped CSV                -o: path and a column per target, sorted by name;
                                    compressed if its name ends in .gz
        label index JSON            -i: the names of these columns, in their order; to be
                                    read by merge_classification_detection_output

Example:
    python aggregate_classifier_probs.py classifier_output.csv.gz \
        --target-mapping target_to_classifier_labels.json \
        --output-csv classifier_output_remapped.csv.gz \
        --output-label-index label_index_remapped.json
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import label_index, predictions, target_mapping
from classification.labels.aggregation import Aggregation
from classification.runtime import cli, progress
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    classifier_results_csv: Path
    target_mapping: Path
    output_csv: Path
    output_label_index: Path
    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("aggregate_classifier_probs", __doc__)
    parser.add_argument(
        "classifier_results_csv",
        type=Path,
        help="classifier output, .csv or .csv.gz",
    )
    parser.add_argument(
        "-t",
        "--target-mapping",
        type=Path,
        required=True,
        help="target mapping JSON: which categories make up each target",
    )
    parser.add_argument(
        "-o",
        "--output-csv",
        type=Path,
        required=True,
        help="remapped CSV to write, .csv or .csv.gz",
    )
    parser.add_argument(
        "-i",
        "--output-label-index",
        type=Path,
        required=True,
        help="label index JSON of the targets to write",
    )
    return parser


def run(
    classifier_results_csv: Path,
    *,
    mapping: Path,
    output_csv: Path,
    output_label_index: Path,
) -> None:
    """Writes the probabilities of the targets, and their names.

    Raises:
        ArtifactError: the classifier output or the mapping breaks its format.
        ConfigurationError: they do not belong together.
    """
    results = predictions.open_file(classifier_results_csv)
    if results.has_label:
        raise ConfigurationError(
            f"{classifier_results_csv} holds true labels, which are no targets; "
            "give the output of run_classifier"
        )
    plan = Aggregation.plan(results.categories, target_mapping.read(mapping))
    rows = predictions.write(output_csv, plan.targets, _sum_up(results, plan))
    label_index.write(output_label_index, plan.targets)
    _logger.info(
        "wrote %s: %d crops, %d categories summed to %d targets; their names are in %s",
        output_csv,
        rows,
        len(results.categories),
        len(plan.targets),
        output_label_index,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.classifier_results_csv,
        mapping=args.target_mapping,
        output_csv=args.output_csv,
        output_label_index=args.output_label_index,
    )


def _sum_up(
    results: predictions.PredictionsFile, plan: Aggregation
) -> Iterator[tuple[list[str], NDArray[np.float64]]]:
    with progress.bar(None, unit="crops") as shown:
        for batch in results.float64_batches():
            yield batch.paths, plan.sums(batch.probabilities)
            shown.update(len(batch.paths))


if __name__ == "__main__":
    raise SystemExit(main())
