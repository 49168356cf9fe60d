"""Gets the crops of a training set: detects what nobody drew boxes of, then cuts.

Reads:
  queried_images.json of json_validator: the images, and the boxes that people drew
  DIR/v<version>/<dataset>.json, the detection cache: a detector's boxes of all others
  the images: <images-dir>/<dataset>/<file>, or else the dataset's root folder, web
  address or container, as the metadata store of import_metadata knows it (--megadb)
Writes:
  the detection cache, with --run-detector: a dataset's file once all of it is detected
  <crops>/<dataset>/<file>___crop00.jpg of a box that people drew, and
  <crops>/<dataset>/<file>___crop00_mdv<version>.jpg of a detector's; with
  --cropped-images-dir
  OUTPUT_DIR/detect_and_crop_log_<time>.json: what has no boxes, what failed and why
  OUTPUT_DIR/detect_and_crop.journal while it detects: a killed run goes on from there
  when it is started again, and ends with the same bytes
  OUTPUT_DIR/detect_and_crop_tasks.json in its place, with --batch-api: the tasks that the
  detection service was given; their lists of images are in OUTPUT_DIR/batchapi_tasklists,
  and what they found in OUTPUT_DIR/batchapi_response meanwhile

Only boxes of the category "animal" are cropped; those that people drew whatever the
threshold, and --ignore-exif is about them alone. A crop's file says, in a comment, which box
of which image it was cut from, and how. Crops that exist are kept; those of another image,
box, detector or way of cutting are cut anew. --verify compares the bytes of all images, not
only size and time. Crops that say nothing, such as those of other programs, are kept. Crops
of no box are counted, and --remove-orphans deletes them. An image that the detector failed on is tried again by the next run with
--run-detector.

With --batch-api a detection service (batch_service) detects in the place of this machine,
with its own model, --batch-size and --device. It has to find the images where this machine
does, or where --batch-api-images says. A token for it is in the environment's
BATCH_DETECTION_API_TOKEN, and who asks in DETECTION_API_CALLER.

With --shard 3/10 it does the third tenth of the work alone. What its detector finds goes
into a cache of its own, DIR/shard-003-of-010, and merge_shards DIR puts the ten into the
cache; crops go straight to the one folder. Start all shards before any is merged. A
service takes all images or none, so --shard does not go with --batch-api.

Example:
  detect_and_crop.py run/queried_images.json -c mdcache --run-detector --megadb megadb --cropped-images-dir crops --square-crops --threshold 0.3
"""

from __future__ import annotations

import argparse
import logging
import os
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.artifacts import kinds, layout, queried_images, step_log
from classification.cropping import bulk, flags, orphans, queried
from classification.runtime import cli, outputs, progress, shards
from classification.runtime.addresses import is_address, shown
from classification.runtime.atomic import check_writable
from classification.sharding import gaps
from classification.storage import flags as places_flags
from classification.storage import places
from classification.storage.places import Places
from detection import batch_client, batches, detectors, filling, models, remote_filling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from classification.artifacts.detections import DetectionsFile
    from classification.artifacts.queried_images import QueriedImagesFile
    from classification.artifacts.step_log import StepLog
    from classification.cropping.harvest import Settings
    from classification.cropping.queried import CachedBoxes
    from classification.cropping.recorded import RecordedCrops
    from classification.runtime.contents import Contents
    from classification.runtime.name_set import NameSet
    from classification.runtime.shards import Shard
    from classification.sharding.gaps import Gaps
    from classification.storage import ImageStore
    from classification.storage.digests import Md5
    from classification.storage.places import Manner, Place

