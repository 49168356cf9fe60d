"""Cuts the animals out of images: one small JPEG for each box of a detector.

Reads the detections JSON of run_detector_batch (or any MegaDetector output) and the
images it names. Writes one crop for each box of the category "animal" whose confidence
reaches the threshold, and crop_detections_log_<time>.json, which says what failed and why.

A crop is named after its image and the box's place in the image's list of boxes:
a/b.jpg gives <crops>/a/b.jpg___crop00_md_v5a.0.0.pt.jpg. Crops that exist are kept,
whatever options made them, so a run that was interrupted goes on where it was; an image
none of whose crops is missing is not opened. After a power cut, --check-crops-valid finds
crops that the disk lost.

Example:
  crop_detections.py detections.json crops --images-dir images --threshold 0.2 --square-crops
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import detections, layout, step_log
from classification.cropping.cut import Shape
from classification.cropping.existing import ExistingCrops
from classification.cropping.harvest import (
    DEFAULT_JPEG_QUALITY,
    Harvest,
    Settings,
    harvest,
)
from classification.cropping.images import DEFAULT_MAX_PIXELS
from classification.cropping.wanted import (
    Rule,
    WantedCrop,
    animal_categories,
)
from classification.runtime import cli, parallel, progress
from classification.runtime.errors import ConfigurationError
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from classification.artifacts.detections import DetectionsFile, Header
    from classification.artifacts.step_log import StepLog

_UNKNOWN_DETECTOR = "unknown"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    detections_json: Path
    cropped_images_dir: Path
    images_dir: Path | None
    container_url: str
    detector_version: str | None
    save_full_images: bool
    square_crops: bool
    reference_squares: bool
    ignore_exif: bool
    jpeg_quality: int
    max_pixels: int
    check_crops_valid: bool
    threshold: float
    threads: int
    max_failures: int | None
    logdir: Path
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to crop.

    Attributes:
        settings: how crops are cut and saved.
        threshold: least confidence of a box that is cropped, in [0, 1].
        detector_version: name of the detector where the file has none, or None.
        container_url: a container that holds the images, or empty.
        threads: number of images worked on at once.
        max_failures: more failed images than this end the run with exit code 4.
    """

    settings: Settings
    threshold: float
    detector_version: str | None
    container_url: str
    threads: int
    max_failures: int | None


@dataclass(frozen=True, slots=True)
class _Job:
    image: str
    wanted: list[WantedCrop]


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("crop_detections", __doc__)
    parser.add_argument(
        "detections_json", type=Path, help="boxes, as run_detector_batch writes them"
    )
    parser.add_argument(
        "cropped_images_dir", type=Path, help="folder for the crops; made if missing"
    )
    _add_sources(parser)
    _add_shape(parser)
    parser.add_argument(
        "-t",
        "--threshold",
        type=cli.fraction,
        default=0.0,
        help="crop boxes of at least this confidence; boxes without one, which people "
        "drew, are always cropped (default: %(default)s)",
    )
    parser.add_argument(
        "--check-crops-valid",
        action="store_true",
        help="decode each crop that exists, and cut it again if it is damaged",
    )
    parser.add_argument(
        "-n",
        "--threads",
        type=cli.positive_int,
        default=parallel.cores(),
        help="images worked on at once; more than the processor has cores would only "
        "slow it down, so no more are used (default: %(default)s, the cores)",
    )
    cli.add_logdir(parser)
    cli.add_max_failures(parser)
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i", "--images-dir", type=Path, help="folder that the images' names start from"
    )
    parser.add_argument(
        "-c",
        "--container-url",
        default="",
        help="URL of a container that holds the images; not in this version, leave it "
        "out or empty",
    )
    parser.add_argument(
        "-v",
        "--detector-version",
        help="the detector's name, for the crops' names; only needed where the "
        "detections JSON has no info.detector (default: unknown)",
    )
    parser.add_argument(
        "--save-full-images",
        action="store_true",
        help="keep images fetched from a container in --images-dir",
    )
    parser.add_argument(
        "--max-pixels",
        type=cli.positive_int,
        default=DEFAULT_MAX_PIXELS,
        help="skip images of more pixels, width times height (default: %(default)s)",
    )


def _add_shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--square-crops",
        action="store_true",
        help="cut the smallest square around each box that stays inside the image; "
        "black is added only where the square is larger than the image",
    )
    parser.add_argument(
        "--reference-squares",
        action="store_true",
        help="cut squares exactly as MegaDetector's own crop_detections does, with "
        "black at the right and lower edges; for classifiers trained on such crops",
    )
    parser.add_argument(
        "--ignore-exif",
        action="store_true",
        help="do not turn images upright by their EXIF orientation; for boxes drawn "
        "on the pixels as they are stored",
    )
    parser.add_argument(
        "--jpeg-quality",
        type=_jpeg_quality,
        default=DEFAULT_JPEG_QUALITY,
        metavar="1-100",
        help="JPEG quality of the crops (default: %(default)s, as published "
        "classifiers were trained with)",
    )


def _jpeg_quality(text: str) -> int:
    value = cli.positive_int(text)
    if value > 100:  # noqa: PLR2004 - JPEG's range
        raise argparse.ArgumentTypeError(f"{text} is more than 100")
    return value


