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
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from classification.artifacts import (
    batch_tasks,
    detection_cache,
    detections,
    image_contents,
)
from classification.runtime import journal, progress
from classification.runtime.atomic import check_writable
from classification.runtime.errors import ConfigurationError
from classification.runtime.journal import Journal
from classification.runtime.model_digest import digest_of
from classification.storage.changes import current_of_all
from detection import batches, detectors, journaled, models
from detection.image_files import ImageFile, ImageList

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from classification.artifacts.detections import DetectionsFile
    from classification.artifacts.step_log import StepLog
    from classification.runtime.contents import Contents
    from classification.runtime.name_set import NameSet
    from classification.storage import ImageStore
    from detection.detectors import Detector
    from detection.models import ModelFile

    class Boxes(Protocol):
        """What the cache has of a dataset's images."""

        @property
        def file(self) -> DetectionsFile | None:
            """Return the dataset's file of the cache."""
            ...

        @property
        def detected(self) -> NameSet:
            """Return those of its images that are asked for, and did not fail."""
            ...


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
        verify: compare the bytes of all images with those of an earlier run.
        work: how to take images through the detector.
        engine: how to run the detector.
        part: what tells this part of a run from others, for the journal's key.
    """

    model: str
    cache_dir: Path
    detector_version: str
    journal: Path
    restart: bool = False
    verify: bool = False
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
    model = detectors.runnable(models.resolve(options.model))
    for dataset in files_by_dataset:
        path = detection_cache.path_of(
            options.cache_dir, options.detector_version, dataset
        )
        check_writable(path.parent)
    digest = digest_of(model.path)
    refuse_other_detectors(cached, model.name, digest)
    key = _key(model, digest, options)
    with Journal.open(options.journal, key=key, restart=options.restart) as kept:
        run = _Run(kept, store, model, digest, options, log)
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


def refuse_other_detectors(
    cached: Iterable[DetectionsFile], detector: str, digest: str = ""
) -> None:
    """Sees that no file of the cache comes to hold the boxes of two detectors.

    Args:
        cached: files that are to be added to.
        detector: whose boxes are added, as ``info.detector`` names it.
        digest: of the detector's files; empty where it is not known.

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
        detection_cache.check_detector(file.path, digest)


def _is_same(one: str, other: str) -> bool:
    version = models.version_of(one)
    return one == other or (version is not None and version == version_of(other))


def shaping(options: Options) -> list[object]:
    """Returns all that shapes the result, but for the list of images, for a digest.

    Raises:
        PipelineError: there is no such model.
    """
    model = detectors.runnable(models.resolve(options.model))
    return [_key(model, digest_of(model.path), options)]


def _key(model: ModelFile, digest: str, options: Options) -> str:
    # The list of images becomes shorter when a dataset has been put into the cache.
    work, engine = options.work, options.engine
    return journal.key(
        detector=[model.name, digest, options.detector_version],
        options=[
            [_STEP, work.threshold, work.batch_size, work.max_pixels],
            [engine.image_size_px, engine.head, engine.device],
            *options.part,
        ],
    )


def refuse_retrained(cached: Iterable[DetectionsFile], model: str) -> None:
    """See that boxes that are there are of the same file of the detector.

    Args:
        cached: files of the cache that are to be used.
        model: the detector; one that is not on this disk yet is not asked for.

    Raises:
        ConfigurationError: they are of another.
    """
    known = [file.path for file in cached if image_contents.find(file.path)]
    if known and models.is_here(model):
        digest = digest_of(detectors.runnable(models.resolve(model)).path)
        for path in known:
            detection_cache.check_detector(path, digest)


def find_changed(
    boxes_by_dataset: Mapping[str, Boxes],
    store: ImageStore,
    *,
    verify: bool,
    threads: int,
) -> dict[str, dict[str, Contents]]:
    """Find the images that are others now than when the detector saw them.

    Images that the store does not have, or cannot read, are left to who reads them. Of
    what nothing tells, how much there is is said.

    Args:
        boxes_by_dataset: what the cache has.
        store: has the images as ``<dataset>/<file>``.
        verify: compare the bytes of all images.
        threads: how many images are looked at side by side.

    Returns:
        What they are now, by name below the dataset's folder, by dataset.
    """
    changed: dict[str, dict[str, Contents]] = {}
    for dataset, boxes in boxes_by_dataset.items():
        if boxes.file is None:
            continue
        found = _compare(dataset, boxes, store, verify=verify, threads=threads)
        if found:
            changed[dataset] = found
            _logger.warning(
                "%s: %d images changed since they were detected",
                boxes.file.path,
                len(found),
            )
    return changed


def is_current(
    dataset: str, path: Path, *, store: ImageStore, verify: bool, threads: int
) -> bool:
    """Say whether the images of a file of a cache are those that its boxes are of.

    Args:
        dataset: the images are ``<dataset>/<file>`` in the store.
        path: the file.
        store: has the images.
        verify: compare the bytes of all images.
        threads: how many images are looked at side by side.
    """
    record = image_contents.find(path)
    known = (
        (file, f"{dataset}/{file}", contents)
        for file, contents in (record.images() if record else ())
    )
    found = current_of_all(store, known, verify=verify, threads=threads)
    return all(
        before and now and before.digest == now.digest for _, before, now in found
    )


