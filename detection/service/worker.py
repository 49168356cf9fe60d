"""Works on the tasks of a service, one at a time, in the order of submission.

Each task has a folder of its own: ``<output>/<task id>/`` holds the journal while it is
worked on, and ``detections.json`` and the step log once it is completed. The worker can
be killed at any moment: the next one finds the task in the table, goes on from its
journal, and ends with the same bytes.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from classification.artifacts import (
    batch_response,
    detections,
    image_contents,
    step_log,
)
from classification.runtime import journal
from classification.runtime.addresses import shown, without_tokens
from classification.runtime.atomic import together
from classification.runtime.cli import one_line
from classification.runtime.errors import (
    ConfigurationError,
    PipelineError,
    StorageError,
)
from classification.storage.anywhere import DEFAULT_MANNER
from classification.storage.outage import LenientStore
from detection import batches, detectors, journaled, models
from detection.service import sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from classification.artifacts.batch_request import BatchRequest
    from classification.runtime.journal import Journal
    from classification.storage import ImageStore
    from classification.storage.places import Manner
    from detection.detectors import Detector
    from detection.image_files import ImageList
    from detection.models import ModelFile
    from detection.service.admission import Admission
    from detection.service.task_table import Task, TaskTable

STEP = "batch_service"
DETECTIONS, JOURNAL = "detections.json", "journal"
TRIES = 3
PAUSE_S = 60.0  # after which a task whose images could not be reached is tried again
_IDLE_S = 60.0

_logger = logging.getLogger(__name__)


class _EndedEarly(Exception):  # noqa: N818 - no error: the task is canceled, or the service ends
    """Nobody wants the rest of the task now."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The detector that all tasks go through.

    Attributes:
        model: where it is from.
        digest: of its files, as they were loaded.
        detector: the model, loaded.
        work: how to take images through it.
        options: how it is run.
    """

    model: ModelFile
    digest: str
    detector: Detector
    work: batches.Work
    options: detectors.Options

    def refuse_other(self, version: str) -> None:
        """Sees that the detector that a request expects is this one.

        Raises:
            ConfigurationError: it is another.
        """
        own = self.model.version
        if not version or own is None:
            return
        if {version, models.version_of(version)}.isdisjoint({self.model.name, own}):
            raise ConfigurationError(
                f"this service runs {self.model.name}, version {own}, not {version!r}"
            )

    def work_for(self, request: BatchRequest) -> batches.Work:
        """Returns how to take the images of a request through the detector."""
        if request.threshold is None:
            return self.work
        return replace(self.work, threshold=request.threshold)

    def key(self, images: ImageList, work: batches.Work) -> str:
        """Returns the digest of all that shapes the result."""
        options = self.options
        return journal.key(
            images=[images.digest],
            detector=[self.model.name, self.digest],
            options=[
                [STEP, work.threshold, work.batch_size, work.max_pixels],
                [options.image_size_px, options.head, options.device],
            ],
        )


@dataclass
class _Attempts:
    """How often a task could not be gone on with, and when to try again."""

    count: int = 0
    not_before: float = 0


@dataclass(kw_only=True)
class Worker:
    """Works until it is told to stop.

    Attributes:
        table: the tasks.
        folder: where the folders of tasks are.
        engine: the detector.
        admission: what may be read.
        manner: how servers are asked for images.
        pause_s: how long a task waits whose images could not be reached.
    """

    table: TaskTable
    folder: Path
    engine: Engine
    admission: Admission
    manner: Manner = DEFAULT_MANNER
    pause_s: float = PAUSE_S
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _attempts: dict[str, _Attempts] = field(default_factory=dict)
    _progress: tuple[str, str] = ("", "")

    def wake(self) -> None:
        """Says that there may be something to do."""
        self._wake.set()

    def stop(self) -> None:
        """Ends the work after the batch in hand."""
        self._stopped.set()
        self._wake.set()

    def run(self) -> None:
        """Works on tasks until it is stopped."""
        self._tidy()
        while not self._stopped.is_set():
            self._wake.clear()
            tasks = self.table.waiting()
            waits = [self._wait_of(task) for task in tasks]
            ready = [task for task, wait in zip(tasks, waits, strict=True) if not wait]
            if ready:
                self.work_on(ready[0])
            else:
                self._wake.wait(min(waits, default=_IDLE_S))

    def say(self, task: Task) -> str:
        """Returns how far a task is that has not ended."""
        doing, said = self._progress
        if doing == task.id:
            return said
        before = self.table.count_before(task)
        return f"it waits; tasks before it: {before}"

    def work_on(self, task: Task) -> None:
        """Does a task, or as much of it as can be done now."""
        began = time.monotonic()
        _logger.info("task %s of %r begins: %s", task.id, task.caller, task.name)
        try:
            self._do(task)
        except _EndedEarly:
            self._leave(task)
        except StorageError as error:
            self._try_later(task, str(error))
        except PipelineError as error:
            self._end(task, batch_response.FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - the next task must not suffer from it
            self._end(task, batch_response.FAILED, _say_bug(error))
        finally:
            self._progress = ("", "")
        _logger.info("task %s: %.1f s", task.id, time.monotonic() - began)

    def _wait_of(self, task: Task) -> float:
        """Returns how many seconds a task is not to be tried yet."""
        attempts = self._attempts.get(task.id)
        now = time.monotonic()
        return 0.0 if attempts is None else max(0.0, attempts.not_before - now)

    def _do(self, task: Task) -> None:
        self._progress = (task.id, "it looks for its images")
        asked = self.table.request_of(task)
        if asked is None:
            raise _EndedEarly
        self.engine.refuse_other(asked.model_version)
        request = sources.fix(asked, self.admission, self.manner)
        if request is not asked:
            self.table.replace_request(task, request)
        folder = self.folder / task.id
        log = self._start_log(task, request)
        with (
            sources.opened(request, self.admission, self.manner) as (images, store),
            self._journal(folder / JOURNAL, images, request) as kept,
        ):
            # Images without an answer are waited for, until the last try; then a few of
            # them are failed ones, and many in a row end the task.
            lenient = LenientStore(store) if self._is_last_try(task) else store
            self._detect(task, request, images, lenient, kept, log)
            header = detections.Header(
                detection_categories=self.engine.detector.categories,
                info=journaled.info(self.engine.model),
            )
            documents = journaled.documents(kept, log)
            with together():
                sha256 = detections.write(folder / DETECTIONS, header, documents)
                image_contents.tell(
                    folder / DETECTIONS,
                    journaled.images(kept),
                    detector=self.engine.digest,
                    sha256=sha256,
                )
            step_log.write(folder, log)
            self._end(task, batch_response.COMPLETED)
            kept.remove()  # after the table knows; without both, all would be done again

    @contextmanager
    def _journal(
        self, path: Path, images: ImageList, request: BatchRequest
    ) -> Iterator[Journal]:
        """Opens the journal; what another detector found is thrown away."""
        key = self.engine.key(images, self.engine.work_for(request))
        try:
            kept = journal.Journal.open(path, key=key)
        except ConfigurationError:
            _logger.info("%s: of another detector or options; begun again", path)
            kept = journal.Journal.open(path, key=key, restart=True)
        with kept:
            yield kept

    def _detect(  # noqa: PLR0913, PLR0917 - what a task consists of
        self,
        task: Task,
        request: BatchRequest,
        images: ImageList,
        store: ImageStore,
        kept: Journal,
        log: step_log.StepLog,
    ) -> None:
        work, total = self.engine.work_for(request), len(images)
        known = journaled.check(
            kept,
            journaled.latest(kept, images),
            store,
            verify=False,
            threads=work.threads,
        )
        done = earlier = len(known.done)
        detected = 0
        self._progress = (task.id, f"{done} of {total} images are done")
        for results in batches.detect(
            self.engine.detector, images, work, done=known.done, load=store.load
        ):
            kept.append(msgspec.to_builtins(result) for result in results)
            detected += len(results)
            done = min(total, earlier + detected)
            self._progress = (task.id, f"{done} of {total} images are done")
            if self._stopped.is_set() or self._is_canceled(task):
                raise _EndedEarly
        log.counts |= {
            "images_of_earlier_runs": earlier,
            "images_of_this_run": detected,
            "images_changed": known.changed,
        }

    def _start_log(self, task: Task, request: BatchRequest) -> step_log.StepLog:
        work = self.engine.work_for(request)
        return step_log.StepLog(
            step=STEP,
            options={
                "task": task.id,
                "request_name": task.name,
                "caller": task.caller,
                "model": self.engine.model.name,
                "place": shown(request.place),
                "threshold": work.threshold,
                "batch_size": work.batch_size,
                "max_pixels": work.max_pixels,
                "device": self.engine.options.device,
            },
        )

    def _is_canceled(self, task: Task) -> bool:
        found = self.table.find(task.id)
        return found is None or found.has_ended

    def _end(self, task: Task, state: str, message: str = "") -> None:
        said = one_line(without_tokens(message))
        self._attempts.pop(task.id, None)
        if not self.table.end(task, state, said):
            state = batch_response.CANCELED  # in the last moment
        _logger.info("task %s is %s%s", task.id, state, f": {said}" if said else "")

    def _is_last_try(self, task: Task) -> bool:
        attempts = self._attempts.get(task.id)
        return attempts is not None and attempts.count == TRIES - 1

    def _try_later(self, task: Task, reason: str) -> None:
        attempts = self._attempts.setdefault(task.id, _Attempts())
        attempts.count += 1
        attempts.not_before = time.monotonic() + self.pause_s
        if attempts.count == TRIES:
            self._end(
                task, batch_response.PROBLEM, f"{reason} (try {TRIES} of {TRIES})"
            )
        else:
            said = one_line(without_tokens(reason))
            _logger.info("task %s is tried again later: %s", task.id, said)

    def _leave(self, task: Task) -> None:
        if self._is_canceled(task):
            (self.folder / task.id / JOURNAL).unlink(missing_ok=True)
            _logger.info("task %s was canceled", task.id)
        else:
            _logger.info("task %s goes on at the next start", task.id)

    def _tidy(self) -> None:
        """Removes the journals of tasks that ended right before the service did."""
        for path in self.folder.glob(f"*/{JOURNAL}"):
            task = self.table.find(path.parent.name)
            if task is not None and task.has_ended:
                path.unlink(missing_ok=True)


def _say_bug(error: Exception) -> str:
    """Says where a bug is, without its text, which may quote an address."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"unexpected error; this is a bug ({type(error).__name__} at {place})"
