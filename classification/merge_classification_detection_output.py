r"""Adds the classifications of crops to the boxes that they were cut from.

New images (-j): the output is the detections JSON with classifications added; images and
boxes without a classified crop stay as they are. Training images (-q): the output holds
the images of the classifier output, with boxes of the detection cache, or with those that
people drew.

A box gets its categories of at least --threshold, most probable first, rounded to four
decimals. With --label it gets its true label, too, as a category of id 1000000 + id and
confidence 1: "first" keeps the order of falling confidence, "last" does not.

With --label-thresholds, a category is told only from the probability on at which as many
crops as its users want are right, as calibrate_classifier found for each label; one that
is right so often at no probability is not told.

Reads   classification CSV      of run_classifier, aggregate_classifier_probs or
                                evaluate_model; .csv or .csv.gz
        label names JSON        label index: the names of the categories, by id
        <CSV>.info.json         where there is one: which boxes the rows are of, which
                                must be those of the detections; and how probabilities
                                were calibrated, told in
                                info.classifier_metadata.calibration
        MODEL.manifest.json     --label-thresholds
        detections JSON         -j
        queried_images.json     -q, with the detection cache (-c, -v)
Writes  detections JSON         -o: with classifications; for Timelapse and others

Example:
    python merge_classification_detection_output.py classifier_output_remapped.csv.gz \
        label_index_remapped.json --output-json detections_with_classifications.json \
        --classifier-name megaclassifier_v0.1 --threshold 0.05 \
        --detection-json detections.json
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from classification.artifacts import (
    detections,
    kinds,
    label_index,
    predictions,
    predictions_info,
)
from classification.artifacts.layout import CropName
from classification.labels.joining import FIRST_ROW, Joiner, Queried, gather
from classification.labels.merging import Classifier, Place, Rule, dataset_of
from classification.labels.wording import some_of
from classification.modeling import manifest
from classification.runtime import cli, locking, outputs, progress
from classification.runtime.errors import ArtifactError, ConfigurationError, in_file
from classification.storage.crop_table import ClassifiedCrop, open_table
from detection import models

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np

    from classification.artifacts.detections import DetectionsFile, Header
    from classification.artifacts.predictions import Predictions, PredictionsFile
    from classification.artifacts.predictions_info import Applied
    from classification.storage.crop_table import CropTable

_OF_CLASSIFIER = {
    "classifier",
    "classifier_metadata",
    "classification_completion_time",
}

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    classification_csv: Path
    label_names_json: Path
    output_json: Path
    classifier_name: str
    threshold: float
    label_thresholds: Path | None
    datasets: list[str] | None
    typical_confidence_threshold: float | None
    completion_time: str | None
    detection_json: Path | None
    queried_images_json: Path | None
    detector_output_cache_dir: Path | None
    detector_version: str | None
    samples_per_label: int | None
    seed: int
    label: str | None
    relative_conf: bool
    overwrite: bool
    verbose: bool


@dataclass(frozen=True)
class Paths:
    """What is read and written.

    Attributes:
        results: classifier output.
        label_names: label index of its categories.
        output: merged JSON.
        boxes: detections JSON of new images, or the sources of training images.
        thresholds: manifest of the model, whose thresholds the categories must reach.
    """

    results: Path
    label_names: Path
    output: Path
    boxes: Path | Queried
    thresholds: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to merge.

    Attributes:
        classifier_name: for ``info.classifier``.
        rule: what is said of a crop.
        datasets: keep images of these datasets only, or None for all.
        typical_threshold: confidence that the classifier's users should ask for.
        completion_time: ``now``, a time to write, or None for none.
        samples_per_label: keep at most so many crops of each true label.
        seed: of that sample.
    """

    classifier_name: str
    rule: Rule
    datasets: frozenset[str] | None = None
    typical_threshold: float | None = None
    completion_time: str | None = None
    samples_per_label: int | None = None
    seed: int = 123


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("merge_classification_detection_output", __doc__)
    parser.add_argument(
        "classification_csv", type=Path, help="classifier output, .csv or .csv.gz"
    )
    parser.add_argument(
        "label_names_json", type=Path, help="label index JSON of its categories"
    )
    parser.add_argument(
        "-o",
        "--output-json",
        type=outputs.file(kinds.DETECTIONS),
        required=True,
        help="merged JSON to write",
    )
    parser.add_argument(
        "-n", "--classifier-name", required=True, help="for info.classifier"
    )
    _add_rule(parser)
    parser.add_argument(
        "-d",
        "--datasets",
        nargs="+",
        metavar="NAME",
        help="keep only images of these datasets: what stands before the first / of a "
        "file's name",
    )
    parser.add_argument(
        "--typical-confidence-threshold",
        type=cli.fraction,
        metavar="P",
        help="for info.classifier_metadata.typical_classification_threshold",
    )
    cli.add_completion_time(parser, "info.classification_completion_time")
    _add_boxes(parser)
    return parser


