from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from classification.artifacts.batch_request import BatchRequest
from classification.runtime.errors import ConfigurationError, StorageError
from classification.storage.outage import IN_A_ROW
from classification.storage.places import Manner
from classification.storage.retrying import Patience
from detection import batches, run_detector_batch
from detection.service import worker as worker_module
from detection.service.admission import Admission
from detection.service.task_table import FILENAME, TaskTable
from detection.service.worker import TRIES, Engine, Worker
from tests.detection.detectors.graphs import red_detector
from tests.serving import draw, engine
from tests.web import Reply, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from detection.service.task_table import Task


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return red_detector(tmp_path_factory.mktemp("model") / "md_red_v9.0.onnx")


@pytest.fixture(scope="module")
def loaded(network: Path) -> Engine:
    return engine(network)


class Desk:
    """A worker with a folder of images, all in one process."""

    def __init__(self, base: Path, table: TaskTable, loaded: Engine) -> None:
        self.base = base
        self.photos = base / "photos"
        self.names = draw(self.photos, 6)
        self.table = table
        self.worker = self.hire(loaded)

    def hire(self, loaded: Engine, *urls: str) -> Worker:
        return Worker(
            table=self.table,
            folder=self.base / "served",
            engine=loaded,
            admission=Admission.of([self.photos], urls),
            manner=Manner(patience=Patience(silence_s=5, tries=1)),
            pause_s=0,
        )

    def submit(self, **said: Any) -> Task:  # noqa: ANN401 - fields of any type
        request = BatchRequest(**{"place": str(self.photos)} | said)
        return self.table.submit(request)[0]

    def state(self, task: Task) -> tuple[str, str]:
        found = self.table.find(task.id)
        assert found is not None
        return found.state, found.message

    def result(self, task: Task) -> bytes:
        return (self.base / "served" / task.id / "detections.json").read_bytes()

    def log(self, task: Task) -> dict[str, Any]:
        (path,) = (self.base / "served" / task.id).glob("batch_service_log_*.json")
        document: dict[str, Any] = json.loads(path.read_bytes())
        return document

    def journal(self, task: Task) -> Path:
        return self.base / "served" / task.id / "journal"


@pytest.fixture
def desk(tmp_path: Path, loaded: Engine) -> Iterator[Desk]:
    with TaskTable.open(tmp_path / "served" / FILENAME) as table:
        yield Desk(tmp_path, table, loaded)


def test_it_finds_what_run_detector_batch_finds(desk: Desk, network: Path) -> None:
    task = desk.submit()
    desk.worker.work_on(task)
    assert desk.state(task) == ("completed", "")
    output = desk.base / "detections.json"
    flags = ("--recursive", "--output_relative_filenames", "--device", "cpu")
    line = [str(network), str(desk.photos), str(output), *flags]
    assert run_detector_batch.main(line) == 0
    assert desk.result(task) == output.read_bytes()
    assert not desk.journal(task).exists()


def test_the_log_tells_how_it_went(desk: Desk) -> None:
    (desk.photos / "a/broken.jpg").write_bytes(b"x")
    task = desk.submit(name="x", caller="jane")
    desk.worker.work_on(task)
    log = desk.log(task)
    assert log["options"]["caller"] == "jane"
    assert log["counts"]["images_of_this_run"] == log["counts"]["images"] == 7
    assert log["counts"]["failed"] == 1
    assert [item["item"] for item in log["failures"]] == ["a/broken.jpg"]


def test_a_task_may_ask_for_a_threshold(desk: Desk) -> None:
    low, high = desk.submit(), desk.submit(threshold=0.6)
    for task in (low, high):
        desk.worker.work_on(task)
    assert desk.result(low).count(b'"conf"') > desk.result(high).count(b'"conf"') > 0


@contextmanager
def stopping_after(worker: Worker, images: int) -> Iterator[None]:
    """Ends the worker's work, in its block, once so many images are done."""
    detect = batches.detect

    def stop(*args: Any, **kwargs: Any) -> Iterator[list[batches.Result]]:  # noqa: ANN401 - passed on
        done = len(kwargs["done"])
        for results in detect(*args, **kwargs):
            done += len(results)
            if done >= images:
                worker.stop()
            yield results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "detect", stop)
        yield


