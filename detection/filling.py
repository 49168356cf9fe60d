"""Fills the detection cache: detects images dataset by dataset, safe to kill.

What is found goes into a journal first, and into a dataset's file of the cache once all
of its images are done, so that a file of the cache never holds a part of a run. The
journal is kept until the whole run has ended well: an image that failed is tried again
by the next run, not by the one that goes on.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import batch_tasks, detection_cache, detections
from classification.runtime import progress
from classification.runtime.atomic import check_writable
from classification.runtime.errors import ConfigurationError
from classification.runtime.journal import Journal, digest
from classification.runtime.name_set import NameSet
from detection import batches, detectors, journaled, models
from detection.image_files import ImageFile, ImageList

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from classification.artifacts.detections import DetectionsFile
    from classification.artifacts.step_log import StepLog
    from classification.storage import ImageStore
    from detection.detectors import Detector
    from detection.models import ModelFile

_STEP = "fill detection cache"
_UNKNOWN = "unknown"  # a detector that the cache does not name

DETECTED, FAILED = "images_detected", "images_detection_failed"
OF_EARLIER_RUNS = "images_of_earlier_runs"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to fill the cache.

    Attributes:
        model: a model file, or a name of the model table.
        cache_dir: the cache.
        detector_version: names the folder in it.
        journal: where the journal is while it runs.
        restart: throw away what a killed run left.
        work: how to take images through the detector.
        engine: how to run the detector.
        part: what tells this part of a run from others, for the journal's key.
    """

    model: str
    cache_dir: Path
    detector_version: str
    journal: Path
    restart: bool = False
    work: batches.Work
    engine: detectors.Options = field(default_factory=detectors.Options)
    part: tuple[str, ...] = ()


def version_of(model: str) -> str | None:
    """Returns the version of a model file, or of a name of the table; None if unknown."""
    return models.version_of(Path(model).name)


@contextmanager
def filled(
    files_by_dataset: Mapping[str, Sequence[str]],
    cached: Iterable[DetectionsFile],
    store: ImageStore,
    options: Options,
    log: StepLog,
) -> Iterator[None]:
    """Detects images into the cache; inside the block, the cache is filled.

    The journal is locked meanwhile, so that a second run with it ends with one line. It
    is deleted when the block ends well.

    Args:
        files_by_dataset: images that the cache has no boxes of, by dataset, as they are
            called below its folder; sorted, each once.
        cached: files of the cache that are to be added to.
        store: has them as ``<dataset>/<file>``.
        options: how to do it.
        log: gets counts, failures and notes, and ``images_submitted_for_detection``.

    Raises:
        PipelineError: no model, a journal of another run, a cache of another detector
            or in a folder that cannot be written, or a disk that is full.
    """
    log.counts |= {DETECTED: 0, FAILED: 0, OF_EARLIER_RUNS: 0}
    log.extra["images_submitted_for_detection"] = []
    if not files_by_dataset and not options.journal.exists():
        yield
        return
    _refuse_task_list(options.journal)
    model = models.resolve(options.model)
    refuse_other_detectors(cached, model.name)
    for dataset in files_by_dataset:
        path = detection_cache.path_of(
            options.cache_dir, options.detector_version, dataset
        )
        check_writable(path.parent)
    key = digest([*_shaping(model, options), *options.part])
    with Journal.open(options.journal, key=key, restart=options.restart) as kept:
        run = _Run(kept, store, model, options, log)
        run.fill_all(files_by_dataset)
        yield
        kept.remove()


def _refuse_task_list(path: Path) -> None:
    """Tells what is kept under this name of a Batch Detection API from a file of ours."""
    if batch_tasks.is_task_list(path):
        raise ConfigurationError(
            f"{path} lists tasks of the Batch Detection API; --batch-api URL asks for "
            "them, or name another --resume-file, and the images are detected here"
        )


def refuse_other_detectors(cached: Iterable[DetectionsFile], detector: str) -> None:
    """Sees that no file of the cache comes to hold the boxes of two detectors.

    Args:
        cached: files that are to be added to.
        detector: whose boxes are added, as ``info.detector`` names it.

    Raises:
        ConfigurationError: a file has those of another.
    """
    for file in cached:
        name = file.header.detector
        if name != _UNKNOWN and not _is_same(name, detector):
            raise ConfigurationError(
                f"{file.path} holds boxes of {name}, not of {detector}; give that "
                "--detector, or another --detector-version"
            )


def _is_same(one: str, other: str) -> bool:
    version = models.version_of(one)
    return one == other or (version is not None and version == version_of(other))


