"""Makes the probabilities of an exported classifier mean what they say.

A network that was trained until it is right is mostly surer than it is right: of the
crops to which it gives 0.9, fewer than nine in ten are. This fits a correction to crops
that it was not trained on, and writes it into the manifests of the exported model, from
where run_classifier applies it. All that is needed is what evaluate_model wrote of the
val split; nothing is classified again.

temperature  divides all logits by one number: a crop's most probable label stays the same
vector       gives each label a weight and a bias; for hundreds of crops of each label

Errors are expected calibration errors: by how much, on average, the probability of the
most probable label misses the share of crops that are right. Those "after" are of crops
that the correction was not fitted to. The threshold of a label is the least probability
at which --precision of the crops are right, with the 95 % interval of that share; few
crops make it wide. It was chosen on the crops it is told of, so expect a little less of
others; --check says how much. The table of labels goes to stdout as CSV.

Reads   outputs_val.csv.gz    of evaluate_model: probabilities and true labels
        MODEL                 .onnx or .pt of export_model, its manifest beside it
Writes  the manifest          of each MODEL: its calibration

Example:
    python calibrate_classifier.py run/20261122_204715/outputs_val.csv.gz deer.onnx
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from classification.artifacts import predictions, predictions_info
from classification.measuring import answers, metrics
from classification.modeling import calibration, manifest
from classification.modeling.calibration import METHODS, Outputs
from classification.modeling.scaling import Temperature
from classification.runtime import cli, registry
from classification.runtime.atomic import together
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.artifacts.predictions import PredictionsFile
    from classification.modeling.calibration import Method
    from classification.modeling.manifest import Calibration, Manifest

COLUMNS = (
    *("label", "crops", "ece_before", "ece_after"),
    *("threshold", "crops_above", "precision", "low", "high"),
)
_FIRST_ROW = 2  # row 1 is the header

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    outputs_csv: Path
    model: list[Path]
    method: Method
    precision: float
    check: list[Path]
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to calibrate.

    Attributes:
        method: which scaling to fit.
        precision: what the thresholds are for, in (0, 1].
        check: outputs of other splits, to see what the scaling does to them.
    """

    method: Method = "temperature"
    precision: float = 0.95
    check: Sequence[Path] = ()


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("calibrate_classifier", __doc__, overwrite=False)
    parser.add_argument(
        "outputs_csv",
        type=Path,
        help="classifier output with true labels, of crops the network was not trained "
        "on: outputs_val.csv.gz",
    )
    parser.add_argument(
        "model",
        type=Path,
        nargs="+",
        help="exported model, .onnx or .pt; several if one network was exported twice",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default=Options.method,
        help="what to fit (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        type=_precision,
        default=Options.precision,
        metavar="P",
        help="share of right crops that each label's threshold is for "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--check",
        type=Path,
        nargs="+",
        default=[],
        metavar="CSV",
        help="outputs of other splits, such as outputs_test.csv.gz: tell the errors "
        "before and after there, too, and how many crops at or above the threshold of "
        "their label are right",
    )
    return parser


def _precision(text: str) -> float:
    value = cli.fraction(text)
    if not value:
        raise argparse.ArgumentTypeError("a precision of 0 needs no threshold")
    return value


def run(outputs_csv: Path, models: Sequence[Path], *, options: Options) -> None:
    """Fits a calibration and writes it into manifests.

    Raises:
        ArtifactError: the outputs or a manifest break their format, or a crop's label
            is none of the model's.
        ConfigurationError: outputs and model do not belong together, or the outputs
            are calibrated already.
    """
    paths = [manifest.path_beside(model) for model in models]
    described = [manifest.read(path) for path in paths]
    labels = _same_labels(models, described)
    outputs = _read(outputs_csv, labels)
    checked = [(path, _read(path, labels)) for path in options.check]
    found = calibration.describe(
        options.method,
        outputs,
        labels,
        wanted_precision=options.precision,
        sha256=registry.sha256_of(outputs_csv),
    )
    with together():
        for path, one in zip(paths, described, strict=True):
            manifest.write(path, msgspec.structs.replace(one, calibration=found))
    _tell(found, outputs_csv, paths)
    for path, others in checked:
        _tell_check(found, path, others)
    _print_labels(found)


def _same_labels(
    models: Sequence[Path], described: Sequence[Manifest]
) -> tuple[str, ...]:
    for model, one in zip(models, described, strict=True):
        if one.labels != described[0].labels:
            raise ConfigurationError(f"{model} has other labels than {models[0]}")
    return described[0].labels


def _read(path: Path, labels: Sequence[str]) -> Outputs:
    """Reads all crops of a classifier output with true labels."""
    file = predictions.open_file(path)
    _check(file, labels)
    index_by_label = {label: index for index, label in enumerate(labels)}
    true: list[int] = []
    parts = []
    for batch in file.batches():
        for row, label in enumerate(batch.labels or [], _FIRST_ROW + len(true)):
            if label not in index_by_label:
                raise ArtifactError(
                    f"{label!r} is no label of the model",
                    where=f"{path}: row {row}, column label",
                )
        true += [index_by_label[label] for label in batch.labels or []]
        parts.append(batch.probabilities)
    if not true:
        raise ConfigurationError(f"{path}: no crop to calibrate with")
    return Outputs(np.concatenate(parts), np.array(true, np.int64))


def _check(file: PredictionsFile, labels: Sequence[str]) -> None:
    answers.check(file, labels)
    if predictions_info.find(file.path).calibration is not None:
        raise ConfigurationError(
            f"{file.path}: these probabilities are calibrated already; evaluate the "
            "checkpoint"
        )


def _tell(found: Calibration, outputs_csv: Path, paths: Sequence[Path]) -> None:
    if found.loss_after >= found.loss_before:
        _logger.warning(
            "the scaling does not help crops it was not fitted to: there was little to "
            "mend, or there are too few crops for --method %s",
            "temperature" if isinstance(found.scaling, Temperature) else "vector",
        )
    _logger.info(
        "%s: expected calibration error %.4f, then %.4f; cross-entropy %.4f, then %.4f "
        "(%d crops of %s)",
        found.scaling,
        found.ece_before,
        found.ece_after,
        found.loss_before,
        found.loss_after,
        found.crops,
        outputs_csv,
    )
    _logger.info("wrote %s", ", ".join(map(str, paths)))


def _tell_check(found: Calibration, path: Path, others: Outputs) -> None:
    after = calibration.calibrated(found.scaling, others)
    _logger.info(
        "%s: expected calibration error %.4f, then %.4f; cross-entropy %.4f, then %.4f "
        "(%d crops)",
        path,
        calibration.error(others.probabilities, others.true),
        calibration.error(after, others.true),
        calibration.cross_entropy(others.probabilities, others.true),
        calibration.cross_entropy(after, others.true),
        len(others.true),
    )
    kept = calibration.reaches_threshold(found, after)
    right = metrics.predict(after[kept]) == others.true[kept]
    _logger.info(
        "%s: %d of the %d crops that reach the threshold of their label are right",
        path,
        right.sum(),
        len(right),
    )


def _print_labels(found: Calibration) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in found.labels:
        row: list[object] = [one.label, one.crops, one.ece_before, one.ece_after]
        if one.threshold is not None:
            row += msgspec.structs.astuple(one.threshold)
        table.writerow(row + [""] * (len(COLUMNS) - len(row)))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.outputs_csv,
        args.model,
        options=Options(method=args.method, precision=args.precision, check=args.check),
    )


if __name__ == "__main__":
    raise SystemExit(main())
