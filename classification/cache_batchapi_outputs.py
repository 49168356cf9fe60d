r"""Puts what a detector found in a dataset's images into the detection cache.

The cache has one detections JSON for each dataset and version of the detector. What is
there already stays: images that it lacks are added, and images that had failed are
replaced where the new run succeeded. With --overwrite the new run's boxes win, too;
crops that were cut from the old boxes then have to be cut again.

The version is the one that info.detector tells (md_v4.1.0.pb and megadetector_v4.1 are
4.1, md_v5a.0.0.pt is 5a.0.0); --detector-version names another, or one where the file
tells none. Names of images are relative to the dataset's folder, as they are in what LILA
publishes; --remove-prefix and --add-prefix make them so where a file has a folder too many,
or lacks one. A file of several datasets, such as that of a run over their common folder,
is put in once for each: --dataset caltech --remove-prefix caltech/ --skip-others.

Reads   detections JSON     of run_detector_batch, MegaDetector, or LILA's published
                            results; may be a .zip that holds one. Where the record of
                            run_detector_batch lies beside it, the cache knows which
                            images and detector the boxes are of
        task answer JSON    of the Batch Detection API (GET /task/<id>); the detections
                            that it names are downloaded
Writes  detection cache     <cache>/v<version>/<dataset>.json
        step log            in --logdir: what was changed, left out, or had failed

Example:
    python cache_batchapi_outputs.py detections.json --dataset caltech \
        --detector-output-cache-dir mdcache
"""

from __future__ import annotations

import argparse
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import (
    batch_response,
    detection_cache,
    detections,
    image_contents,
    step_log,
)
from classification.artifacts.detection_cache import Spelling
from classification.artifacts.step_log import StepLog
from classification.runtime import cli, outputs, progress, scratch
from classification.runtime.addresses import shown
from classification.runtime.errors import ArtifactError, ConfigurationError
from classification.storage import download, unzipping
from detection.models import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from classification.artifacts.detection_cache import Merged
    from classification.artifacts.detections import DetectionsFile
    from classification.artifacts.image_contents import Record
    from classification.runtime.contents import Contents

RESPONSE, DETECTIONS = "response", "detections"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    json_file: Path
    format: str | None
    dataset: str
    detector_output_cache_dir: Path
    detector_version: str | None
    remove_prefix: str
    add_prefix: str
    skip_others: bool
    overwrite: bool
    logdir: Path
    max_failures: int | None
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to put it in.

    Attributes:
        dataset: name of the dataset.
        detector_version: version to take whatever the file tells, or None.
        spelling: how names in the file become names below the dataset's folder.
        file_format: ``response`` or ``detections``; None to tell by the file's keys.
        overwrite: the new run's boxes replace those in the cache.
        max_failures: see ``cli.check_failures``.
    """

    dataset: str
    detector_version: str | None
    spelling: Spelling
    file_format: str | None
    overwrite: bool
    max_failures: int | None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("cache_batchapi_outputs", __doc__, overwrite=False)
    parser.add_argument(
        "json_file", type=Path, help="detections JSON, or answer of the Batch API"
    )
    parser.add_argument(
        "-f",
        "--format",
        choices=[RESPONSE, DETECTIONS],
        help="what json_file is (default: told by its keys)",
    )
    parser.add_argument(
        "-d", "--dataset", required=True, help="dataset that the images are of"
    )
    parser.add_argument(
        "-c",
        "--detector-output-cache-dir",
        type=outputs.folder(),
        required=True,
        help="detection cache, made if missing",
    )
    parser.add_argument(
        "-v",
        "--detector-version",
        help="version of the detector, such as 4.1 (default: told by info.detector)",
    )
    parser.add_argument(
        "--remove-prefix",
        default="",
        metavar="TEXT",
        help="take TEXT, such as unzipped/, off the beginning of every name; a name "
        "without it is refused",
    )
    parser.add_argument(
        "--add-prefix",
        default="",
        metavar="TEXT",
        help="put TEXT, such as cct_images/, before every name",
    )
    parser.add_argument(
        "--skip-others",
        action="store_true",
        help="leave out, and count, images without the prefix that --remove-prefix "
        "takes off: those of other datasets",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="take the new boxes where the cache has some; a failure never replaces any",
    )
    cli.add_logdir(parser)
    cli.add_max_failures(parser)
    return parser


def run(json_file: Path, cache_dir: Path, *, logdir: Path, options: Options) -> None:
    """Puts a run of a detector into the cache.

    Raises:
        ArtifactError: a file breaks its format, or the task is not completed.
        ConfigurationError: the version of the detector is not known.
        StorageError: the detections cannot be downloaded, or the cache not be written.
        TooManyFailuresError: see ``cli.check_failures``.
    """
    log = _open_log(json_file, options)
    with _unpacked(json_file, options.file_format, log) as path:
        with _naming(json_file, path):
            file = detections.open_file(path, rename=options.spelling, may_repeat=True)
            _refuse_none_left(file, options.spelling)
            record = image_contents.find(path)
        version = _choose_version(json_file, file.header.detector, options, log)
        documents = progress.track(
            file.documents(), total=file.image_count, unit="images"
        )
        merged = detection_cache.merge(
            cache_dir,
            version,
            options.dataset,
            file.header,
            documents,
            newer_wins=options.overwrite,
            images=_images(record, options.spelling),
            detector=record.header.detector if record else "",
        )
    _finish(log, merged, file.left_out_count, logdir, is_known=record is not None)
    total = merged.added + merged.replaced + merged.kept
    cli.check_failures(len(merged.failures), total, options.max_failures)


def _images(
    record: Record | None, spelling: Spelling
) -> Iterator[tuple[str, Contents]]:
    """Yields what the images of the file were, under their names in the cache."""
    for name, contents in record.images() if record else ():
        if file := spelling(name):
            yield file, contents


def _open_log(json_file: Path, options: Options) -> StepLog:
    return StepLog(
        step="cache_batchapi_outputs",
        options={
            "json_file": str(json_file),
            "dataset": options.dataset,
            "detector_version": options.detector_version,
            "remove_prefix": options.spelling.remove_prefix,
            "add_prefix": options.spelling.add_prefix,
            "skip_others": options.spelling.skip_others,
            "overwrite": options.overwrite,
        },
    )


@contextmanager
def _unpacked(json_file: Path, file_format: str | None, log: StepLog) -> Iterator[Path]:
    """Gives the detections JSON itself, for as long as the block lasts."""
    with scratch.folder("ct-cache-") as folder:
        temporary = folder / "detections.json"
        if unzipping.is_zip(json_file):
            unzipping.extract_json(json_file, temporary)
            json_file = temporary
        if file_format is None and batch_response.is_response(json_file):
            file_format = RESPONSE
        if file_format == RESPONSE:
            _download(json_file, temporary, log)
            json_file = temporary
        yield json_file


def _download(response_json: Path, target: Path, log: StepLog) -> None:
    response = batch_response.read(response_json)
    if response.failed_shards:
        remark = f"{response.failed_shards} parts of the images were not looked at"
        log.notes.append((f"task {response.task}", remark))
        _logger.warning("task %s: %s", response.task, remark)
    _logger.info("downloading %s", shown(response.detections_url))
    download.fetch(response.detections_url, target)


@contextmanager
def _naming(json_file: Path, path: Path) -> Iterator[None]:
    """Puts the user's file in the place of its unpacked copy, and adds the way out."""
    try:
        yield
    except ArtifactError as error:
        message = error.message
        if error.where.endswith(".file") and not message.endswith(" expected"):
            message += "; --remove-prefix takes a folder off every name"
        where = error.where.replace(str(path), str(json_file), 1)
        raise ArtifactError(message, where=where) from error