def test_a_worker_that_was_stopped_goes_on_from_the_journal(
    desk: Desk, loaded: Engine
) -> None:
    whole = desk.submit(name="whole")
    desk.worker.work_on(whole)
    task = desk.submit()
    first = desk.hire(loaded)
    with stopping_after(first, 4):
        first.run()
    assert desk.state(task) == ("running", "")
    for name in desk.names[:4]:
        os.utime(desk.photos / name, ns=(5, 5))  # not detected again
    (desk.photos / "a/new.jpg").write_bytes(
        b""
    )  # the images are those of the beginning
    second = desk.hire(loaded)
    second.work_on(task)
    assert desk.state(task) == ("completed", "")
    assert desk.result(task) == desk.result(whole)
    counts = desk.log(task)["counts"]
    assert (counts["images_of_earlier_runs"], counts["images_of_this_run"]) == (4, 2)


def test_an_image_that_changed_meanwhile_is_detected_anew(
    desk: Desk, loaded: Engine
) -> None:
    task = desk.submit()
    first = desk.hire(loaded)
    with stopping_after(first, 4):
        first.run()
    Image.new("RGB", (40, 30), (250, 9, 9)).save(desk.photos / desk.names[0])
    desk.hire(loaded).work_on(task)
    fresh = desk.submit(name="fresh")
    desk.worker.work_on(fresh)
    assert desk.result(task) == desk.result(fresh)
    counts = desk.log(task)["counts"]
    assert (counts["images_of_earlier_runs"], counts["images_changed"]) == (3, 1)


def test_killed_between_the_result_and_the_table_it_ends_with_the_same_bytes(
    desk: Desk, loaded: Engine
) -> None:
    task = desk.submit()

    def die(*_: object) -> None:
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_end", die)
        with pytest.raises(SystemExit):
            desk.worker.work_on(task)
    before = desk.result(task)
    again = desk.hire(loaded)
    again.work_on(task)
    assert desk.result(task) == before
    assert desk.state(task) == ("completed", "")


def test_a_journal_that_a_kill_left_behind_is_removed(
    desk: Desk, loaded: Engine
) -> None:
    task, waiting = desk.submit(), desk.submit(name="other")
    desk.worker.work_on(task)
    for one in (task, waiting):
        desk.journal(one).parent.mkdir(exist_ok=True)
        desk.journal(one).touch()
    worker = desk.hire(loaded)
    worker.stop()
    worker.run()
    assert not desk.journal(task).exists()
    assert desk.journal(waiting).exists()


def test_another_detector_begins_again(desk: Desk, loaded: Engine) -> None:
    task = desk.submit()
    first = desk.hire(loaded)
    with stopping_after(first, 4):
        first.run()
    second = desk.hire(replace(loaded, work=replace(loaded.work, threshold=0.7)))
    second.work_on(task)
    assert desk.log(task)["counts"]["images_of_earlier_runs"] == 0


@pytest.mark.parametrize(
    ("version", "is_ours"),
    [
        ("9.0", True),
        ("md_red_v9.0.onnx", True),
        ("md_v9.0", True),
        ("", True),
        ("5a.0.0", False),
        ("5", False),
        ("x", False),
    ],
)
def test_the_detector_that_is_expected(
    loaded: Engine, version: str, is_ours: bool
) -> None:
    if is_ours:
        loaded.refuse_other(version)
        return
    with pytest.raises(ConfigurationError, match=r"this service runs md_red_v9\.0"):
        loaded.refuse_other(version)


def test_a_detector_without_a_version_is_taken_for_any(loaded: Engine) -> None:
    unknown = replace(loaded, model=replace(loaded.model, version=None))
    unknown.refuse_other("5a.0.0")


def test_tasks_are_done_in_the_order_of_submission(desk: Desk) -> None:
    begun: list[str] = []
    tasks = [desk.submit(name=name) for name in "cab"]
    work_on = desk.worker.work_on

    def note(task: Task) -> None:
        begun.append(task.name)
        work_on(task)
        if len(begun) == 3:
            desk.worker.stop()

    desk.worker.work_on = note  # type: ignore[method-assign]
    desk.worker.run()
    assert begun == ["c", "a", "b"]
    assert {desk.state(task)[0] for task in tasks} == {"completed"}


def test_it_wakes_for_a_new_task(desk: Desk) -> None:
    thread = threading.Thread(target=desk.worker.run)
    thread.start()
    time.sleep(0.05)
    task = desk.submit()
    desk.worker.wake()
    end_s = time.monotonic() + 30
    while desk.state(task)[0] == "running" and time.monotonic() < end_s:
        time.sleep(0.01)
    desk.worker.stop()
    thread.join(30)
    assert desk.state(task)[0] == "completed"


