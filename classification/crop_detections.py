"""Cuts the animals out of images: one small JPEG for each box of a detector.

Reads the detections JSON of run_detector_batch (or any MegaDetector output) and the
images it names. Writes one crop for each box of the category "animal" whose confidence
reaches the threshold, and crop_detections_log_<time>.json, which says what failed and why.

A crop is named after its image and the box's place in the image's list of boxes:
a/b.jpg gives <crops>/a/b.jpg___crop00_md_v5a.0.0.pt.jpg. Crops that exist are kept, so a
run that was interrupted goes on where it was; an image none of whose crops is missing is
not opened. <crops>/.crop_detections.json says how they were cut, and a run that cuts them
in another way is refused. After a power cut, --check-crops-valid finds crops that the disk
lost.

Example:
  crop_detections.py detections.json crops --images-dir images --threshold 0.2 --square-crops
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import detections, layout, step_log
from classification.cropping import bulk, flags
from classification.cropping.bulk import Job
from classification.cropping.wanted import Rule, animal_categories
from classification.runtime import cli, progress
from classification.runtime.errors import ConfigurationError
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from classification.artifacts.detections import DetectionsFile, Header
    from classification.artifacts.step_log import StepLog
    from classification.cropping.harvest import Settings

STEP = "crop_detections"
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


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    parser.add_argument(
        "detections_json", type=Path, help="boxes, as run_detector_batch writes them"
    )
    parser.add_argument(
        "cropped_images_dir", type=Path, help="folder for the crops; made if missing"
    )
    _add_sources(parser)
    flags.add_shape(parser)
    flags.add_cutting(parser)
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
        ConfigurationError: the options contradict the file, each other, or the crops
            that are there.
        StorageError: the crops folder cannot be written, or another run is at the same.
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
    place = bulk.Place(
        store=store,
        crops_dir=cropped_images_dir,
        settings=options.settings,
        threads=options.threads,
    )
    work = detections_json.resolve()
    with bulk.filling(cropped_images_dir, options.settings, STEP, work):
        bulk.cut_missing(_jobs(boxes, rule, log), place, log)
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
    return step_log.StepLog(
        step=STEP,
        options=bulk.options_to_log(
            options.settings, threshold=options.threshold, threads=options.threads
        ),
    )


def _jobs(boxes: DetectionsFile, rule: Rule, log: StepLog) -> Iterator[Job]:
    """Yields every image, and notes those on which the detector failed."""
    missing: list[str] = []
    log.extra["images_missing_detections"] = missing
    for image in progress.track(boxes.images(), total=boxes.image_count, unit="images"):
        if image.detections is None:
            missing.append(image.file)
        yield Job(image.file, rule.crops_of(image))


def _finish(log: StepLog, crops_dir: Path, logdir: Path) -> None:
    counts = log.counts
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
    return Options(
        settings=flags.settings_of(args),
        threshold=args.threshold,
        detector_version=args.detector_version,
        container_url=args.container_url,
        threads=flags.threads_of(args),
        max_failures=args.max_failures,
    )


if __name__ == "__main__":
    raise SystemExit(main())