STEP = "detect_and_crop"
API_VARIABLE, CALLER_VARIABLE = "BATCH_DETECTION_API_URL", "DETECTION_API_CALLER"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    queried_images_json: Path
    output_dir: Path
    detector_output_cache_dir: Path
    detector_version: str | None
    run_detector: bool
    detector: str
    detection_threshold: float
    batch_size: int
    device: str
    trust_model: bool
    batch_api: str
    batch_api_images: str
    resume_file: Path
    restart: bool
    shard: Shard | None
    cropped_images_dir: Path | None
    images_dir: list[Place]
    base_url: list[Place]
    container_url: list[Place]
    megadb: Path | None
    tries: int
    timeout: int
    md5: Md5
    save_full_images: bool
    verify: bool
    remove_orphans: bool
    square_crops: bool
    reference_squares: bool
    ignore_exif: bool
    jpeg_quality: int
    max_pixels: int
    check_crops_valid: bool
    threshold: float
    threads: int
    max_failures: int | None
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Paths:
    """What is read and written.

    Attributes:
        queried_images: the images of the training set.
        logdir: folder of the step log.
        cache_dir: the detection cache.
        crops_dir: root of the crops; None to cut none.
        images: where the images are, given by a person.
        megadb: metadata store that knows where each dataset is, or None.
    """

    queried_images: Path
    logdir: Path
    cache_dir: Path
    crops_dir: Path | None
    images: Sequence[Place]
    megadb: Path | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to detect and crop.

    Attributes:
        manner: how images are had from elsewhere.
        detector_version: names the folder of the cache, and crops.
        filling: how to detect here what the cache lacks; None not to.
        remote: how to have it detected by a service; None not to.
        remote_images: where the service finds the images; empty for where they are here.
        settings: how crops are cut and saved; EXIF matters to drawn boxes only.
        threshold: least confidence of a detector's box that is cropped, in [0, 1].
        threads: number of images worked on at once.
        verify: compare the bytes of all images with those that were detected and cropped.
        remove_orphans: delete crops of no box.
        max_failures: most failures of images; None for no limit.
        shard: the part to work on; None for all of it.
    """

    manner: Manner
    detector_version: str
    filling: filling.Options | None
    remote: remote_filling.Options | None
    remote_images: str = field(repr=False)
    settings: Settings
    threshold: float
    threads: int
    verify: bool
    remove_orphans: bool
    max_failures: int | None
    shard: Shard | None = None

    @property
    def filled_cache(self) -> Path | None:
        """Returns the cache that is filled, here or by a service; None if none is."""
        filled = self.filling or self.remote
        return None if filled is None else filled.cache_dir


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    add = parser.add_argument
    add("queried_images_json", type=Path, help="images, as json_validator writes them")
    add(
        "output_dir",
        type=outputs.folder(default=lambda args: args.queried_images_json.parent),
        nargs="?",
        help="folder of the log and the journal (default: that of queried_images.json)",
    )
    _add_detecting(parser)
    _add_images(parser)
    flags.add_shape(parser)
    flags.add_cutting(parser)
    places_flags.add_verify(parser)
    orphans.add_flag(parser)
    shards.add_shard(
        parser,
        "boxes go into a cache of its own, which merge_shards puts into the cache",
    )
    cli.add_max_failures(parser)
    return parser


def _add_detecting(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the detector, and its cache")
    add = group.add_argument
    add(
        "-c",
        "--detector-output-cache-dir",
        type=outputs.folder(),
        required=True,
        metavar="DIR",
        help="the detection cache; made if missing",
    )
    add(
        "-v",
        "--detector-version",
        metavar="VERSION",
        help="names the folder of the cache, v<VERSION>, and crops, _mdv<VERSION> "
        "(default: the version of --detector)",
    )
    add(
        "-d",
        "--run-detector",
        action="store_true",
        help="detect the images that have no boxes; without it they are listed",
    )
    add(
        "--detector",
        default=models.DEFAULT,
        metavar="MODEL",
        help="model file, or a name that run_detector_batch --list-models prints "
        "(default: %(default)s)",
    )
    add(
        "--detection-threshold",
        type=cli.fraction,
        default=batches.DEFAULT_THRESHOLD,
        metavar="CONF",
        help="least confidence of a box that goes into the cache (default: %(default)s)",
    )
    add(
        "--batch-size",
        type=cli.positive_int,
        default=1,
        metavar="N",
        help="images that go through the detector together (default: %(default)s)",
    )
    add(
        "--device",
        type=cli.device,
        default="auto",
        help="what the detector runs on: auto, cpu or cuda:N (default: %(default)s)",
    )
    add(
        "--trust-model",
        action="store_true",
        help="load a detector that may run any code: a .pt, or operations of others",
    )
    _add_resuming(group)
    _add_service(parser)


def _add_resuming(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add(
        "-r",
        "--resume-file",
        type=outputs.Output(files=_written, default=_resume_file),
        metavar="PATH",
        help="the journal (default: OUTPUT_DIR/detect_and_crop.journal), or the list of "
        "tasks (default: OUTPUT_DIR/detect_and_crop_tasks.json)",
    )
    add(
        "--restart",
        action="store_true",
        help="detect again, whatever the journal or the tasks of a killed run hold",
    )


def _resume_file(args: Arguments) -> Path:
    """Returns where the journal, or the list of tasks, is by default."""
    if args.batch_api:
        return args.output_dir / f"{STEP}_tasks.json"
    beside = args.output_dir / STEP
    path = args.shard.path(beside) if args.shard else beside
    return shards.journal_of(path, args.shard)


def _written(path: Path, args: Arguments) -> outputs.Files:
    if not args.run_detector:
        return {}
    return {path: kinds.TASKS if args.batch_api else _JOURNAL}


# A list of tasks is refused later, with what to do.
_JOURNAL = kinds.JOURNAL._replace(
    fits=lambda path: kinds.JOURNAL.fits(path) or kinds.TASKS.fits(path)
)


def _add_service(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a detection service, in the place of --detector")
    add = group.add_argument
    add(
        "--batch-api",
        type=_address,
        default=os.environ.get(API_VARIABLE, ""),
        metavar="URL",
        help="address of the service; '' to detect here "
        f"(default: the environment's {API_VARIABLE})",
    )
    add(
        "--batch-api-images",
        default="",
        metavar="PLACE",
        help="folder or address where the service finds the images as <dataset>/<file> "
        "(default: the folders in which this machine finds them)",
    )


def _address(text: str) -> str:
    if text and not is_address(text):
        raise argparse.ArgumentTypeError("not an address of http or https")
    return text


def _add_images(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("images and crops")
    add = group.add_argument
    add(
        "-p",
        "--cropped-images-dir",
        type=outputs.folder(),
        metavar="DIR",
        help="folder for the crops; made if missing (default: nothing is cropped)",
    )
    places_flags.add_places(group)
    places_flags.add_keeping(group)


def run(paths: Paths, *, options: Options) -> None:
    """Detects what has no boxes, if asked to, and cuts the crops that are missing.

    Raises:
        PipelineError: a file that breaks its format, images that nobody knows the
            folder of, no model, a journal of another run, a disk that is full, or more
            failures than are allowed.
    """
    images = queried_images.open_file(paths.queried_images)
    _check_outputs(paths, options)
    undrawn = queried.find_undrawn(images.images())
    boxes = _open_cache(undrawn, paths.cache_dir, options)
    if options.filling is not None:
        filling.refuse_retrained(_cached(boxes, boxes), options.filling.model)
    undetected = queried.find_undetected(images.images(), boxes)
    datasets = _datasets_to_read(undrawn, undetected, paths, options)
    store = _open_store(datasets, paths, options)
    changed = _find_changed(boxes, store, options)
    if changed:
        boxes = {
            name: found.without(changed.get(name, ())) for name, found in boxes.items()
        }
        undetected = queried.find_undetected(images.images(), boxes)
    own = _divide(undetected, options)
    log = _start_log(options)
    with (
        _holding_crops(paths, options) as crops,
        _detected(own, boxes, changed, store, paths, options, log),
    ):
        found: dict[str, CachedBoxes] = {}
        if options.filled_cache is not None:
            found = _open_cache(own.wanted(undrawn), options.filled_cache, options)
            own.complete(found)
        log.extra["images_missing_detections"] = own.left(boxes | found)
        if paths.crops_dir is not None and crops is not None:
            jobs = _jobs(images, boxes, found, undetected, options)
            place = _place(paths.crops_dir, store, options)
            given = bulk.cut_missing(jobs, place, crops, log, images.alike())
            log.extra["num_new_downloads"] = store.fetched
            remove = options.remove_orphans
            orphans.report(place, given, crops, log, remove=remove)
        _finish(paths, options, log)
    undrawn_count = sum(map(len, undrawn.values()))
    total = undrawn_count if paths.crops_dir is None else images.image_count
    _check_failures(log.counts, total, options.max_failures)


def _find_changed(
    boxes: Mapping[str, CachedBoxes], store: ImageStore, options: Options
) -> dict[str, dict[str, Contents]]:
    """Return the images to detect anew, since they changed; none without a detector."""
    if options.filled_cache is None:
        return {}
    return filling.find_changed(
        boxes, store, verify=options.verify, threads=options.threads
    )


def _divide(undetected: Mapping[str, Sequence[str]], options: Options) -> Gaps:
    """Returns what of the images that have no boxes is this shard's."""
    if options.filling is None:
        return gaps.divide(undetected, options.shard)
    shaping = filling.shaping(options.filling) if options.shard and undetected else ()
    return gaps.divide(
        undetected,
        options.shard,
        batch_size=options.filling.work.batch_size,
        shaping=shaping,
        cache_dir=options.filling.cache_dir,
        detector_version=options.detector_version,
    )