def _add_rule(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-t",
        "--threshold",
        type=cli.fraction,
        default=Rule.threshold,
        metavar="P",
        help="least probability of a category (default: %(default)s)",
    )
    parser.add_argument(
        "--label-thresholds",
        type=Path,
        metavar="MANIFEST",
        help="manifest of the calibrated model that classified the crops: tell a "
        "category only from its threshold on",
    )
    parser.add_argument(
        "--label",
        choices=[place.value for place in Place],
        help="add each crop's true label, at the beginning or the end",
    )
    parser.add_argument(
        "--relative-conf",
        action="store_true",
        help="instead of a category's probability, tell by how much it exceeds that "
        "of the true label (at least 0)",
    )


def _add_boxes(parser: argparse.ArgumentParser) -> None:
    new = parser.add_argument_group("boxes of new images")
    new.add_argument(
        "-j", "--detection-json", type=Path, help="detections JSON the crops are from"
    )
    known = parser.add_argument_group("boxes of training images")
    known.add_argument(
        "-q", "--queried-images-json", type=Path, help="queried images JSON"
    )
    known.add_argument(
        "-c",
        "--detector-output-cache-dir",
        type=Path,
        help="detection cache; not needed where people drew all boxes",
    )
    known.add_argument(
        "-v", "--detector-version", help="version of the cache, such as 4.1"
    )
    known.add_argument(
        "-s",
        "--samples-per-label",
        type=cli.positive_int,
        metavar="N",
        help="keep at most N crops of each true label, drawn at random (default: all)",
    )
    known.add_argument(
        "--seed",
        type=int,
        default=Options.seed,
        help="of that draw (default: %(default)s)",
    )


def run(paths: Paths, *, options: Options) -> None:
    """Writes the merged JSON.

    Raises:
        ArtifactError: a file breaks its format, or tells of boxes that another lacks.
        ConfigurationError: the files lack what an option needs.
    """
    results = predictions.open_file(paths.results)
    names = label_index.read(paths.label_names)
    classifier = _match(results, names, options.rule)
    origin = predictions_info.find(results.path)
    if paths.thresholds is not None:
        if origin.calibration is None:
            raise ConfigurationError(
                f"{results.path}: not calibrated, as far as is told; --label-thresholds "
                "is for the calibrated output of run_classifier"
            )
        least = _read_thresholds(paths.thresholds, names)
        options = replace(options, rule=replace(options.rule, least=least))
    with locking.exclusive(paths.output), open_table() as crops:
        if isinstance(paths.boxes, Path):
            boxes = detections.open_file(paths.boxes)
            _refuse_classified(boxes)
            detector = boxes.header.info.get("detector")
            _fill(crops, results, classifier, options, detector)
            header, documents = boxes.header, boxes.documents
        else:
            version = paths.boxes.detector_version
            _fill(crops, results, classifier, options, version and f"mdv{version}")
            header = gather(crops, results.path, paths.boxes)
            documents = crops.documents
        joiner = Joiner(crops, results.path, options.datasets, origin.boxes)
        header = _to_header(header, classifier, options, origin.calibration)
        detections.write(paths.output, header, joiner.join(documents))
    if origin.boxes is None:
        _logger.warning(
            "%s: nothing beside it tells which boxes its crops were cut from; they are "
            "taken to be these",
            results.path,
        )
    _logger.info("wrote %s: %s", paths.output, joiner.summary())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if fault := _contradiction(args):
        parser.error(fault)
    options = Options(
        classifier_name=args.classifier_name,
        rule=Rule(
            threshold=args.threshold,
            truth=Place(args.label) if args.label else None,
            relative=args.relative_conf,
        ),
        datasets=frozenset(args.datasets) if args.datasets else None,
        typical_threshold=args.typical_confidence_threshold,
        completion_time=args.completion_time,
        samples_per_label=args.samples_per_label,
        seed=args.seed,
    )
    paths = Paths(
        args.classification_csv,
        args.label_names_json,
        args.output_json,
        _boxes(args),
        args.label_thresholds,
    )
    return cli.exit_code(run, paths, options=options)


def _contradiction(args: Arguments) -> str:
    queried = args.queried_images_json is not None
    if queried == (args.detection_json is not None):
        return "give either --detection-json or --queried-images-json"
    if args.relative_conf and args.label_thresholds is not None:
        return "--label-thresholds is for probabilities, --relative-conf tells others"
    cache = args.detector_output_cache_dir is not None
    if cache != (args.detector_version is not None):
        return "--detector-output-cache-dir and --detector-version go together"
    if not queried and (cache or args.samples_per_label is not None):
        flag = "--detector-output-cache-dir" if cache else "--samples-per-label"
        return f"{flag} goes with --queried-images-json"
    return ""


def _boxes(args: Arguments) -> Path | Queried:
    if args.queried_images_json is None:
        return args.detection_json or Path()
    return Queried(
        args.queried_images_json, args.detector_output_cache_dir, args.detector_version
    )