def _refuse_none_left(file: DetectionsFile, spelling: Spelling) -> None:
    if file.left_out_count and not file.image_count:
        raise ArtifactError(
            f"none of its {file.left_out_count} images begins with "
            f"{spelling.remove_prefix!r} (--remove-prefix)",
            where=str(file.path),
        )


def _choose_version(
    json_file: Path, detector: str, options: Options, log: StepLog
) -> str:
    told = version_of(detector)
    version = options.detector_version or told
    if version is None:
        raise ConfigurationError(
            f"{json_file}: info.detector, {detector!r}, tells no version; name it with "
            "--detector-version"
        )
    if told not in {None, version}:
        remark = f"{detector!r} tells {told}; --detector-version {version} is taken"
        log.notes.append(("info.detector", remark))
        _logger.warning("info.detector %s", remark)
    return version


def _finish(
    log: StepLog, merged: Merged, left_out: int, logdir: Path, *, is_known: bool
) -> None:
    log.failures = merged.failures
    log.notes += merged.notes
    log.counts = {
        "images": merged.images,
        "images_added": merged.added,
        "images_replaced": merged.replaced,
        "images_kept": merged.kept,
        "images_failed": len(merged.failures),
        "images_left_out": left_out,
        "results_repeated": merged.repeated,
    }
    for what, remark in merged.notes:
        _logger.info("%s: %s", what, remark)
    _logger.info(
        "wrote %s: %d images, %d of them added, %d replaced, %d kept as they were; the "
        "detector had failed on %d; %s%slog: %s",
        merged.path,
        merged.images,
        merged.added,
        merged.replaced,
        merged.kept,
        len(merged.failures),
        f"{left_out} of other datasets left out; " if left_out else "",
        "" if is_known else "nothing tells which images they are of; ",
        step_log.write(logdir, log),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if args.skip_others and not args.remove_prefix:
        parser.error("--skip-others needs --remove-prefix, which tells them apart")
    return cli.exit_code(
        run,
        args.json_file,
        args.detector_output_cache_dir,
        logdir=args.logdir,
        options=Options(
            dataset=args.dataset,
            detector_version=args.detector_version,
            spelling=Spelling(
                remove_prefix=args.remove_prefix,
                add_prefix=args.add_prefix,
                skip_others=args.skip_others,
            ),
            file_format=args.format,
            overwrite=args.overwrite,
            max_failures=args.max_failures,
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
