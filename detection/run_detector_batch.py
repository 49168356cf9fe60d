"""Finds animals in images: runs a detector over them and writes MegaDetector's JSON.

MODEL is a model file, a name (--list-models prints them), or "default": the small
MegadetectorLite, which is fetched once, about 40 MB. IMAGES is a folder, an image, or a
.txt or .json list of images, each of which may be a web address; or the address of an Azure
container with its token (SAS), or @FILE that holds that address. OUTPUT never holds a token.

Reads:
  the images; those that cannot be read are listed in OUTPUT with the reason
Writes:
  OUTPUT            every image with its boxes (docs/formats.md: detections.json)
  OUTPUT.images.jsonl.gz  which images, and which detector, OUTPUT is of
  OUTPUT.journal    while it runs: a killed run goes on from there when it is started
                    again with the same inputs and options; images that changed meanwhile
                    are detected anew
  run_detector_batch_log_<time>.json beside OUTPUT: options, counts, failures, speed
With --shard 3/10, all of these for the third tenth of the images alone, under names such
as detections.shard-003-of-010.json; merge_shards makes OUTPUT of the ten. With --engine ray,
a Ray cluster runs the shards, and they are joined at the end (docs/scaling.md).

Boxes are fractions of the picture turned upright by its EXIF orientation. The same
inputs and options give the same bytes.

Example:
  python detection/run_detector_batch.py default photos detections.json --recursive --output_relative_filenames
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import (
    detections,
    image_contents,
    kinds,
    label_index,
    step_log,
)
from classification.cropping.images import DEFAULT_MAX_PIXELS
from classification.runtime import cli, journal, outputs, progress, shards
from classification.runtime.addresses import is_address, shown
from classification.runtime.atomic import together
from classification.runtime.errors import ConfigurationError
from classification.runtime.model_digest import digest_of
from classification.sharding import cluster, flags
from classification.sharding.parts import Part
from classification.storage import anywhere
from classification.storage import flags as places_flags
from classification.storage.azure import AzureContainerStore
from classification.storage.changes import current_of_all, digest_in
from classification.storage.outage import LenientStore
from classification.storage.places import read_address
from detection import (
    batches,
    detectors,
    image_files,
    image_metadata,
    journaled,
    models,
)
from detection import flags as detector_flags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from classification.runtime.contents import Contents
    from classification.runtime.shards import Shard
    from classification.storage import ImageStore
    from classification.storage.digests import Md5
    from classification.storage.places import Manner

STEP = "run_detector_batch"
OVERWRITE, SKIP, ERROR = "overwrite", "skip", "error"
AUTO = Path("auto")

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    model: str | None
    images: str | None
    output: Path | None
    list_models: bool
    recursive: bool
    relative: bool
    threshold: float
    include_image_size: bool
    include_image_timestamp: bool
    include_exif_tags: frozenset[str] | None
    include_max_conf: bool
    class_mapping: Path | None
    completion_time: str | None
    max_pixels: int
    batch_size: int
    loader_workers: int
    ncores: int | None
    image_size: int | None
    head: str | None
    device: str
    tries: int
    timeout: int
    md5: Md5
    trust_model: bool
    restart: bool
    verify: bool
    overwrite_handling: str
    checkpoint_frequency: int
    checkpoint_path: Path | None
    resume_from_checkpoint: Path | None
    logdir: Path | None
    max_failures: int | None
    shard: Shard | None
    engine: str
    ray_address: str | None
    ray_shards: int
    ray_cpus: int | None
    without_effect: bool
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Paths:
    """What is read and written.

    Attributes:
        images: a folder, an image, a list of images, or the address of a container.
        output: the detections JSON.
        journal: where the journal is while it runs.
        logdir: folder of the step log.
        class_mapping: label index with names to write for the model's classes.
    """

    images: str
    output: Path
    journal: Path
    logdir: Path
    class_mapping: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run.

    Attributes:
        model: a model file, or a name of the model table.
        work: how to take images through the detector.
        engine: how to run the detector.
        manner: how servers are asked for images.
        recursive: look into the folders of the folder.
        relative: name images relative to the folder.
        completion_time: ``now``, a time to write, or None for none.
        restart: throw away what a killed run left.
        verify: compare the bytes of all images with those of an earlier run.
        overwrite_handling: ``overwrite``, ``skip`` or ``error`` where the output exists.
        sync_every: write the journal through to the disk after so many images; 0 leaves
            it to the system, and only a crash of the machine can lose something.
        max_failures: most images that may fail; None for no limit.
        shard: the part to work on; None for all of it.
    """

    model: str
    work: batches.Work
    engine: detectors.Options = field(default_factory=detectors.Options)
    manner: Manner = anywhere.DEFAULT_MANNER
    recursive: bool = False
    relative: bool = False
    completion_time: str | None = None
    restart: bool = False
    verify: bool = False
    overwrite_handling: str = OVERWRITE
    sync_every: int = 0
    max_failures: int | None = None
    shard: Shard | None = None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    _add_inputs(parser)
    _add_contents(parser)
    detector_flags.add_speed(parser)
    places_flags.add_manner(parser.add_argument_group("images at web addresses"))
    _add_resuming(parser)
    flags.add_cluster(parser)
    return parser


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", nargs="?", metavar="MODEL", help="model file, model name, or default")
    add(
        "images",
        nargs="?",
        metavar="IMAGES",
        help="folder of images, one image, a .txt (one path or address a line) or .json "
        "list, or the address of a container, @FILE reads it from a file",
    )
    add(
        "output",
        nargs="?",
        type=outputs.Output(files=_written),
        metavar="OUTPUT",
        help="detections JSON",
    )
    add("--list-models", action="store_true", help="print the known models, and end")
    add("--recursive", action="store_true", help="look into the folders of the folder")
    add(
        "--output_relative_filenames",
        dest="relative",
        action="store_true",
        help="name images relative to the folder, as the later steps need it",
    )
    add(
        "--max-pixels",
        type=cli.positive_int,
        default=DEFAULT_MAX_PIXELS,
        metavar="N",
        help="refuse an image of more pixels (default: %(default)s)",
    )
    add(
        "--trust-model",
        action="store_true",
        help="load a model that may run any code: a .pt, or operations of others",
    )
    add(
        "--class_mapping_filename",
        dest="class_mapping",
        type=cli.existing_file,
        metavar="JSON",
        help='names to write for the model\'s classes, such as {"0": "animal"}',
    )


