from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import (
    batch_tasks,
    detection_cache,
    detections,
    image_list,
)
from classification.artifacts.batch_tasks import BatchTask
from classification.artifacts.step_log import StepLog
from classification.runtime import locking
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    PipelineError,
    StorageError,
)
from detection import remote_filling
from detection.batch_client import Client, RefusedError
from detection.filling import DETECTED, FAILED, OF_EARLIER_RUNS
from detection.remote_filling import Options, Polling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

BOX = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.5, 0.5]}
FILES = {"a": ["0.jpg", "1.jpg", "2.jpg"], "b": ["0.jpg"]}
POLLING = Polling(first_s=0.001, most_s=0.01, limit_s=0.2)


class Killed(BaseException):
    pass


@dataclass
class Scripted:
    """A service that says of each task what a test wants, and notes what it is asked.

    Attributes:
        url: its address.
        bodies: what was submitted, by task.
        states: what to say of each task, in turn, the last for ever; a state, a status
            of HTTP, or "gone" for a connection that breaks.
        refuse: answers of POST before it takes one, as statuses of HTTP.
        asked: tasks asked for, in order.
        detector: whose boxes it sends.
        leave_out: names it says nothing of.
    """

    url: str = ""
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: dict[str, list[str | int]] = field(default_factory=dict)
    refuse: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    detector: str = "md_v7.onnx"
    leave_out: tuple[str, ...] = ()
    on_submit: Callable[[], object] = lambda: None

    def take(self, body: dict[str, Any]) -> tuple[int, object]:
        self.on_submit()
        if self.refuse:
            return self.refuse.pop(0), {"error": "not now"}
        task_id = f"t{len(self.bodies)}"
        self.bodies[task_id] = body
        return 200, {"request_id": task_id}

    def say(self, path: str) -> tuple[int | str, object]:
        task_id = path.partition("?")[0].split("/")[2]
        if path.endswith("/detections.json"):
            return 200, self.found(self.bodies[task_id]["images"])
        self.asked.append(task_id)
        states = self.states.get(task_id, ["completed"])
        state = states.pop(0) if len(states) > 1 else states[0]
        if isinstance(state, int) or state == "gone":
            return state, {"error": "not now"}
        message: object = f"it is {state}"
        if state == "completed":
            urls = {"detections": f"{self.url}/task/{task_id}/detections.json"}
            message = {"num_failed_shards": 0, "output_file_urls": urls}
        status = {"request_status": state, "message": message}
        return 200, {"TaskId": task_id, "Status": status}

    def found(self, names: Sequence[str]) -> dict[str, object]:
        images = [
            {"file": name, "detections": [BOX]}
            for name in sorted(names)
            if name not in self.leave_out
        ]
        return {
            "info": {"format_version": "1.6", "detector": self.detector},
            "detection_categories": {"1": "animal"},
            "images": images,
        }