def _check_outputs(paths: Paths, options: Options) -> None:
    """Says what would end the run when it has detected for hours."""
    layout.training_suffix(options.detector_version)
    for folder in (paths.logdir, paths.crops_dir, options.manner.keep):
        if folder is not None:
            check_writable(folder)


def _holding_crops(
    paths: Paths, options: Options
) -> AbstractContextManager[RecordedCrops | None]:
    """Returns the block in which this run may add to the crops."""
    if paths.crops_dir is None:
        return nullcontext()
    work = paths.queried_images.resolve()
    return bulk.filling(paths.crops_dir, STEP, work, options.shard)


def _open_cache(
    undrawn: Mapping[str, NameSet], cache_dir: Path, options: Options
) -> dict[str, CachedBoxes]:
    return {
        dataset: queried.open_cache(cache_dir, options.detector_version, dataset, names)
        for dataset, names in undrawn.items()
    }


def _datasets_to_read(
    datasets: Iterable[str], undetected: Iterable[str], paths: Paths, options: Options
) -> list[str]:
    if paths.crops_dir is not None:
        return list(datasets)
    if options.filled_cache is None:
        return []
    named = {place.dataset for place in paths.images}
    looked_at = [name for name in datasets if not named.isdisjoint({"", name})]
    needed = list(undetected) if options.filling else []  # a service reads them itself
    return sorted({*needed, *looked_at})