def _read_thresholds(path: Path, names: Sequence[str]) -> dict[str, float]:
    """Returns the threshold of each category that has one."""
    calibration = manifest.read(path).calibration
    if calibration is None:
        raise ConfigurationError(
            f"{path}: not calibrated; calibrate_classifier does it"
        )
    known = {one.label: one.threshold for one in calibration.labels}
    if missing := [name for name in names if name not in known]:
        raise ConfigurationError(
            f"{path}: {some_of(missing)}: no label of this model; its thresholds are of "
            "its own labels, not of targets"
        )
    return {name: found.probability for name in names if (found := known[name])}


def _match(results: PredictionsFile, names: Sequence[str], rule: Rule) -> Classifier:
    columns = results.categories
    try:
        classifier = Classifier.match(
            names, columns, has_label=results.has_label, rule=rule
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{results.path}: {error}") from error
    if unused := classifier.unused(columns):
        _logger.warning(
            "%s: columns that are no category are left aside: %s",
            results.path,
            cli.one_line(some_of(unused)),
        )
    return classifier


def _fill(
    crops: CropTable,
    results: PredictionsFile,
    classifier: Classifier,
    options: Options,
    detector: str | None,
) -> None:
    """Puts what is said of each crop into the table.

    Raises:
        ArtifactError: a crop's name has another detector than ``detector``, or two are
            of one box.
        ConfigurationError: see ``Options.samples_per_label``.
    """
    if options.samples_per_label is not None and not classifier.has_label:
        raise ConfigurationError(
            f"{results.path}: --samples-per-label needs the column label"
        )
    read = _read_crops(results, classifier, options)
    crops.add(_of_detector(read, detector, results.path) if detector else read)
    if repeated := crops.find_repeated():
        first, second = repeated
        raise ArtifactError(
            f"the same box as in row {first}",
            where=f"{results.path}: row {second}, column path",
        )
    if options.samples_per_label is not None:
        crops.sample(options.samples_per_label, seed=options.seed)


def _read_crops(
    results: PredictionsFile, classifier: Classifier, options: Options
) -> Iterator[ClassifiedCrop]:
    first_row = FIRST_ROW
    with progress.bar(None, unit="crops") as shown:
        for batch in results.float64_batches():
            with in_file(results.path):
                crops = _tell(batch, classifier, options.rule, first_row)
            for one in crops:
                wanted = options.datasets
                if wanted is None or dataset_of(one.crop.image) in wanted:
                    yield one
            first_row += len(batch.paths)
            shown.update(len(batch.paths))


def _of_detector(
    crops: Iterable[ClassifiedCrop], detector: str, path: Path
) -> Iterator[ClassifiedCrop]:
    """Yield the crops; refuse one whose name has another detector."""
    is_of: dict[str, bool] = {}
    for one in crops:
        suffix = one.crop.suffix
        if not is_of.setdefault(suffix, models.is_crop_suffix(suffix, detector)):
            raise ArtifactError(
                f"{one.crop} was cut from a box of {suffix!r}, the detections are of "
                f"{detector!r}; give those that the crops were cut from, or classify "
                "crops of these",
                where=f"{path}: row {one.row}, column path",
            )
        yield one


def _tell(
    batch: Predictions[np.float64], classifier: Classifier, rule: Rule, first_row: int
) -> list[ClassifiedCrop]:
    told = classifier.tell(batch, rule, first_row=first_row)
    labels = batch.labels or [""] * len(batch.paths)
    rows = enumerate(zip(batch.paths, labels, told, strict=True), first_row)
    return [
        ClassifiedCrop(
            row, _parse(path, row), label, detections.encode_classifications(ranked)
        )
        for row, (path, label, ranked) in rows
    ]


def _parse(path: str, row: int) -> CropName:
    try:
        # The original wrote ./ before crops that stand in no folder.
        return CropName.parse(path.removeprefix("./"))
    except ArtifactError as error:
        raise ArtifactError(error.message, where=f"row {row}, column path") from error


def _refuse_classified(boxes: DetectionsFile) -> None:
    if boxes.header.classification_categories:
        raise ArtifactError(
            "there are classifications already; merge into the file that "
            "run_detector_batch wrote",
            where=f"{boxes.path}: classification_categories",
        )


def _to_header(
    header: Header,
    classifier: Classifier,
    options: Options,
    calibration: Applied | None,
) -> Header:
    # What an earlier classifier left would be taken for this one's.
    info = {key: header.info[key] for key in header.info if key not in _OF_CLASSIFIER}
    info["classifier"] = options.classifier_name
    if options.completion_time:
        info["classification_completion_time"] = cli.to_write(options.completion_time)
    if metadata := _metadata(options, calibration):
        info["classifier_metadata"] = metadata
    return replace(header, info=info, classification_categories=classifier.categories())


def _metadata(options: Options, calibration: Applied | None) -> dict[str, object]:
    metadata: dict[str, object] = {}
    if options.typical_threshold is not None:
        metadata["typical_classification_threshold"] = options.typical_threshold
    if calibration is not None:
        metadata["calibration"] = msgspec.to_builtins(calibration)
    if options.rule.least is not None:
        metadata["label_thresholds"] = dict(options.rule.least)
    return metadata


if __name__ == "__main__":
    raise SystemExit(main())
