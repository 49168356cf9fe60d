r"""Sums the probabilities of a classifier's categories to those of targets.

A target's probability is the sum of its categories' probabilities. Every column of the
classifier output must stand under exactly one target.

With --fall-back-mapping, a crop for which no target is sure enough falls back to broader
targets: of each crop the first mapping is kept that has a target, "other" apart, of at
least the threshold; its columns of the other mappings are 0. A crop that is sure of none
keeps only "other".

Reads   classifier output CSV       of run_classifier, .csv or .csv.gz
        target mapping JSON         -t: of map_classification_categories
        more of them                --fall-back-mapping: broader and broader targets
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

from classification.artifacts import (
    kinds,
    label_index,
    predictions,
    predictions_info,
    target_mapping,
)
from classification.labels.aggregation import Aggregation
from classification.labels.rollup import RollUp
from classification.runtime import cli, locking, outputs, progress
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

DEFAULT_FALL_BACK_THRESHOLD = 0.65

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    classifier_results_csv: Path
    target_mapping: Path
    output_csv: Path
    output_label_index: Path
    fall_back_mapping: list[Path]
    fall_back_threshold: float | None
    overwrite: bool
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
        type=outputs.file(kinds.PREDICTIONS),
        required=True,
        help="remapped CSV to write, .csv or .csv.gz",
    )
    parser.add_argument(
        "-i",
        "--output-label-index",
        type=outputs.file(kinds.LABEL_INDEX),
        required=True,
        help="label index JSON of the targets to write",
    )
    parser.add_argument(
        "--fall-back-mapping",
        type=Path,
        nargs="+",
        default=[],
        metavar="JSON",
        help="target mapping JSON of broader targets, for crops that are unsure of the "
        "finer ones; several go from finer to broader",
    )
    parser.add_argument(
        "--fall-back-threshold",
        type=cli.fraction,
        metavar="P",
        help="least probability of a target that needs no falling back "
        f"(default: {DEFAULT_FALL_BACK_THRESHOLD})",
    )
    return parser


def run(
    classifier_results_csv: Path,
    *,
    mappings: Sequence[Path],
    fall_back_threshold: float,
    output_csv: Path,
    output_label_index: Path,
) -> None:
    """Writes the probabilities of the targets, and their names.

    Args:
        classifier_results_csv: classifier output.
        mappings: one target mapping, or several to fall back along, finest first.
        fall_back_threshold: least probability that needs no falling back, in [0, 1].
        output_csv: the remapped CSV.
        output_label_index: the names of its columns.

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
    origin = predictions_info.find(classifier_results_csv)
    read = [target_mapping.read(path) for path in mappings]
    plan = (
        Aggregation.plan(results.categories, read[0])
        if len(read) == 1
        else RollUp.plan(results.categories, read, fall_back_threshold)
    )
    with locking.exclusive(output_csv):
        rows = predictions.write(output_csv, plan.targets, _sum_up(results, plan))
        predictions_info.tell(output_csv, origin)
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
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    threshold = args.fall_back_threshold
    if threshold is not None and not args.fall_back_mapping:
        parser.error("--fall-back-threshold needs --fall-back-mapping")
    return cli.exit_code(
        run,
        args.classifier_results_csv,
        mappings=[args.target_mapping, *args.fall_back_mapping],
        fall_back_threshold=(
            DEFAULT_FALL_BACK_THRESHOLD if threshold is None else threshold
        ),
        output_csv=args.output_csv,
        output_label_index=args.output_label_index,
    )


def _sum_up(
    results: predictions.PredictionsFile, plan: Aggregation | RollUp
) -> Iterator[tuple[list[str], NDArray[np.float64]]]:
    with progress.bar(None, unit="crops") as shown:
        for batch in results.float64_batches():
            yield batch.paths, plan.sums(batch.probabilities)
            shown.update(len(batch.paths))


if __name__ == "__main__":
    raise SystemExit(main())