def _open_store(datasets: Sequence[str], paths: Paths, options: Options) -> Places:
    """Opens the places of the datasets' images; where there are none, it is not asked."""
    if not datasets:
        return Places([], [])
    return places.open_places(
        paths.images, datasets=datasets, megadb=paths.megadb, manner=options.manner
    )


def _start_log(options: Options) -> StepLog:
    shown_options: dict[str, Any] = {"detector_version": options.detector_version}
    shown_options |= bulk.options_to_log(
        options.settings, threshold=options.threshold, threads=options.threads
    )
    if options.filling is not None:
        shown_options |= {
            "detector": options.filling.model,
            "detection_threshold": options.filling.work.threshold,
            "batch_size": options.filling.work.batch_size,
            "device": options.filling.engine.device,
        }
    if options.remote is not None:
        shown_options |= {
            "batch_api": str(options.remote.client),
            "batch_api_images": shown(options.remote_images),
            "detection_threshold": options.remote.threshold,
        }
    return step_log.StepLog(step=STEP, options=shown_options, shard=options.shard)


def _detected(  # noqa: PLR0913, PLR0917 - what is detected, and where from
    own: Gaps,
    boxes: Mapping[str, CachedBoxes],
    changed: Mapping[str, Mapping[str, Contents]],
    store: ImageStore,
    paths: Paths,
    options: Options,
    log: StepLog,
) -> AbstractContextManager[None]:
    """Returns the block in which the cache holds all that is to be detected."""
    if options.remote is not None:
        todo = own.files_by_dataset
        where = _places_of_service(todo, paths, options)
        remote = replace(options.remote, places=where)
        cached = _cached(todo, boxes)
        return remote_filling.filled(todo, cached, remote, log, changed=changed)
    if options.filling is None:
        return nullcontext()
    left = own.begin(
        restart=options.filling.restart,
        is_current=partial(
            filling.is_current,
            store=store,
            verify=options.verify,
            threads=options.threads,
        ),
    )
    part = replace(options.filling, part=own.part_of_run)
    return filling.filled(left, _cached(left, boxes), store, part, log)