def run(
    detections_json: Path,
    cropped_images_dir: Path,
    *,
    images_dir: Path | None,
    logdir: Path,
    options: Options,
) -> None:
    """Cuts the crops of a detections JSON that are missing.

    Raises:
        ArtifactError: the detections JSON breaks its format, or names files outside
            of the images folder.
        ConfigurationError: the options contradict the file, or each other.
        StorageError: the crops folder cannot be written.
        TooManyFailuresError: see ``cli.check_failures``.
    """
    store = _open_store(images_dir, options.container_url)
    boxes = detections.open_file(detections_json)
    rule = Rule(
        categories=animal_categories(boxes.header.detection_categories),
        threshold=options.threshold,
        suffix=_suffix(boxes.header, options.detector_version),
    )
    log = _open_log(options)
    if not rule.categories:
        _logger.warning('no category is named "animal", so nothing is cropped')
    existing = None
    if not options.settings.check_existing:
        existing = ExistingCrops(cropped_images_dir)
    cut = partial(
        _harvest_job,
        store=store,
        crops_dir=cropped_images_dir,
        settings=options.settings,
    )
    jobs = _find_missing(boxes, rule, existing, log)
    for result in parallel.ordered_map(cut, jobs, threads=options.threads):
        _record(log, result)
    _finish(log, cropped_images_dir, logdir)
    cli.check_failures(
        log.counts["images_failed"], log.counts["images"], options.max_failures
    )


def _open_store(images_dir: Path | None, container_url: str) -> LocalStore:
    if container_url:
        raise ConfigurationError(
            "--container-url: containers come in a later version; copy the images to a "
            "folder and name it with --images-dir"
        )
    if images_dir is None or not images_dir.is_dir():
        raise ConfigurationError(f"no such folder: {images_dir} (--images-dir)")
    return LocalStore(images_dir)


def _suffix(header: Header, detector_version: str | None) -> str:
    detector = header.info.get("detector")
    if detector is None:
        detector = detector_version or _UNKNOWN_DETECTOR
    elif detector_version not in {None, detector}:
        raise ConfigurationError(
            f"--detector-version {detector_version} is not info.detector, {detector}; "
            "leave the flag out to use the file's"
        )
    return layout.inference_suffix(str(detector))


def _open_log(options: Options) -> StepLog:
    settings = options.settings
    return step_log.StepLog(
        step="crop_detections",
        options={
            "shape": settings.shape.value,
            "threshold": options.threshold,
            "jpeg_quality": settings.jpeg_quality,
            "max_pixels": settings.max_pixels,
            "ignore_exif": not settings.apply_exif,
            "check_crops_valid": settings.check_existing,
            "threads": options.threads,
        },
        counts={"images": 0, "images_failed": 0, "crops": 0, "crops_existing": 0},
        extra={"images_missing_detections": [], "images_failed_download_or_crop": []},
    )


def _find_missing(
    boxes: DetectionsFile, rule: Rule, existing: ExistingCrops | None, log: StepLog
) -> Iterator[_Job]:
    """Yields the images of which a crop is missing, and counts what is there."""
    counts = log.counts
    counted = progress.track(boxes.images(), total=boxes.image_count, unit="images")
    for image in counted:
        if image.detections is None:
            log.extra["images_missing_detections"].append(image.file)
        wanted = rule.crops_of(image)
        counts["images"] += bool(wanted)
        missing = wanted
        if existing is not None:
            missing = [crop for crop in wanted if crop.name not in existing]
            counts["crops_existing"] += len(wanted) - len(missing)
        if missing:
            yield _Job(image.file, missing)


def _harvest_job(
    job: _Job, *, store: LocalStore, crops_dir: Path, settings: Settings
) -> Harvest:
    return harvest(
        job.image, job.wanted, store=store, crops_dir=crops_dir, settings=settings
    )


def _record(log: StepLog, result: Harvest) -> None:
    log.counts["crops"] += result.new
    log.counts["crops_existing"] += result.existing
    log.notes += result.notes
    log.failures += result.failures
    if result.failures:
        log.counts["images_failed"] += 1
        log.extra["images_failed_download_or_crop"].append(result.image)


def _finish(log: StepLog, crops_dir: Path, logdir: Path) -> None:
    counts = log.counts
    log.extra |= {"num_new_downloads": 0, "num_new_crops": counts["crops"]}
    path = step_log.write(logdir, log)
    _logger.info(
        "%d new crops in %s, %d were there already; %d of %d images failed; "
        "the detector had failed on %d; log: %s",
        counts["crops"],
        crops_dir,
        counts["crops_existing"],
        counts["images_failed"],
        counts["images"],
        len(log.extra["images_missing_detections"]),
        path,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if args.images_dir is None and (args.save_full_images or not args.container_url):
        parser.error("--images-dir says where the images are")
    if args.save_full_images:
        _logger.info("--save-full-images: all images are local, nothing to save")
    return cli.exit_code(
        run,
        args.detections_json,
        args.cropped_images_dir,
        images_dir=args.images_dir,
        logdir=args.logdir,
        options=_to_options(args),
    )


def _to_options(args: Arguments) -> Options:
    threads = min(args.threads, parallel.cores())
    if threads < args.threads:
        _logger.info("--threads: %d, as many as there are cores", threads)
    return Options(
        settings=Settings(
            shape=_shape(args),
            jpeg_quality=args.jpeg_quality,
            max_pixels=args.max_pixels,
            apply_exif=not args.ignore_exif,
            check_existing=args.check_crops_valid,
        ),
        threshold=args.threshold,
        detector_version=args.detector_version,
        container_url=args.container_url,
        threads=threads,
        max_failures=args.max_failures,
    )


def _shape(args: Arguments) -> Shape:
    if args.reference_squares:
        return Shape.REFERENCE_SQUARE
    return Shape.SQUARE if args.square_crops else Shape.RECTANGLE


if __name__ == "__main__":
    raise SystemExit(main())