def _compare(
    dataset: str, boxes: Boxes, store: ImageStore, *, verify: bool, threads: int
) -> dict[str, Contents]:
    path = boxes.file.path if boxes.file else Path()
    record = image_contents.find(path)
    if record is None:
        _logger.info(
            "%s: nothing tells which images and detector its boxes are of", path
        )
        return {}
    known = (
        (file, f"{dataset}/{file}", contents)
        for file, contents in record.images()
        if file in boxes.detected
    )
    changed, told = {}, 0
    for file, before, now in current_of_all(
        store, known, verify=verify, threads=threads
    ):
        if now is None or before is None:
            continue
        if now.digest != before.digest:
            changed[file] = now
        told += now.stamp is not None
    if untold := len(boxes.detected) - told:
        _logger.info(
            "%s: of %d images nothing tells whether they changed; they are taken to be "
            "unchanged",
            path,
            untold,
        )
    return changed


class _Run:
    """A run with its journal open."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a run consists of
        self,
        kept: Journal,
        store: ImageStore,
        model: ModelFile,
        digest: str,
        options: Options,
        log: StepLog,
    ) -> None:
        self._kept = kept
        self._store = store
        self._model = model
        self._digest = digest
        self._options = options
        self._log = log

    def fill_all(self, files_by_dataset: Mapping[str, Sequence[str]]) -> None:
        """Detects what the journal lacks, and puts all of it into the cache."""
        known = self._check()
        if known.changed:
            files_by_dataset = self._with_changed(files_by_dataset, known.done)
        datasets = sorted({*files_by_dataset, *self._read_datasets()})
        if not datasets:
            return
        detector = detectors.load(self._model, self._options.engine)
        total = sum(map(len, files_by_dataset.values()))
        self._log.counts[OF_EARLIER_RUNS] = len(known.done)
        _logger.info("%d images; detector %s", total, self._model.name)
        began = time.monotonic()
        with progress.bar(total, unit="images") as shown:
            for dataset in datasets:
                files = files_by_dataset.get(dataset, ())
                for count in self._detect(dataset, files, known.done, detector):
                    shown.update(count)
                self._merge(dataset, detector)
        seconds = max(time.monotonic() - began, 1e-9)
        speed = self._log.counts[DETECTED] / seconds
        self._log.extra["images_per_second"] = round(speed, 2)

    def _check(self) -> journaled.Known:
        """See which results of a killed run are still of their images."""
        records = (
            (record, _full_name(record))
            for record in self._kept.read_latest(_full_name)
        )
        return journaled.check(
            self._kept,
            records,
            self._store,
            name_of=_full_name,
            verify=self._options.verify,
            threads=self._options.work.threads,
        )

    def _with_changed(
        self, files_by_dataset: Mapping[str, Sequence[str]], done: NameSet
    ) -> dict[str, list[str]]:
        """Add the journal's images that changed: a killed run may have cached them."""
        files = {dataset: set(files) for dataset, files in files_by_dataset.items()}
        for record in self._kept.read_latest(_full_name):
            if _full_name(record) not in done:
                found = files.setdefault(record["dataset"], set())
                found.add(journaled.name_of(record))
        return {dataset: sorted(names) for dataset, names in files.items()}

    def _read_datasets(self) -> set[str]:
        return {record["dataset"] for record in self._kept.read()}

    def _detect(
        self, dataset: str, files: Sequence[str], done: NameSet, detector: Detector
    ) -> Iterator[int]:
        """Puts into the journal what it lacks of a dataset; yields how many at a time."""
        names = [f"{dataset}/{file}" for file in files]
        todo = [name for name in names if name not in done]
        yield len(files) - len(todo)
        self._log.extra["images_submitted_for_detection"] += todo
        with ImageList.of(map(ImageFile, names, names)) as images:
            for results in batches.detect(
                detector, images, self._options.work, done=done, load=self._store.load
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
            newer_wins=True,  # a killed run may have put in what has changed since
            images=self._images(dataset),
            detector=self._digest,
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
        for record in self._records(dataset):
            image = record["image"]
            if record["note"]:
                self._log.notes.append((f"{dataset}/{image['file']}", record["note"]))
            yield msgspec.json.encode(image)

    def _images(self, dataset: str) -> Iterator[tuple[str, Contents | None]]:
        for record in self._records(dataset):
            yield record["image"]["file"], journaled.contents_of(record)

    def _records(self, dataset: str) -> Iterator[Any]:
        for record in self._kept.read_latest(_full_name):
            if record["dataset"] == dataset:
                yield record


def _full_name(record: Any) -> str:  # noqa: ANN401 - a record of the journal
    return f"{record['dataset']}/{journaled.name_of(record)}"


def _to_record(dataset: str, result: batches.Result) -> dict[str, Any]:
    file = result.image.file.removeprefix(f"{dataset}/")
    image = msgspec.structs.replace(result.image, file=file)
    named = msgspec.structs.replace(result, image=image)
    return {"dataset": dataset, **msgspec.to_builtins(named)}