def _cached(
    datasets: Iterable[str], boxes: Mapping[str, CachedBoxes]
) -> list[DetectionsFile]:
    """Returns the files of the cache that are to be added to."""
    return [file for dataset in datasets if (file := boxes[dataset].file)]


def _places_of_service(
    datasets: Iterable[str], paths: Paths, options: Options
) -> dict[str, list[str]]:
    """Returns where the service finds each dataset: folders first, then addresses."""
    names = list(datasets)
    if options.remote_images:
        base = options.remote_images
        return {name: [remote_filling.place_below(base, name)] for name in names}
    shared = [place for place in paths.images if not place.dataset]
    own = places.find_places(names, paths.images, paths.megadb, is_needed=not shared)
    found = {}
    for name in names:
        below = [remote_filling.place_below(place.where, name) for place in shared]
        where = below + [place.where for place in own.get(name, ())]
        found[name] = sorted(map(_absolute, where), key=is_address)
    return found


def _absolute(where: str) -> str:
    return where if is_address(where) else str(Path(where).absolute())


def _place(crops_dir: Path, store: ImageStore, options: Options) -> bulk.Place:
    return bulk.Place(
        store=store,
        crops_dir=crops_dir,
        settings=replace(options.settings, apply_exif=True),
        threads=options.threads,
        verify=options.verify,
    )


def _jobs(
    images: QueriedImagesFile,
    boxes: Mapping[str, CachedBoxes],
    found: Mapping[str, CachedBoxes],
    undetected: Mapping[str, Sequence[str]],
    options: Options,
) -> Iterator[bulk.Job]:
    """Yields the images to crop: of a shard, its part of those that had boxes before."""
    if options.shard is None:
        boxes, found = {**boxes, **found}, {}
    before = queried.jobs(
        images,
        boxes,
        threshold=options.threshold,
        detector_version=options.detector_version,
        as_stored=not options.settings.apply_exif,
    )
    now = queried.jobs_of_found(
        found, threshold=options.threshold, detector_version=options.detector_version
    )
    had_boxes = images.image_count
    if options.shard is not None:
        had_boxes -= sum(map(len, undetected.values()))
    span = shards.span_of(options.shard, had_boxes)
    wanted = chain(islice(before, span.start, span.stop), now)
    return progress.track(wanted, total=len(span), unit="images")


def _finish(paths: Paths, options: Options, log: StepLog) -> None:
    """Writes the log, and says in one line what was done."""
    counts, done = log.counts, []
    if options.filled_cache is not None:
        done.append(
            f"{counts[filling.DETECTED]} images detected into "
            f"{options.filled_cache / f'v{options.detector_version}'}, "
            f"{counts[filling.FAILED]} failed"
        )
    if paths.crops_dir is not None:
        done.append(
            f"{counts[bulk.CROPS]} new crops in {paths.crops_dir}, "
            f"{counts[bulk.CROPS_EXISTING]} were there already, "
            f"{counts[bulk.IMAGES_FAILED]} of {counts[bulk.IMAGES]} images failed"
        )
        done += bulk.remarks(log) + orphans.remarks(log)
    missing = len(log.extra["images_missing_detections"])
    hint = (
        " (--run-detector finds them)" if missing and not options.filled_cache else ""
    )
    done.append(f"{missing} images without boxes{hint}")
    done.append(f"log: {step_log.write(paths.logdir, log)}")
    _logger.info("%s", "; ".join(done))