def shaping(options: Options) -> list[object]:
    """Returns all that shapes the result, but for the list of images, for a digest.

    Raises:
        PipelineError: there is no such model.
    """
    return _shaping(models.resolve(options.model), options)


def _shaping(model: ModelFile, options: Options) -> list[object]:
    # The list of images becomes shorter when a dataset has been put into the cache.
    work, engine = options.work, options.engine
    return [
        [_STEP, *models.identify(model, options.model), options.detector_version],
        [work.threshold, work.batch_size, work.max_pixels],
        [engine.image_size_px, engine.head, engine.device],
    ]


class _Run:
    """A run with its journal open."""

    def __init__(
        self,
        kept: Journal,
        store: ImageStore,
        model: ModelFile,
        options: Options,
        log: StepLog,
    ) -> None:
        self._kept = kept
        self._store = store
        self._model = model
        self._options = options
        self._log = log

    def fill_all(self, files_by_dataset: Mapping[str, Sequence[str]]) -> None:
        """Detects what the journal lacks, and puts all of it into the cache."""
        done = self._read_done()
        datasets = sorted({*files_by_dataset, *done})
        if not datasets:
            return
        detector = detectors.load(self._model, self._options.engine)
        total = sum(map(len, files_by_dataset.values()))
        self._log.counts[OF_EARLIER_RUNS] = self._kept.records
        _logger.info("%d images; detector %s", total, self._model.name)
        began = time.monotonic()
        with progress.bar(total, unit="images") as shown:
            for dataset in datasets:
                files = files_by_dataset.get(dataset, ())
                for count in self._detect(dataset, files, done.get(dataset), detector):
                    shown.update(count)
                self._merge(dataset, detector)
        seconds = max(time.monotonic() - began, 1e-9)
        speed = self._log.counts[DETECTED] / seconds
        self._log.extra["images_per_second"] = round(speed, 2)

    def _read_done(self) -> dict[str, NameSet]:
        """Returns the images in the journal, failed ones included, by dataset."""
        done: dict[str, NameSet] = {}
        for record in self._kept.read():
            names = done.setdefault(record["dataset"], NameSet())
            names.add(record["image"]["file"])
        return done

    def _detect(
        self,
        dataset: str,
        files: Sequence[str],
        done: NameSet | None,
        detector: Detector,
    ) -> Iterator[int]:
        """Puts into the journal what it lacks of a dataset; yields how many at a time."""
        todo, skip = _what_is_left(files, done or NameSet())
        yield len(files) - (len(todo) - skip)
        named = (ImageFile(file, f"{dataset}/{file}") for file in todo)
        submitted = self._log.extra["images_submitted_for_detection"]
        submitted += [f"{dataset}/{file}" for file in todo[skip:]]
        with ImageList.of(named) as images:
            for results in batches.detect(
                detector, images, self._options.work, done=skip, read=self._store.read
            ):
                self._kept.append(_to_record(dataset, result) for result in results)
                self._log.counts[DETECTED] += len(results)
                yield len(results)

    def _merge(self, dataset: str, detector: Detector) -> None:
        options = self._options
        header = detections.Header(
            detection_categories=detector.categories, info=journaled.info(self._model)
        )
        merged = detection_cache.merge(
            options.cache_dir,
            options.detector_version,
            dataset,
            header,
            self._documents(dataset),
        )
        _logger.info("%s: %d images", merged.path, merged.images)
        self._log.counts[FAILED] += len(merged.failures)
        self._log.failures += [
            (f"{dataset}/{file}", reason) for file, reason in merged.failures
        ]
        self._log.notes += [
            (f"{merged.path}: {what}", remark) for what, remark in merged.notes
        ]

    def _documents(self, dataset: str) -> Iterator[bytes]:
        """Yields the JSON text of each image of a dataset that is in the journal."""
        for record in self._kept.read():
            if record["dataset"] != dataset:
                continue
            image = record["image"]
            if record["note"]:
                self._log.notes.append((f"{dataset}/{image['file']}", record["note"]))
            yield msgspec.json.encode(image)


def _what_is_left(files: Sequence[str], done: NameSet) -> tuple[Sequence[str], int]:
    """Returns images, and how many of the first of them are done.

    Where a run was cut off these are all images, so that the rest is detected in the
    batches of an undisturbed run.
    """
    left = [file for file in files if file not in done]
    skip = len(files) - len(left)
    return (files, skip) if list(files[skip:]) == left else (left, 0)


def _to_record(dataset: str, result: batches.Result) -> dict[str, Any]:
    return {"dataset": dataset, **msgspec.to_builtins(result)}
