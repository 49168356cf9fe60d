"""Cuts the animals out of images: one small JPEG for each box of a detector.

Reads the detections JSON of run_detector_batch (or any MegaDetector output) and the
images it names. Writes one crop for each box of the category "animal" whose confidence
reaches the threshold, and crop_detections_log_<time>.json, which says what failed and why.

A crop is named after its image and the box's place in the image's list of boxes:
a/b.jpg gives <crops>/a/b.jpg___crop00_md_v5a.0.0.pt.jpg. Its file says, in a comment, which
box of which image it was cut from, and how. Crops that exist are kept, so a run that was
interrupted goes on where it was; those of another image, box, detector or way of cutting
are cut anew. An image none of whose crops is missing is not opened unless its size or time
changed; --verify compares the bytes of all. Crops that say nothing, such as those of other
programs, are kept. Crops of no box are counted, and --remove-orphans deletes them; those of
an image or a detector that was replaced go in any case. After a power cut,
--check-crops-valid finds crops that the disk lost.

With --shard 3/10 it cuts the crops of the third tenth of the images alone, into the same
folder. The same line without --shard finds at the end whether all is there, and cuts what
is not. With --engine ray, a Ray cluster runs the shards, and then this is done.

Example:
  crop_detections.py detections.json crops --images-dir images --threshold 0.2 --square-crops
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import detections, image_contents, layout, step_log
from classification.cropping import bulk, flags, orphans
from classification.cropping.bulk import Job
from classification.cropping.wanted import (
    UNKNOWN_DETECTOR,
    Detector,
    Rule,
    animal_categories,
    detector_of,
)
from classification.runtime import cli, outputs, progress, shards
from classification.runtime.atomic import check_writable
from classification.sharding import cluster
from classification.sharding import flags as cluster_flags
from classification.storage import flags as places_flags
from classification.storage import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from classification.artifacts.detections import DetectionsFile
    from classification.artifacts.step_log import StepLog
    from classification.cropping.harvest import Settings
    from classification.runtime.shards import Shard
    from classification.storage.digests import Md5
    from classification.storage.places import Manner, Place, Places

STEP = "crop_detections"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    detections_json: Path
    cropped_images_dir: Path
    verify: bool
    remove_orphans: bool
    images_dir: list[Place]
    base_url: list[Place]
    container_url: list[Place]
    tries: int
    timeout: int
    md5: Md5
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
    """How to crop.

    Attributes:
        places: where the images are.
        manner: how they are had from elsewhere.
        settings: how crops are cut and saved.
        threshold: least confidence of a box that is cropped, in [0, 1].
        detector_version: name of the detector where the file has none, or None.
        threads: number of images worked on at once.
        max_failures: more failed images than this end the run with exit code 4.
        verify: compare the bytes of all images with those that crops were cut from.
        remove_orphans: delete crops of no box.
        shard: the part to work on; None for all of it.
        job: what a cluster does first; None for nothing.
    """

    places: Sequence[Place]
    manner: Manner
    settings: Settings
    threshold: float
    detector_version: str | None
    threads: int
    max_failures: int | None
    verify: bool = False
    remove_orphans: bool = False
    shard: Shard | None = None
    job: cluster.Job | None = None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    parser.add_argument(
        "detections_json", type=Path, help="boxes, as run_detector_batch writes them"
    )
    parser.add_argument(
        "cropped_images_dir",
        type=outputs.folder(),
        help="folder for the crops; made if missing",
    )
    _add_sources(parser)
    flags.add_shape(parser)
    flags.add_cutting(parser)
    places_flags.add_verify(parser)
    orphans.add_flag(parser)
    shards.add_shard(parser, "its log gets a name of its own")
    cli.add_logdir(parser)
    cli.add_max_failures(parser)
    cluster_flags.add_cluster(parser)
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    places_flags.add_places(parser, container_flags=["-c"], with_megadb=False)
    parser.add_argument(
        "-v",
        "--detector-version",
        help="the detector's name, for the crops' names; only needed where the "
        "detections JSON has no info.detector (default: unknown)",
    )
    places_flags.add_keeping(parser)


def run(
    detections_json: Path,
    cropped_images_dir: Path,
    *,
    logdir: Path,
    options: Options,
) -> None:
    """Cuts the crops of a detections JSON that are missing; a cluster goes first.

    Raises:
        ArtifactError: the detections JSON breaks its format, or names files outside
            of the images folder.
        ConfigurationError: the options contradict the file, each other, or the crops
            that are there.
        StorageError: the crops folder cannot be written, or another run is at the same.
        TooManyFailuresError: see ``cli.check_failures``.
    """
    if options.job is not None:
        cluster.run_shards(options.job)
    store = _open_store(options)
    boxes = detections.open_file(detections_json)
    contents = image_contents.find(detections_json)
    detector = detector_of(boxes.header, options.detector_version)
    rule = Rule(
        categories=animal_categories(boxes.header.detection_categories),
        threshold=options.threshold,
        suffix=layout.inference_suffix(detector or UNKNOWN_DETECTOR),
    )
    log = _open_log(options)
    if not rule.categories:
        _logger.warning('no category is named "animal", so nothing is cropped')
    place = bulk.Place(
        store=store,
        crops_dir=cropped_images_dir,
        settings=options.settings,
        threads=options.threads,
        verify=options.verify,
    )
    jobs = _jobs(boxes, rule, log, contents, options.shard)
    work = (detections_json.resolve(), options.shard)
    with bulk.filling(cropped_images_dir, STEP, *work) as crops:
        try:
            given = bulk.cut_missing(jobs, place, crops, log, boxes.alike())
        finally:
            log.extra["num_new_downloads"] = store.fetched
        remove = options.remove_orphans
        orphans.report(place, given, crops, log, remove=remove)
    _finish(log, cropped_images_dir, logdir)
    cli.check_failures(
        log.counts["images_failed"], log.counts["images"], options.max_failures
    )


def _open_store(options: Options) -> Places:
    if options.manner.keep is not None:
        check_writable(options.manner.keep)
    return places.open_places(options.places, manner=options.manner)


def _open_log(options: Options) -> StepLog:
    return step_log.StepLog(
        step=STEP,
        shard=options.shard,
        options=bulk.options_to_log(
            options.settings, threshold=options.threshold, threads=options.threads
        ),
    )


def _jobs(
    boxes: DetectionsFile,
    rule: Rule,
    log: StepLog,
    contents: image_contents.Record | None,
    shard: Shard | None,
) -> Iterator[Job]:
    """Yields every image of the shard, and notes those on which the detector failed."""
    missing: list[str] = []
    log.extra["images_missing_detections"] = missing
    span = shards.span_of(shard, boxes.image_count)
    detected = image_contents.pair(boxes.images(), contents)
    detected = islice(detected, span.start, span.stop)
    found = Detector(rule.suffix, contents.header.detector if contents else "")
    for image, was in progress.track(detected, total=len(span), unit="images"):
        if image.detections is None:
            missing.append(image.file)
        detector = None if image.is_ground_truth else found
        yield Job(
            image.file,
            rule.crops_of(image),
            detector=detector,
            digest=was.digest if was else None,
        )


def _finish(log: StepLog, crops_dir: Path, logdir: Path) -> None:
    counts = log.counts
    path = step_log.write(logdir, log)
    cut = f"{counts['crops']} new crops in {crops_dir}"
    done = [
        f"{cut}, {counts['crops_existing']} were there already",
        *bulk.remarks(log),
        *orphans.remarks(log),
        f"{counts['images_failed']} of {counts['images']} images failed",
        f"the detector had failed on {len(log.extra['images_missing_detections'])}",
        f"log: {path}",
    ]
    _logger.info("%s", "; ".join(done))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if not places_flags.places_of(args):
        parser.error("--images-dir says where the images are")
    keep = places_flags.kept_in(args, parser)
    job = cluster_flags.job_of(args, parser, "classification.crop_detections", argv)
    return cli.exit_code(
        run,
        args.detections_json,
        args.cropped_images_dir,
        logdir=args.logdir,
        options=replace(_to_options(args, keep), job=job),
    )


def _to_options(args: Arguments, keep: Path | None) -> Options:
    images = places_flags.places_of(args)
    are_distant = any(place.is_remote for place in images)
    return Options(
        places=images,
        manner=places_flags.manner_of(args, keep=keep),
        settings=flags.settings_of(args),
        threshold=args.threshold,
        detector_version=args.detector_version,
        threads=flags.threads_of(args, are_distant=are_distant),
        max_failures=args.max_failures,
        verify=args.verify,
        remove_orphans=args.remove_orphans,
        shard=args.shard,
    )


if __name__ == "__main__":
    raise SystemExit(main())