def _check_failures(
    counts: Mapping[str, int], total: int, max_failures: int | None
) -> None:
    """Ends with exit code 4 where too much failed, or all that there is.

    Args:
        counts: of the log.
        total: number of images, those included that earlier runs are done with.
        max_failures: the most failures allowed, or None for no limit.
    """
    uncropped = counts.get(bulk.IMAGES_FAILED, 0)
    failed = counts.get(filling.FAILED, 0) + uncropped
    cli.check_failures(failed, total, max_failures)
    cli.check_failures(uncropped, counts.get(bulk.IMAGES, 0), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    version = args.detector_version or filling.version_of(args.detector)
    if version is None:
        parser.error(
            f"the name of --detector {args.detector} tells no version; give "
            "--detector-version, which names the cache and the crops"
        )
    if args.shard is not None and args.run_detector and args.batch_api:
        parser.error(
            "--shard is for a detector here; a service takes all (--batch-api)"
        )
    keep = places_flags.kept_in(args, parser)
    paths = _paths(args)
    return cli.exit_code(run, paths, options=_options(args, version, paths, keep))


def _paths(args: Arguments) -> Paths:
    return Paths(
        queried_images=args.queried_images_json,
        logdir=args.output_dir,
        cache_dir=args.detector_output_cache_dir,
        crops_dir=args.cropped_images_dir,
        images=places_flags.places_of(args),
        megadb=args.megadb,
    )


def _options(args: Arguments, version: str, paths: Paths, keep: Path | None) -> Options:
    are_distant = any(place.is_remote for place in paths.images) or bool(paths.megadb)
    threads = flags.threads_of(args, are_distant=are_distant)
    is_here = args.run_detector and not args.batch_api
    is_remote = args.run_detector and bool(args.batch_api)
    return Options(
        manner=places_flags.manner_of(args, keep=keep),
        detector_version=version,
        filling=_filling(args, version, paths, threads) if is_here else None,
        remote=_remote(args, version, paths) if is_remote else None,
        remote_images=args.batch_api_images,
        shard=args.shard,
        settings=flags.settings_of(args),
        threshold=args.threshold,
        threads=threads,
        verify=args.verify,
        remove_orphans=args.remove_orphans,
        max_failures=args.max_failures,
    )


def _filling(
    args: Arguments, version: str, paths: Paths, threads: int
) -> filling.Options:
    own = filling.version_of(args.detector)
    if own not in {None, version}:
        _logger.warning(
            "--detector-version %s names the boxes of --detector %s, whose own version "
            "is %s",
            version,
            args.detector,
            own,
        )
    return filling.Options(
        model=args.detector,
        cache_dir=gaps.cache_of(paths.cache_dir, args.shard),
        detector_version=version,
        journal=args.resume_file,
        restart=args.restart,
        verify=args.verify,
        work=batches.Work(
            threshold=args.detection_threshold,
            batch_size=args.batch_size,
            threads=threads,
            max_pixels=args.max_pixels,
        ),
        engine=detectors.Options(trust_model=args.trust_model, device=args.device),
    )


def _remote(args: Arguments, version: str, paths: Paths) -> remote_filling.Options:
    is_default = args.detector == models.DEFAULT and args.detector_version is not None
    own = None if is_default else filling.version_of(args.detector)
    threshold = args.detection_threshold
    return remote_filling.Options(
        client=batch_client.Client(
            url=args.batch_api,
            token=os.environ.get(batch_client.TOKEN_VARIABLE, "").strip(),
        ),
        cache_dir=paths.cache_dir,
        detector_version=version,
        model_version=own or version,
        tasks=args.resume_file,
        folder=paths.logdir,
        caller=os.environ.get(CALLER_VARIABLE, ""),
        threshold=None if threshold == batches.DEFAULT_THRESHOLD else threshold,
        restart=args.restart,
    )


if __name__ == "__main__":
    raise SystemExit(main())