def _written(output: Path, args: Arguments) -> outputs.Files:
    """Returns the files that are written, with their kinds; flags may name a journal."""
    if args.overwrite_handling != OVERWRITE:
        return {}  # what is there stays
    if args.shard:
        output = args.shard.path(output)
    files = {output: kinds.DETECTIONS}
    if args.checkpoint_path is None and _checkpoint_of(args) is None:
        files[shards.journal_of(output, args.shard)] = kinds.JOURNAL
    return files


def _resumed(path: Path, args: Arguments) -> outputs.Files:
    return {} if path in {AUTO, args.checkpoint_path} else {path: kinds.JOURNAL}


def _add_contents(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what OUTPUT holds")
    add = group.add_argument
    add(
        "--threshold",
        type=cli.fraction,
        default=batches.DEFAULT_THRESHOLD,
        help="least confidence of a box (default: %(default)s)",
    )
    add("--include_image_size", action="store_true", help="add width and height")
    add(
        "--include_image_timestamp",
        action="store_true",
        help="add the time of the picture from its EXIF, or null",
    )
    add(
        "--include_exif_tags",
        type=_exif_tags,
        metavar="TAGS",
        help='add EXIF tags: "all", or names such as Make,Model,DateTimeOriginal',
    )
    add(
        "--include_max_conf",
        action="store_true",
        help="add the highest confidence of each image",
    )
    cli.add_completion_time(group, "info.detection_completion_time")


def _add_resuming(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("going on, ending, logging")
    add = group.add_argument
    add(
        "--restart",
        action="store_true",
        help="begin again, whatever a killed run has done",
    )
    places_flags.add_verify(group)
    add(
        "--overwrite_handling",
        choices=(OVERWRITE, SKIP, ERROR),
        default=OVERWRITE,
        help="what to do if OUTPUT exists (default: %(default)s)",
    )
    add(
        "--checkpoint_frequency",
        type=int,
        default=-1,
        metavar="N",
        help="also write the journal through to the disk every N images, against a "
        "power cut (default: %(default)s, never); a killed run loses nothing anyway",
    )
    add(
        "--checkpoint_path",
        type=outputs.file(kinds.JOURNAL),
        metavar="PATH",
        help="where the journal is (default: OUTPUT.journal)",
    )
    add(
        "--resume_from_checkpoint",
        type=outputs.Output(files=_resumed, parse=_checkpoint),
        metavar="PATH",
        help='"auto", which is what happens anyway, or the journal to go on from',
    )
    add(
        "--logdir",
        type=outputs.folder(),
        metavar="DIR",
        help="folder of the step log (default: OUTPUT's)",
    )
    cli.add_max_failures(parser)
    shards.add_shard(
        group,
        "OUTPUT, its journal and log get names of their own, such as "
        "detections.shard-003-of-010.json, and merge_shards joins them",
    )
    add(
        "--quiet",
        "--use_image_queue",
        "--use_threads_for_queue",
        "--preprocess_on_image_queue",
        "--allow_checkpoint_overwrite",
        dest="without_effect",
        action="store_true",
        help="accepted from older notes, without effect",
    )


def _exif_tags(text: str) -> frozenset[str]:
    if text.casefold() == "all":
        return frozenset()
    known = {name.casefold(): name for name in image_metadata.known_tags()}
    found = [known.get(part.strip().casefold()) for part in text.split(",")]
    names = frozenset(name for name in found if name)
    if len(names) < len(found):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not "all" or a list of EXIF tags such as Make,Model'
        )
    return names


def _checkpoint(text: str) -> Path:
    return AUTO if text == str(AUTO) else cli.existing_file(text)


def run(paths: Paths, *, options: Options) -> None:
    """Runs the detector and writes the detections JSON.

    Raises:
        PipelineError: no images, no model, an output that must not be written, a journal
            of another run, or more failures than are allowed.
    """
    with _begun(paths, options) as begun:
        part = begun.part
        if options.shard is None and _is_kept(begun):
            return
        if (
            not options.restart
            and part.is_done()
            and not begun.count_changed()
            and part.skip(restart=False, max_failures=options.max_failures)
        ):
            return
        model, paths = begun.model, begun.paths
        detector = detectors.load(model, options.engine)
        with journal.Journal.open(
            paths.journal, key=part.key, restart=options.restart
        ) as kept:
            categories, options = _map_classes(
                detector.categories, begun.names, options
            )
            log = _start_log(paths, options, model)
            _detect(detector, begun, kept, options, log)
            header = detections.Header(
                detection_categories=categories, info=_info(model, options)
            )
            with together():
                documents = journaled.documents(kept, log)
                sha256 = detections.write(paths.output, header, documents)
                image_contents.tell(
                    paths.output,
                    journaled.images(kept),
                    detector=begun.model_digest,
                    run=part.run,
                    sha256=sha256,
                )
            part.complete(log.counts["failed"])
            kept.remove()
    _finish(paths, options, log)


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A run whose inputs are known.

    Attributes:
        paths: what is read and written.
        options: how to run.
        model: the detector.
        model_digest: of its files.
        names: names to write for the model's classes; None for its own.
        images: those of this part of the run.
        part: which part that is.
        store: reads the images.
    """

    paths: Paths
    options: Options
    model: models.ModelFile
    model_digest: str
    names: Sequence[str] | None
    images: image_files.ImageList
    part: Part
    store: ImageStore

    def count_changed(self) -> int | None:
        """Return how many images are others than in the output; None if nothing tells.

        An image that could not be read then, and can be now, is one of them.
        """
        record = image_contents.find(self.paths.output)
        if record is None:
            return None
        found = current_of_all(
            self.store,
            self._known(record.images()),
            verify=self.options.verify,
            threads=self.options.work.threads,
        )
        return sum(digest_in(before) != digest_in(now) for _, before, now in found)

    def _known(
        self, recorded: Iterator[tuple[str, Contents]]
    ) -> Iterator[tuple[str, str, Contents | None]]:
        name, contents = next(recorded, ("", None))
        for file in self.images:
            if file.name == name:
                yield file.name, file.path, contents
                name, contents = next(recorded, ("", None))
            elif not file.problem:
                yield file.name, file.path, None


@contextmanager
def _begun(paths: Paths, options: Options) -> Iterator[_Begun]:
    """Find the images and the model of a run."""
    paths = replace(paths, images=read_address(paths.images))
    if paths.output.is_dir():
        raise ConfigurationError(f"{paths.output} is a folder; name a file")
    if options.overwrite_handling == ERROR and not options.shard:
        _refuse_existing(paths.output)
    with image_files.ImageList.of(_find(paths.images, options)) as images:
        _check_not_empty(paths.images, images, recursive=options.recursive)
        model = detectors.runnable(models.resolve(options.model))
        _logger.info("%d images; detector %s", len(images), model.name)
        names = label_index.read(paths.class_mapping) if paths.class_mapping else None
        digest = digest_of(model.path)
        size = options.work.batch_size
        part = Part(
            shard=options.shard,
            step=STEP,
            run=_key(model.name, digest, images, options, names),
            output=paths.output,
            span=shards.span_of(options.shard, len(images), batch_size=size),
            total=len(images),
        )
        yield _Begun(
            paths=paths,
            options=options,
            model=model,
            model_digest=digest,
            names=names,
            images=images.part(part.span),
            part=part,
            store=LenientStore(anywhere.AnywhereStore(options.manner)),
        )


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise ConfigurationError(f"{output} exists; --overwrite_handling error")


def _is_kept(begun: _Begun) -> bool:
    """Says whether the output exists, and is to stay as it is.

    Raises:
        ConfigurationError: it is to stay, but is of other images or options.
    """
    output, options = begun.paths.output, begun.options
    if not output.exists() or options.overwrite_handling != SKIP:
        return False
    record = image_contents.find(output)
    known = "" if record else "; nothing tells which images and detector it is of"
    if record is not None and record.header.run != begun.part.run:
        _refuse_stale(
            output, f"of other {journal.differences(record.header.run, begun.part.run)}"
        )
    if changed := begun.count_changed():
        _refuse_stale(output, f"made before {changed} images changed")
    _logger.info("%s exists; nothing done (--overwrite_handling skip)%s", output, known)
    return True


def _refuse_stale(output: Path, reason: str) -> None:
    raise ConfigurationError(
        f"{output} exists and is {reason}; --overwrite_handling overwrite makes it anew"
    )


def run_on_cluster(paths: Paths, job: cluster.Job, *, options: Options) -> None:
    """Lets a cluster run the detector, and writes the detections JSON; see ``run``."""
    if options.overwrite_handling == ERROR:
        _refuse_existing(paths.output)
    if options.overwrite_handling == SKIP and paths.output.exists():
        with _begun(paths, options) as begun:
            if _is_kept(begun):
                return
    cluster.run_and_merge(
        job,
        paths.output,
        logdir=paths.logdir,
        restart=options.restart,
        max_failures=options.max_failures,
    )


def _find(images: str, options: Options) -> Iterator[image_files.ImageFile]:
    """Yields the images that a person means; a token is never part of a name."""
    if is_address(images):
        store = AzureContainerStore(images, patience=options.manner.patience)
        return image_files.find_at(images, store, recursive=options.recursive)
    return image_files.find(
        Path(images), recursive=options.recursive, relative=options.relative
    )


def _check_not_empty(
    where: str, images: image_files.ImageList, *, recursive: bool
) -> None:
    if images.repeated:
        _logger.info("%d names stand twice and count once", images.repeated)
    if not len(images):
        hint = "" if recursive else "; --recursive looks into its folders, too"
        raise ConfigurationError(f"no images in {_shown(where)}{hint}")


def _shown(images: str) -> str:
    return shown(images) if is_address(images) else images


def _key(
    name: str,
    model_digest: str,
    images: image_files.ImageList,
    options: Options,
    names: Sequence[str] | None,
) -> str:
    """Returns the digest of all that shapes the result, but for the images' contents."""
    work, engine = options.work, options.engine
    return journal.key(
        images=[images.digest],
        detector=[name, model_digest],
        options=[
            [STEP, work.threshold, work.batch_size, work.max_pixels],
            [*asdict(replace(work.include, tags=None)).values(), _tags(work.include)],
            [engine.image_size_px, engine.head, engine.device, list(names or [])],
        ],
    )


def _tags(include: batches.Include) -> list[str] | str | None:
    if include.tags is None:
        return None
    return sorted(include.tags) or "all"


def _map_classes(
    categories: Mapping[str, str], names: Sequence[str] | None, options: Options
) -> tuple[Mapping[str, str], Options]:
    """Gives the model's classes, in the order of their ids, the names from 0 on."""
    if names is None:
        return categories, options
    ids = sorted(categories, key=int)
    if len(names) != len(ids):
        raise ConfigurationError(
            f"--class_mapping_filename names {len(names)} classes, the model has {len(ids)}"
        )
    mapped = {old: str(number) for number, old in enumerate(ids)}
    work = replace(options.work, category_by_id=mapped)
    return label_index.to_dict(names), replace(options, work=work)


def _start_log(
    paths: Paths, options: Options, model: models.ModelFile
) -> step_log.StepLog:
    work, engine = options.work, options.engine
    return step_log.StepLog(
        step=STEP,
        shard=options.shard,
        options={
            "model": model.name,
            "model_file": str(model.path),
            "images": _shown(paths.images),
            "output": str(paths.output),
            "recursive": options.recursive,
            "output_relative_filenames": options.relative,
            "threshold": work.threshold,
            "batch_size": work.batch_size,
            "loader_workers": work.threads,
            "max_pixels": work.max_pixels,
            "include_exif_tags": _tags(work.include),
            "ncores": engine.threads,
            "image_size": engine.image_size_px,
            "device": engine.device,
        },
    )


def _detect(
    detector: detectors.Detector,
    begun: _Begun,
    kept: journal.Journal,
    options: Options,
    log: step_log.StepLog,
) -> None:
    """Fills the journal with what is not yet in it, or is of images that changed."""
    images, store = begun.images, begun.store
    known = journaled.check(
        kept,
        journaled.latest(kept, images),
        store,
        verify=options.verify,
        threads=options.work.threads,
    )
    done, detected, unsynced, began = len(known.done), 0, 0, time.monotonic()
    if done:
        _logger.info("%d of %d images are done already", done, len(images))
    with progress.bar(len(images), unit="images", initial=done) as shown:
        for results in batches.detect(
            detector, images, options.work, done=known.done, load=store.load
        ):
            kept.append(msgspec.to_builtins(result) for result in results)
            shown.update(len(results))
            detected += len(results)
            unsynced += len(results)
            if 0 < options.sync_every <= unsynced:
                kept.sync()
                unsynced = 0
    seconds = max(time.monotonic() - began, 1e-9)
    log.counts["images_of_earlier_runs"] = done
    log.counts["images_of_this_run"] = detected
    log.counts["images_changed"] = known.changed
    log.extra["images_per_second"] = round(detected / seconds, 2)


def _info(model: models.ModelFile, options: Options) -> dict[str, Any]:
    if not options.completion_time:
        return journaled.info(model)
    completed = cli.to_write(options.completion_time)
    return journaled.info(model, {"detection_completion_time": completed})


def _finish(paths: Paths, options: Options, log: step_log.StepLog) -> None:
    path = step_log.write(paths.logdir, log)
    counts = log.counts
    _logger.info(
        "%s: %d images, %d boxes of at least %g in %d of them, %d images failed; "
        "%g images/s; log: %s",
        paths.output,
        counts["images"],
        counts["boxes"],
        options.work.threshold,
        counts["images_with_boxes"],
        counts["failed"],
        log.extra["images_per_second"],
        path,
    )
    cli.check_failures(counts["failed"], counts["images"], options.max_failures)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if args.list_models:
        sys.stdout.write(f"{models.table()}\n")
        return cli.EXIT_OK
    if args.model is None or args.images is None or args.output is None:
        parser.error("MODEL, IMAGES and OUTPUT are required (or --list-models)")
    if _checkpoint_of(args) and args.checkpoint_path not in (
        None,
        _checkpoint_of(args),
    ):
        parser.error("--resume_from_checkpoint and --checkpoint_path differ")
    paths = _paths(args, args.images, args.output)
    options = _options(args, args.model)
    job = flags.job_of(
        args, parser, "detection.run_detector_batch", argv, device=args.device
    )
    if (args.shard or job) and args.completion_time == cli.NOW:
        parser.error("--completion-time now: shards end at different times; give one")
    if job is None:
        return cli.exit_code(run, paths, options=options)
    if args.checkpoint_path or _checkpoint_of(args):
        parser.error("--engine ray: each shard has a journal of its own")
    return cli.exit_code(run_on_cluster, paths, job, options=options)


def _checkpoint_of(args: Arguments) -> Path | None:
    checkpoint = args.resume_from_checkpoint
    return None if checkpoint == AUTO else checkpoint


def _paths(args: Arguments, images: str, output: Path) -> Paths:
    if args.shard:
        output = args.shard.path(output)
    beside = shards.journal_of(output, args.shard)
    return Paths(
        images=images,
        output=output,
        journal=_checkpoint_of(args) or args.checkpoint_path or beside,
        logdir=args.logdir or output.parent,
        class_mapping=args.class_mapping,
    )


def _options(args: Arguments, model: str) -> Options:
    return Options(
        model=model,
        work=detector_flags.work_of(
            args,
            batches.Include(
                size=args.include_image_size,
                time=args.include_image_timestamp,
                tags=args.include_exif_tags,
                max_conf=args.include_max_conf,
            ),
        ),
        engine=detector_flags.engine_of(args),
        manner=places_flags.manner_of(args),
        recursive=args.recursive,
        relative=args.relative,
        completion_time=args.completion_time,
        restart=args.restart,
        verify=args.verify,
        overwrite_handling=args.overwrite_handling,
        sync_every=max(0, args.checkpoint_frequency),
        max_failures=args.max_failures,
        shard=args.shard,
    )


if __name__ == "__main__":
    raise SystemExit(main())