@contextmanager
def running(scripted: Scripted) -> Iterator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(*scripted.say(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*scripted.take(json.loads(body)))

        def answer(self, status: int | str, document: object) -> None:
            if status == "gone":
                return
            body = json.dumps(document).encode()
            self.send_response(int(status))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        scripted.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield scripted
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def service() -> Iterator[Scripted]:
    with running(Scripted()) as scripted:
        yield scripted


@pytest.fixture
def options(tmp_path: Path, service: Scripted) -> Options:
    return Options(
        client=Client(url=service.url),
        cache_dir=tmp_path / "cache",
        detector_version="7",
        model_version="7",
        tasks=tmp_path / "out" / "tasks.json",
        folder=tmp_path / "out",
        places={"a": ["/data/a"], "b": ["https://x.example/b?sig=SECRET"], "c": ["/c"]},
        polling=POLLING,
    )


def fill(
    options: Options,
    files: Mapping[str, Sequence[str]] = FILES,
    log: StepLog | None = None,
) -> StepLog:
    log = log or StepLog(step="test")
    with remote_filling.filled(files, [], options, log):
        pass
    return log


def cached(options: Options, dataset: str) -> list[str]:
    file = detection_cache.open_file(options.cache_dir, "7", dataset)
    return [image.file for image in file.images()]


def left(options: Options) -> list[str]:
    return sorted(path.name for path in options.folder.rglob("*") if path.is_file())


def test_each_dataset_is_a_task_and_ends_in_the_cache(
    service: Scripted, options: Options
) -> None:
    log = fill(replace(options, caller="jane", threshold=0.3))
    bodies = list(service.bodies.values())
    names = [body.pop("request_name") for body in bodies]
    assert [name[:25] for name in names] == [
        "detect_for_classifier_a_" + names[0][24],
        "detect_for_classifier_b_" + names[1][24],
    ]
    said = {"caller": "jane", "model_version": "7", "threshold": 0.3}
    assert bodies == [
        said | {"images_dir": "/data/a", "images": FILES["a"]},
        said
        | {
            "input_container_sas": "https://x.example/b?sig=SECRET",
            "images": FILES["b"],
        },
    ]
    assert {dataset: cached(options, dataset) for dataset in FILES} == FILES
    assert log.counts == {DETECTED: 4, FAILED: 0, OF_EARLIER_RUNS: 0}
    assert log.extra["images_submitted_for_detection"] == [
        "a/0.jpg",
        "a/1.jpg",
        "a/2.jpg",
        "b/0.jpg",
    ]
    assert not options.tasks.exists()
    assert left(options) == []
    assert list(options.folder.iterdir()) == []


def test_inside_the_block_the_resume_file_is_there_and_stays_if_it_fails(
    options: Options,
) -> None:
    log = StepLog(step="test")
    with (
        suppress(Killed),
        remote_filling.filled(FILES, [], options, log),
    ):
        assert cached(options, "a") == FILES["a"]
        raise Killed
    assert len(batch_tasks.read(options.tasks)) == 2
    again = fill(options, {})
    assert again.counts == {DETECTED: 4, FAILED: 0, OF_EARLIER_RUNS: 4}
    assert left(options) == []


def test_d37_each_id_is_saved_before_the_next_submission(
    service: Scripted, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_filling, "MOST_IMAGES", 2)
    saved: list[list[str]] = []

    def note() -> None:
        tasks = batch_tasks.read(options.tasks) if options.tasks.exists() else []
        saved.append([task.task_id for task in tasks])

    service.on_submit = note
    fill(options)
    assert saved == [[], ["t0"], ["t0", "t1"]]
    assert [body["images"] for body in service.bodies.values()] == [
        ["0.jpg", "1.jpg"],
        ["2.jpg"],
        ["0.jpg"],
    ]


@pytest.mark.parametrize("count", range(3))
def test_d37_killed_after_a_submission_it_submits_only_the_rest(
    service: Scripted, options: Options, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(remote_filling, "MOST_IMAGES", 2)

    def die() -> None:
        if len(service.bodies) == count:
            raise Killed

    with monkeypatch.context() as patch:
        submit = Client.submit

        def submit_or_die(self: Client, request: Any) -> str:  # noqa: ANN401 - passed on
            die()
            return submit(self, request)

        patch.setattr(Client, "submit", submit_or_die)
        with pytest.raises(Killed):
            fill(options)
    log = fill(options)
    assert len(service.bodies) == 3
    images = [name for body in service.bodies.values() for name in body["images"]]
    assert sorted(images) == ["0.jpg", "0.jpg", "1.jpg", "2.jpg"]
    assert {dataset: cached(options, dataset) for dataset in FILES} == FILES
    assert log.counts[DETECTED] == 4
    assert left(options) == []


def test_the_same_images_are_the_same_request(
    service: Scripted, options: Options
) -> None:
    """So the service knows it, if the run was killed before it heard the id."""
    for _ in range(2):
        fill(options, {"a": FILES["a"]})
        for path in options.cache_dir.rglob("*.json"):
            path.unlink()
    first, second = service.bodies.values()
    assert first == second


def test_what_was_downloaded_is_not_asked_for_again(
    service: Scripted, options: Options
) -> None:
    log = StepLog(step="test")
    with (
        pytest.raises(Killed),
        remote_filling.filled(FILES, [], options, log),
    ):
        raise Killed
    service.asked.clear()
    fill(options)
    assert service.asked == []


def test_images_may_be_added_meanwhile(service: Scripted, options: Options) -> None:
    with (
        pytest.raises(Killed),
        remote_filling.filled(FILES, [], options, StepLog(step="test")),
    ):
        raise Killed
    more = {"a": [*FILES["a"], "3.jpg"], "c": ["0.jpg"]}
    fill(options, more)
    assert [body["images"] for body in service.bodies.values()][2:] == [
        ["3.jpg"],
        ["0.jpg"],
    ]
    assert cached(options, "a") == more["a"]


def test_restart_submits_everything_again(service: Scripted, options: Options) -> None:
    with (
        pytest.raises(Killed),
        remote_filling.filled(FILES, [], options, StepLog(step="test")),
    ):
        raise Killed
    log = fill(replace(options, restart=True))
    assert len(service.bodies) == 4
    assert log.counts[OF_EARLIER_RUNS] == 0


# Answers that fail


@pytest.mark.parametrize("failure", [404, 429, 500, 502, 503, "gone"])
def test_d38_a_failing_status_call_never_drops_a_task(
    service: Scripted, options: Options, failure: str | int
) -> None:
    service.states["t0"] = [
        failure,
        "running",
        failure,
        failure,
        "created",
        "completed",
    ]
    log = fill(options)
    assert service.asked.count("t0") == 6
    assert service.asked.count("t1") == 1
    assert log.counts[DETECTED] == 4


def test_d38_a_task_that_is_never_answered_stays_for_the_next_run(
    service: Scripted, options: Options
) -> None:
    service.states["t0"] = [500]
    with pytest.raises(StorageError) as ended:
        fill(options)
    assert str(ended.value) == (
        f"1 of 2 tasks in {options.tasks} have no known end; run again to ask again, or "
        f"with --restart to submit their images once more: t0: {service.url}: HTTP 500: "
        "not now"
    )
    assert cached(options, "b") == FILES["b"]  # the other one is not lost
    service.states["t0"] = ["completed"]
    fill(options, {"a": FILES["a"]})
    assert len(service.bodies) == 2
    assert cached(options, "a") == FILES["a"]


@pytest.mark.parametrize("state", ["failed", "problem", "canceled"])
def test_d38_a_task_that_ended_badly_is_listed_and_submitted_by_the_next_run(
    service: Scripted,
    options: Options,
    state: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service.states["t0"] = ["running", state]
    log = fill(options)
    remark = f"'{state}' (it is {state}); its 3 images are without boxes"
    assert log.notes == [("task t0 of a", remark)]
    assert f"task t0 of a: {remark}" in caplog.text
    assert log.counts == {DETECTED: 1, FAILED: 3, OF_EARLIER_RUNS: 0}
    assert log.failures[0] == ("a/0.jpg", f"task t0 is {state}")
    assert left(options) == []
    fill(options, {"a": FILES["a"]})
    assert cached(options, "a") == FILES["a"]


def test_d38_a_state_that_nobody_knows_is_listed_and_kept(
    service: Scripted, options: Options
) -> None:
    service.states |= {"t0": ["paused"], "t1": ["failed"]}
    with pytest.raises(
        StorageError, match=r"t0: its state is 'paused' \(it is paused\)$"
    ):
        fill(options)
    (task,) = batch_tasks.read(options.tasks)  # the one that failed is submitted again
    assert task.task_id == "t0"
    service.states.clear()
    fill(options)
    assert [body["images"] for body in service.bodies.values()][2:] == [FILES["b"]]


def test_a_submission_is_tried_again(service: Scripted, options: Options) -> None:
    service.refuse = [503, 429, 502]
    fill(options)
    assert len(service.bodies) == 2


def test_a_submission_is_not_tried_for_ever(
    service: Scripted, options: Options
) -> None:
    service.refuse = [503] * 10_000
    with pytest.raises(StorageError, match="HTTP 503: not now"):
        fill(options)
    assert left(options) == ["task_list_a_" + left(options)[0][12:]]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_the_service_refuses_ends_the_run_and_keeps_its_tasks(
    service: Scripted, options: Options, status: int
) -> None:
    def refuse_second() -> None:
        if len(service.bodies) == 1:
            service.refuse = [status]

    service.on_submit = refuse_second
    with pytest.raises(RefusedError, match=f"HTTP {status}: not now"):
        fill(options)
    assert [task.dataset for task in batch_tasks.read(options.tasks)] == ["a"]


# What was found


def test_boxes_of_another_detector_are_not_mixed_in(
    service: Scripted, options: Options
) -> None:
    fill(options, {"a": ["0.jpg"]})
    file = detection_cache.open_file(options.cache_dir, "7", "a")
    service.detector = "md_v4.1.0.pb"
    with (
        pytest.raises(
            ConfigurationError, match=r"holds boxes of md_v7\.onnx, not of md_v4"
        ),
        remote_filling.filled({"a": ["1.jpg"]}, [file], options, StepLog(step="test")),
    ):
        pass
    assert cached(options, "a") == ["0.jpg"]


def test_an_answer_of_other_images_is_noted(
    service: Scripted, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Scripted.found
    monkeypatch.setattr(
        Scripted, "found", lambda self, names: found(self, [*names, "../../evil.jpg"])
    )
    service.leave_out = ("1.jpg",)
    log = fill(options, {"a": FILES["a"]})
    assert cached(options, "a") == ["0.jpg", "2.jpg"]
    assert log.notes == [
        ("task t0 of a", "1 of its images are not in the answer, and 1 others are")
    ]


@pytest.mark.parametrize("content", ["[]", '{"images": []}', "{"])
def test_detections_that_are_none_are_downloaded_again(
    service: Scripted,
    options: Options,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
) -> None:
    fetch = remote_filling.download.fetch
    fetched: list[str] = []

    def fetch_badly(url: str, target: Path) -> None:
        fetched.append(url)
        fetch(url, target)
        if len(fetched) < 3:
            target.write_text(content)

    monkeypatch.setattr(remote_filling.download, "fetch", fetch_badly)
    assert fill(options).counts[DETECTED] == 4
    assert len(fetched) == 4
    assert len(service.bodies) == 2


def test_detections_that_are_never_any_are_one_line(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(_: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("[]")

    monkeypatch.setattr(remote_filling.download, "fetch", fetch)
    with pytest.raises(StorageError, match=r"2 of 2 tasks .*/t0_detections\.json: "):
        fill(options)
    assert len(batch_tasks.read(options.tasks)) == 2


def test_a_resume_file_of_the_original_is_gone_on_from(
    service: Scripted, options: Options, tmp_path: Path
) -> None:
    listed = tmp_path / "task_list.json"
    image_list.write_json(listed, FILES["a"])
    service.bodies["t0"] = {"images": FILES["a"]}
    entry = {
        "dataset": "a",
        "task_name": "detect_for_classifier_a_20201231_task00",
        "task_id": "t0",
        "local_images_list_path": str(listed),
        "remote_images_list_url": "https://x/?sig=SECRET",
    }
    options.tasks.parent.mkdir(parents=True)
    options.tasks.write_text(json.dumps([entry]))
    fill(options)
    assert [body["images"] for body in service.bodies.values()] == [
        FILES["a"],
        FILES["b"],
    ]
    assert listed.exists()  # it is not ours
    assert cached(options, "a") == FILES["a"]


def test_a_list_of_a_task_that_is_gone_is_one_line(options: Options) -> None:
    task = BatchTask(
        dataset="a", task_name="x", task_id="t0", local_images_list_path="gone.json"
    )
    batch_tasks.write(options.tasks, [task])
    with pytest.raises(ArtifactError, match=r"gone\.json: cannot read"):
        fill(options)


def test_a_journal_is_no_list_of_tasks(options: Options) -> None:
    options.tasks.parent.mkdir(parents=True)
    options.tasks.write_text("ct-journal 1 x\n")
    with pytest.raises(ConfigurationError, match="is no list of tasks; name another"):
        fill(options)
    assert options.tasks.read_text() == "ct-journal 1 x\n"


def test_d39_two_runs_on_one_resume_file(service: Scripted, options: Options) -> None:
    with (
        locking.exclusive(options.tasks),
        pytest.raises(StorageError, match="another run is writing"),
    ):
        fill(options)
    assert service.bodies == {}


def test_nothing_to_detect_asks_nobody(service: Scripted, options: Options) -> None:
    fill(replace(options, client=Client(url="http://127.0.0.1:1")), {})
    assert service.asked == []
    assert not options.folder.exists()


def test_no_token_is_said_or_kept(
    service: Scripted, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    service.states["t1"] = [500, "paused"]
    said = ""
    client = Client(url=f"{service.url}?sig=SECRET", token="SECRET")  # noqa: S106 - of no service
    log = StepLog(step="test")
    with pytest.raises(PipelineError) as ended:
        fill(replace(options, client=client), log=log)
    for path in options.folder.rglob("*"):
        said += path.read_text() if path.is_file() else ""
    said += caplog.text + str(ended.value) + str(log.to_dict()) + repr(options)
    assert "SECRET" not in said
    assert "paused" in said


# Parts


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("/data", "/data/My Set"),
        ("/data/", "/data/My Set"),
        ("https://x/y", "https://x/y/My%20Set"),
        ("https://x/y/?sv=1", "https://x/y/My%20Set?sv=1"),
        ("https://x", "https://x/My%20Set"),
    ],
)
def test_the_place_of_a_dataset(where: str, place: str) -> None:
    assert remote_filling.place_below(where, "My Set") == place


def test_of_several_folders_it_is_the_one_that_holds_the_file(tmp_path: Path) -> None:
    for name in ("one/a.jpg", "two/b.jpg", "two/a.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    one, two = f"{tmp_path}/one", f"{tmp_path}/two"
    files = ["a.jpg", "b.jpg", "gone.jpg"]
    assert list(remote_filling._split(files, [one, two])) == [
        (one, ["a.jpg"]),
        (two, ["b.jpg", "gone.jpg"]),
    ]
    assert list(remote_filling._split(files, [two])) == [(two, files)]
    with pytest.raises(ConfigurationError, match="not known where the service finds"):
        list(remote_filling._split(files, []))


def test_a_task_holds_so_many_images_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(remote_filling._chunks([])) == []
    monkeypatch.setattr(remote_filling, "MOST_IMAGES", 3)
    assert list(map(len, remote_filling._chunks(["a"] * 7))) == [3, 3, 1]
    monkeypatch.setattr(remote_filling, "MOST_BYTES", 10)
    assert list(remote_filling._chunks(["aa", "éé", "x" * 50, "b"])) == [
        ["aa"],
        ["éé"],
        ["x" * 50],
        ["b"],
    ]


def test_names_of_tasks_fit() -> None:
    name = remote_filling._name("Ünï (x) " * 20, "0123abcd_task00")
    assert len(name) == 92
    assert name.endswith("_0123abcd_task00")
    assert name.startswith("detect_for_classifier__n___x___")


def test_pauses_grow_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(remote_filling.time, "sleep", slept.append)
    pauses = remote_filling._Pauses(Polling(first_s=1, most_s=10))
    for _ in range(50):
        pauses.sleep()
    assert 0.5 <= slept[0] <= 1
    assert all(5 <= pause <= 10 for pause in slept[10:])
    assert len(set(slept)) == 50


def test_what_is_found_is_read_as_any_detections_are(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(Scripted().found(["a.jpg"])))
    assert detections.open_file(path).image_count == 1
