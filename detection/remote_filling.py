"""Fills the detection cache through a Batch Detection API, safe to kill.

Images are submitted in tasks of one dataset each. A task's id is in the resume file
before the next one is submitted, so a run that goes on asks for it, and submits what is in
no task. What a task found is downloaded when it is completed, and put into the cache once
nothing is awaited any more. A task that cannot be asked for, or whose state has no known
meaning, stays in the resume file for the next run.
"""

from __future__ import annotations

import logging
import random
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from classification.artifacts import (
    batch_request,
    batch_response,
    batch_tasks,
    detection_cache,
    detections,
    image_list,
)
from classification.artifacts.batch_request import BatchRequest
from classification.artifacts.batch_response import BatchResponse
from classification.artifacts.batch_tasks import BatchTask
from classification.runtime import journal, locking, progress
from classification.runtime.addresses import is_address, shown
from classification.runtime.atomic import check_writable
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    StorageError,
)
from classification.runtime.name_set import NameSet
from classification.storage import download
from classification.storage.local import LocalStore
from detection.batch_client import NoAnswerError
from detection.filling import (
    DETECTED,
    FAILED,
    OF_EARLIER_RUNS,
    refuse_other_detectors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from classification.artifacts.batch_response import BatchStatus
    from classification.artifacts.detections import DetectionsFile
    from classification.artifacts.step_log import StepLog
    from classification.runtime.contents import Contents
    from detection.batch_client import Client

MOST_IMAGES = batch_request.MOST_IMAGES  # of a task
MOST_BYTES = 1 << 26  # of a task's names

_LISTS, _ANSWERS = "batchapi_tasklists", "batchapi_response"
_NONE_CHANGED: Mapping[str, Mapping[str, Contents]] = {}
_ENDED = frozenset(
    {batch_response.FAILED, batch_response.PROBLEM, batch_response.CANCELED}
)
_AWAITED = frozenset({batch_response.RUNNING, "created"})

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Polling:
    """How a service is asked again and again.

    Attributes:
        first_s: pause before it is asked the second time; each is longer than the last.
        most_s: longest pause.
        limit_s: how long it may give no answer to the same question.
    """

    first_s: float = 1
    most_s: float = 120
    limit_s: float = 1800


DEFAULT_POLLING = Polling()


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to fill the cache.

    Attributes:
        client: the service.
        cache_dir: the cache.
        detector_version: names the folder in it.
        model_version: the detector that the service is to have; empty for any.
        tasks: where the resume file is while it runs.
        folder: holds the lists and the answers of tasks meanwhile.
        places: where the service finds each dataset, in the order to look; folders, or
            an address, which may hold a token.
        caller: who asks.
        threshold: least confidence of a box; None for the service's own.
        restart: submit again, whatever the resume file holds.
        polling: how to ask.
    """

    client: Client
    cache_dir: Path
    detector_version: str
    model_version: str
    tasks: Path
    folder: Path
    places: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    caller: str = ""
    threshold: float | None = None
    restart: bool = False
    polling: Polling = field(default_factory=lambda: DEFAULT_POLLING)


def place_below(where: str, dataset: str) -> str:
    """Returns the place of a dataset below a folder or an address of all of them."""
    parts = urlsplit(where)
    if parts.scheme not in {"http", "https"}:
        return f"{where.rstrip('/')}/{dataset}"
    path = f"{parts.path.rstrip('/')}/{quote(dataset)}"
    return urlunsplit(parts._replace(path=path))


@contextmanager
def filled(
    files_by_dataset: Mapping[str, Sequence[str]],
    cached: Iterable[DetectionsFile],
    options: Options,
    log: StepLog,
    *,
    changed: Mapping[str, Mapping[str, Contents]] = _NONE_CHANGED,
) -> Iterator[None]:
    """Has images detected into the cache; inside the block, the cache is filled.

    The resume file is deleted when the block ends well, with the lists of its tasks.

    Args:
        files_by_dataset: images that the cache has no boxes of, by dataset, as they are
            called below its folder; sorted, each once.
        cached: files of the cache that are to be added to.
        options: how to do it.
        log: gets counts, failures and notes, and ``images_submitted_for_detection``.
        changed: what of these images are others than the cache has boxes of, and what
            they are now, by dataset; all else that the service reads is not known here.

    Raises:
        PipelineError: the service will not, or does not answer; a task in a state
            without a known meaning; or the boxes are of another detector than those of
            the cache.
    """
    log.counts |= {DETECTED: 0, FAILED: 0, OF_EARLIER_RUNS: 0}
    log.extra["images_submitted_for_detection"] = []
    if not files_by_dataset and not options.tasks.exists():
        yield
        return
    if options.tasks.exists() and not batch_tasks.is_task_list(options.tasks):
        raise ConfigurationError(
            f"{options.tasks} is no list of tasks; name another --resume-file"
        )
    for folder in (options.folder, options.cache_dir / f"v{options.detector_version}"):
        check_writable(folder)
    with locking.exclusive(options.tasks):
        run = _Run(options, list(cached), log, changed)
        run.submit(files_by_dataset)
        run.wait()
        run.merge()
        run.refuse_unanswered()
        yield
        run.remove()


class _Run:
    """A run with its resume file locked."""

    def __init__(
        self,
        options: Options,
        cached: Sequence[DetectionsFile],
        log: StepLog,
        changed: Mapping[str, Mapping[str, Contents]],
    ) -> None:
        self._options = options
        self._cached = cached
        self._log = log
        self._changed = changed
        self._unanswered: dict[str, str] = {}  # why, by task
        self._tasks: list[BatchTask] = []
        if options.tasks.exists() and not options.restart:
            self._tasks = batch_tasks.read(options.tasks)
        self._known = list(self._tasks)  # those that ended without detections, too

    def submit(self, files_by_dataset: Mapping[str, Sequence[str]]) -> None:
        """Submits the images that are in no task yet."""
        submitted = self._read_submitted()
        self._log.counts[OF_EARLIER_RUNS] = sum(map(len, submitted.values()))
        for dataset in sorted(files_by_dataset):
            known = submitted.get(dataset, NameSet())
            left = [file for file in files_by_dataset[dataset] if file not in known]
            number = sum(task.dataset == dataset for task in self._tasks)
            for place, files in _split(left, self._options.places.get(dataset, ())):
                for chunk in _chunks(files):
                    self._submit(dataset, place, chunk, number)
                    number += 1

    def _read_submitted(self) -> dict[str, NameSet]:
        """Returns the images that are in a task, by dataset."""
        submitted: dict[str, NameSet] = {}
        for task in self._tasks:
            names = submitted.setdefault(task.dataset, NameSet())
            for name in image_list.read(task.images_list):
                names.add(name)
        return submitted

    def _submit(
        self, dataset: str, place: str, files: Sequence[str], number: int
    ) -> None:
        """Submits a task, and writes its id down before it returns."""
        options = self._options
        mark = journal.digest([dataset, shown(place), *files])[:8]
        name = _name(dataset, f"{mark}_task{number:02}")
        listed = f"task_list_{dataset}_{mark}.chunk{number:03}.json"
        path = options.folder / _LISTS / listed
        image_list.write_json(path, files)
        request = BatchRequest(
            name=name,
            caller=options.caller,
            model_version=options.model_version,
            place=place,
            images=files,
            threshold=options.threshold,
        )
        task_id = self._insist(lambda: options.client.submit(request))
        task = BatchTask(
            dataset=dataset,
            task_name=name,
            task_id=task_id,
            local_images_list_path=str(path),
        )
        if task_id not in {known.task_id for known in self._tasks}:
            self._tasks.append(task)
            self._known.append(task)
        batch_tasks.write(options.tasks, self._tasks)
        submitted = self._log.extra["images_submitted_for_detection"]
        submitted += [f"{dataset}/{file}" for file in files]
        _logger.info("%s: %d images submitted, task %s", name, len(files), task_id)

    def _insist(self, attempt: Callable[[], str]) -> str:
        """Makes an attempt until there is an answer, or for as long as it is worth it."""
        pauses, end_s = _Pauses(self._options.polling), self._end_s()
        while True:
            try:
                return attempt()
            except NoAnswerError as error:
                if time.monotonic() > end_s:
                    raise
                _logger.info("%s; again in a moment", error)
                pauses.sleep()

    def _end_s(self) -> float:
        return time.monotonic() + self._options.polling.limit_s

    def wait(self) -> None:
        """Asks for each task until it has ended, and gets what was found."""
        awaited = [task for task in self._tasks if not self._answer_of(task).exists()]
        ends_s = {task.task_id: self._end_s() for task in awaited}
        said: dict[str, str] = {}
        pauses = _Pauses(self._options.polling)
        with progress.bar(len(awaited), unit="tasks") as shown_bar:
            while awaited:
                left = [
                    task for task in awaited if self._is_awaited(task, ends_s, said)
                ]
                shown_bar.update(len(awaited) - len(left))
                if len(left) < len(awaited):
                    pauses = _Pauses(self._options.polling)
                awaited = left
                if awaited:
                    pauses.sleep()

    def _is_awaited(
        self, task: BatchTask, ends_s: dict[str, float], said: dict[str, str]
    ) -> bool:
        """Asks for a task; says whether to ask again."""
        task_id = task.task_id
        try:
            answer = self._options.client.ask(task_id)
            if isinstance(answer, BatchResponse):
                self._get(task, answer)
                return False
        except (NoAnswerError, download.DownloadError, ArtifactError) as error:
            if time.monotonic() > ends_s[task_id]:
                self._unanswered[task_id] = str(error)
                return False
            _say_once(said, task_id, f"{error}; asked again")
            return True
        ends_s[task_id] = self._end_s()
        if answer.status in _AWAITED:
            _say_once(said, task_id, f"task {task_id}: {answer.said or answer.status}")
            return True
        self._note_end(task, answer)
        return False

    def _note_end(self, task: BatchTask, answer: BatchStatus) -> None:
        """Notes a task that ended without detections, or whose state means nothing."""
        reason = f"{answer.status!r}" + (f" ({answer.said})" if answer.said else "")
        if answer.status not in _ENDED:
            self._unanswered[task.task_id] = f"its state is {reason}"
            return
        files = image_list.read(task.images_list)
        self._tasks.remove(task)
        batch_tasks.write(self._options.tasks, self._tasks)  # the next run submits them
        remark = f"{reason}; its {len(files)} images are without boxes"
        self._log.notes.append((f"task {task.task_id} of {task.dataset}", remark))
        self._log.counts[FAILED] += len(files)
        self._log.failures += [
            (f"{task.dataset}/{file}", f"task {task.task_id} is {answer.status}")
            for file in files
        ]
        _logger.warning("task %s of %s: %s", task.task_id, task.dataset, remark)

    def _get(self, task: BatchTask, answer: BatchResponse) -> None:
        """Downloads what a task found."""
        if answer.failed_shards:
            remark = f"{answer.failed_shards} parts of the images were not looked at"
            self._log.notes.append((f"task {task.task_id}", remark))
            _logger.warning("task %s: %s", task.task_id, remark)
        download.fetch(answer.detections_url, self._answer_of(task))
        self._open_answer(task)

    def _answer_of(self, task: BatchTask) -> Path:
        return self._options.folder / _ANSWERS / f"{task.task_id}_detections.json"

    def merge(self) -> None:
        """Puts what all completed tasks found into the cache."""
        for task in self._tasks:
            if task.task_id not in self._unanswered:
                self._merge(task)

    def _merge(self, task: BatchTask) -> None:
        options, log = self._options, self._log
        file = self._open_answer(task)
        refuse_other_detectors(self._cached, file.header.detector)
        merged = detection_cache.merge(
            options.cache_dir,
            options.detector_version,
            task.dataset,
            file.header,
            file.documents(),
            images=self._changed.get(task.dataset, {}).items(),
        )
        _logger.info("%s: %d images", merged.path, merged.images)
        lacking = len(image_list.read(task.images_list)) - file.image_count
        if lacking or file.left_out_count:
            remark = (
                f"{lacking} of its images are not in the answer, and "
                f"{file.left_out_count} others are"
            )
            log.notes.append((f"task {task.task_id} of {task.dataset}", remark))
        log.counts[DETECTED] += file.image_count
        log.counts[FAILED] += len(merged.failures)
        log.failures += [
            (f"{task.dataset}/{name}", reason) for name, reason in merged.failures
        ]
        log.notes += [
            (f"{merged.path}: {what}", remark) for what, remark in merged.notes
        ]

    def _open_answer(self, task: BatchTask) -> DetectionsFile:
        """Opens what a task found, without images that it was not asked for.

        Raises:
            ArtifactError: it is none; it is then to be downloaded again.
        """
        path = self._answer_of(task)
        wanted = NameSet(image_list.read(task.images_list))
        try:
            return detections.open_file(
                path, rename=lambda name: name if name in wanted else None
            )
        except ArtifactError:
            path.unlink(missing_ok=True)
            raise

    def refuse_unanswered(self) -> None:
        """Ends the run if there are tasks of which it is not known how they ended."""
        if not self._unanswered:
            return
        listed = "; ".join(f"{id_}: {why}" for id_, why in self._unanswered.items())
        raise StorageError(
            f"{len(self._unanswered)} of {len(self._tasks)} tasks in "
            f"{self._options.tasks} have no known end; run again to ask again, or with "
            f"--restart to submit their images once more: {listed}"
        )

    def remove(self) -> None:
        """Deletes what only a run that goes on needs."""
        self._options.tasks.unlink(missing_ok=True)
        lists, answers = (self._options.folder / name for name in (_LISTS, _ANSWERS))
        for task in self._known:
            self._answer_of(task).unlink(missing_ok=True)
            if task.images_list.parent == lists:  # elsewhere it is somebody else's
                task.images_list.unlink(missing_ok=True)
        for folder in (lists, answers):
            with suppress(OSError):  # not there, or somebody keeps something in it
                folder.rmdir()


class _Pauses:
    """Pauses that grow, each by chance a little shorter, so that users do not meet."""

    def __init__(self, polling: Polling) -> None:
        self._pause_s = polling.first_s
        self._most_s = polling.most_s

    def sleep(self) -> None:
        time.sleep(self._pause_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
        self._pause_s = min(self._pause_s * 1.5, self._most_s)


def _say_once(said: dict[str, str], task_id: str, sentence: str) -> None:
    if said.get(task_id) != sentence:
        _logger.info("%s", sentence)
        said[task_id] = sentence


def _name(dataset: str, rest: str) -> str:
    """Returns the name of a task: as the original's, but without the clock."""
    most = batch_request.LONGEST_NAME - len(rest) - 1
    plain = re.sub(r"[^-_A-Za-z0-9]", "_", f"detect_for_classifier_{dataset}")
    return f"{plain[:most]}_{rest}"


def _split(
    files: Sequence[str], places: Sequence[str]
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yields the places that files are at, and the files of each.

    Of several folders, which are there on this machine, too, it is the first that holds
    the file. What is in none is at the first address, or in the last folder: the service
    then says that there is none.
    """
    if not places:
        raise ConfigurationError("it is not known where the service finds the images")
    *first, last = places
    left = list(files)
    for place in first:
        if is_address(place):
            last = place
            break
        store = LocalStore(Path(place))
        there = [file for file in left if store.exists(file)]
        found = set(there)
        left = [file for file in left if file not in found]
        if there:
            yield place, there
    if left:
        yield last, left


def _chunks(files: Sequence[str]) -> Iterator[list[str]]:
    """Yields the images of each task."""
    chunk: list[str] = []
    size = 0
    for file in files:
        length = len(file.encode()) + 3  # quotes and a comma
        if chunk and (len(chunk) == MOST_IMAGES or size + length > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(file)
        size += length
    if chunk:
        yield chunk