def test_a_canceled_task_ends_at_its_next_batch(desk: Desk) -> None:
    task = desk.submit()
    detect = batches.detect

    def cancel(*args: Any, **kwargs: Any) -> Iterator[list[batches.Result]]:  # noqa: ANN401 - passed on
        for results in detect(*args, **kwargs):
            desk.table.end(task, "canceled")
            yield results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "detect", cancel)
        desk.worker.work_on(task)
    assert desk.state(task)[0] == "canceled"
    assert not desk.journal(task).exists()
    desk.worker.work_on(task)  # as where it is canceled right before it begins
    assert desk.state(task)[0] == "canceled"


def test_a_task_that_cannot_be_done_is_failed_and_the_next_goes_on(desk: Desk) -> None:
    empty = desk.photos / "empty"
    empty.mkdir()
    failing = desk.submit(place=str(empty))
    desk.worker.work_on(failing)
    assert desk.state(failing) == ("failed", f"no images in {empty}")
    other = desk.submit()
    desk.worker.work_on(other)
    assert desk.state(other)[0] == "completed"


def test_a_bug_is_said_without_what_it_quotes(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("https://a.example/?sig=SECRET")

    task = desk.submit()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_module.sources, "fix", fail)
        desk.worker.work_on(task)
    state, message = desk.state(task)
    assert state == "failed"
    assert "ZeroDivisionError at test_worker.py:" in message
    assert "SECRET" not in message + caplog.text


def test_a_server_that_is_out_of_reach_is_asked_again_later(
    desk: Desk, loaded: Engine
) -> None:
    images = [f"{number:03}.jpg" for number in range(IN_A_ROW + 5)]
    with serving(Reply(b"", 503)) as web:
        worker = desk.hire(loaded, web.url)
        task = desk.submit(place=f"{web.url}/x?sig=SECRET", images=images)
        for _ in range(TRIES - 1):
            worker.work_on(task)
            assert desk.state(task) == ("running", "")
        worker.work_on(task)
    state, message = desk.state(task)
    assert state == "problem", message
    assert message.startswith(f"{IN_A_ROW} images in a row could not be reached")
    assert message.endswith(f"(try {TRIES} of {TRIES})")
    assert "SECRET" not in message


def test_an_image_that_its_server_never_gives_is_a_failed_one(
    desk: Desk, loaded: Engine
) -> None:
    image = (desk.photos / desk.names[0]).read_bytes()
    with serving(
        Reply(b"", 503), Reply(b"", 503), Reply(b"", 503), Reply(image)
    ) as web:
        worker = desk.hire(
            replace(loaded, work=replace(loaded.work, threads=1)), web.url
        )
        task = desk.submit(place=web.url, images=["a.jpg", "b.jpg"])
        for _ in range(TRIES):
            assert desk.state(task)[0] == "running"
            worker.work_on(task)
    assert desk.state(task) == ("completed", "")
    assert web.asked == ["/a.jpg"] * TRIES + ["/b.jpg"]
    (failure,) = desk.log(task)["failures"]
    assert failure["item"] == "a.jpg"
    assert "HTTP 503" in failure["reason"]


def test_it_waits_no_longer_than_a_task_has_to(desk: Desk, loaded: Engine) -> None:
    worker = desk.hire(loaded)
    worker.pause_s = 0.2
    fix = worker_module.sources.fix
    calls: list[float] = []

    def fail_once(*args: Any) -> BatchRequest:  # noqa: ANN401 - passed on
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise StorageError("out of reach")
        worker.stop()
        return fix(*args)

    desk.submit()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_module.sources, "fix", fail_once)
        worker.run()
    assert 0.2 <= calls[1] - calls[0] < 5


def test_how_far_a_task_is(desk: Desk) -> None:
    first, second = desk.submit(), desk.submit(name="other")
    assert desk.worker.say(first) == "it waits; tasks before it: 0"
    assert desk.worker.say(second) == "it waits; tasks before it: 1"
    said: list[str] = []
    detect = batches.detect

    def listen(*args: Any, **kwargs: Any) -> Iterator[list[batches.Result]]:  # noqa: ANN401 - passed on
        for results in detect(*args, **kwargs):
            said.append(desk.worker.say(first))
            yield results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "detect", listen)
        desk.worker.work_on(first)
    assert said == [f"{done} of 6 images are done" for done in range(6)]
