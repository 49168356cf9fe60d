from __future__ import annotations

import json
import logging
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from classification.artifacts import batch_request, batch_response
from classification.runtime.errors import StorageError
from classification.storage.places import Manner
from classification.storage.retrying import Patience
from detection.service import http_api
from detection.service.admission import Admission
from detection.service.http_api import Api, Server
from detection.service.task_table import FILENAME, TaskTable
from detection.service.worker import Engine, Worker
from tests.detection.detectors.graphs import red_detector
from tests.serving import JSON, Answer, ask, draw, engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "a-token-of-the-tests-0123456789"  # noqa: S105 - of no service
BEARER = JSON | {"Authorization": f"Bearer {TOKEN}"}
SUBMIT, CANCEL = "/request_detections", "/cancel_request"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine(red_detector(tmp_path_factory.mktemp("model") / "md_red_v9.0.onnx"))


class Desk:
    """A listening service whose worker works when it is told to."""

    def __init__(self, server: Server, worker: Worker, photos: Path) -> None:
        self.url = server.url
        self.server = server
        self.worker = worker
        self.photos = photos

    def post(self, path: str, body: object, headers: Any = JSON) -> Answer:  # noqa: ANN401 - a mapping
        return ask(self.url + path, "POST", body, headers)

    def get(self, path: str, headers: Any = JSON) -> Answer:  # noqa: ANN401 - likewise
        return ask(self.url + path, headers=headers)

    def submit(self, **more: object) -> str:
        body = {"images_dir": str(self.photos), "caller": "jane", **more}
        headers = BEARER if self.server.api.token else JSON
        answer = self.post(SUBMIT, body, headers)
        assert answer.status == 200, answer
        return str(answer.document["request_id"])

    def work(self) -> None:
        for task in self.worker.table.waiting():
            self.worker.work_on(task)

    def raw(self, request: bytes) -> bytes:
        """Sends bytes as they are, and returns the answer; empty if it is closed on."""
        parts = urlsplit(self.url)
        answer = b""
        with (
            socket.create_connection((parts.hostname, parts.port), timeout=20) as line,
            suppress(ConnectionError),
        ):
            line.sendall(request)
            while chunk := line.recv(1 << 16):
                answer += chunk
        return answer


@contextmanager
def serving(base: Path, loaded: Engine, **said: str) -> Iterator[Desk]:
    draw(base / "photos", 3)
    with TaskTable.open(base / "served" / FILENAME) as table:
        worker = Worker(
            table=table,
            folder=base / "served",
            engine=loaded,
            admission=Admission.of([base / "photos"], ["http://127.0.0.1:1/pub"]),
        )
        api = Api(table=table, worker=worker, **said)
        with Server("127.0.0.1", 0, api) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield Desk(server, worker, base / "photos")
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture
def desk(tmp_path: Path, loaded: Engine) -> Iterator[Desk]:
    with serving(tmp_path, loaded) as desk:
        yield desk


@pytest.fixture
def guarded(tmp_path: Path, loaded: Engine) -> Iterator[Desk]:
    with serving(tmp_path, loaded, token=TOKEN) as desk:
        yield desk


# What is answered


def test_a_task_from_submission_to_detections(desk: Desk) -> None:
    task_id = desk.submit(request_name="x")
    assert desk.get(f"/task/{task_id}").document == {
        "TaskId": task_id,
        "Status": {
            "request_status": "running",
            "message": "it waits; tasks before it: 0",
        },
    }
    early = desk.get(f"/task/{task_id}/detections.json")
    assert early.status == 404
    assert early.error == f"task {task_id} has no detections: it is running"
    desk.work()
    response = batch_response.from_dict(desk.get(f"/task/{task_id}").document)
    assert response.task == task_id
    assert response.failed_shards == 0
    assert response.detections_url == f"{desk.url}/task/{task_id}/detections.json"
    found = ask(response.detections_url)
    assert found.headers["Content-Type"] == "application/json"
    assert found.headers["Cache-Control"] == "no-store"
    assert len(found.document["images"]) == 3
    path = desk.worker.folder / task_id / "detections.json"
    assert found.body == path.read_bytes()


def test_detections_that_were_deleted_are_not_found(desk: Desk) -> None:
    task_id = desk.submit()
    desk.work()
    (desk.worker.folder / task_id / "detections.json").unlink()
    assert desk.get(f"/task/{task_id}/detections.json").status == 404


def test_a_task_that_failed_says_why(desk: Desk) -> None:
    (desk.photos / "empty").mkdir()
    task_id = desk.submit(images_dir=f"{desk.photos}/empty")
    desk.work()
    status = desk.get(f"/task/{task_id}").document["Status"]
    assert status == {
        "request_status": "failed",
        "message": f"no images in {desk.photos}/empty",
    }


def test_a_task_may_be_canceled(desk: Desk) -> None:
    task_id = desk.submit()
    assert desk.post(CANCEL, {"request_id": task_id}).status == 200
    desk.work()
    status = desk.get(f"/task/{task_id}").document["Status"]
    assert status["request_status"] == "canceled"
    assert desk.post(CANCEL, {"request_id": "none"}).status == 404
    assert desk.post(CANCEL, {"request_id": "../x"}).status == 400
    assert desk.post(CANCEL, [1]).status == 400


def test_the_same_request_is_one_task(desk: Desk) -> None:
    assert desk.submit() == desk.submit()
    assert desk.submit() != desk.submit(request_name="other")


def test_a_list_that_was_checked_is_not_checked_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = desk.submit()
    monkeypatch.setattr(http_api.sources, "check", None)
    assert desk.submit() == task_id


def test_the_public_address_is_told(tmp_path: Path, loaded: Engine) -> None:
    with serving(tmp_path, loaded, public_url="https://gpu.example/md") as desk:
        task_id = desk.submit()
        desk.work()
        message = desk.get(f"/task/{task_id}").document["Status"]["message"]
        assert message["output_file_urls"]["detections"] == (
            f"https://gpu.example/md/task/{task_id}/detections.json"
        )


# What is refused


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"images": [NaN]}', 400, "NaN is not a JSON number"),
        (b'{"images_dir": "/a", "images_dir": "/b"}', 400, "key appears twice"),
        (b"\xff\xfe", 400, "not JSON"),
        ([1], 400, "expected an object"),
        ({}, 400, "names no images"),
        ({"images": []}, 400, "images: a list of 1 to 1000000 images expected"),
        ({"images": "a.jpg"}, 400, "images: a list"),
        ({"images": [1]}, 400, "images[0]: a text"),
        ({"images": ["/a\0.jpg"]}, 400, "images[0]: a text"),
        ({"images": ["/\ud800.jpg"]}, 400, "images[0]: half of a character"),
        ({"images": ["/etc/passwd"]}, 403, "images[0]: '/etc/passwd' is in no "),
        ({"images": ["file:///etc/passwd"]}, 403, "only absolute paths"),
        ({"images": ["http://169.254.169.254/a"]}, 403, "below no --allow-url"),
        ({"images_dir": "/"}, 403, "'/' is in no --allow-root"),
        ({"input_container_sas": "http://x/?sig=SECRET"}, 403, "'http://x/' is below"),
        ({"images_requested_json_sas": "http://x/?sig=SECRET"}, 403, "'http://x/' is"),
        (
            {"images": ["http://127.0.0.1:1@evil/pub?sig=SECRET"]},
            403,
            "it holds a user, or an encoded host",
        ),
        ({"images_dir": "/x\ny"}, 403, "'/x\\ny' is in no"),
        (
            {"input_container_sas": "http://127.0.0.1:1/pub", "images": ["../a"]},
            400,
            "images[0]: '../a' leaves its folder",
        ),
    ],
)
def test_a_body_that_is_refused(
    desk: Desk, body: object, status: int, sentence: str
) -> None:
    answer = desk.post(SUBMIT, body)
    assert answer.status == status
    assert sentence in answer.error
    assert "SECRET" not in answer.error
    assert len(answer.error.splitlines()) == 1
    assert desk.worker.table.waiting() == []


def test_another_detector_than_expected_is_refused(desk: Desk) -> None:
    answer = desk.post(SUBMIT, {"images_dir": str(desk.photos), "model_version": "4.1"})
    assert answer.status == 400
    assert answer.error == (
        "this service runs md_red_v9.0.onnx, version 9.0, not '4.1'"
    )


@pytest.mark.parametrize(
    "path", ["/", "/task", "/task/", "/task/a/b", "/task/../x", "/tasks.sqlite", "//x"]
)
def test_what_is_not_there(desk: Desk, path: str) -> None:
    assert desk.get(path).status == 404


def test_a_task_that_is_not_there(desk: Desk) -> None:
    answer = desk.get("/task/none")
    assert (answer.status, answer.error) == (404, "there is no task none")
    assert desk.post("/task/none", {}).status == 404


def test_a_page_of_the_web_can_neither_submit_nor_ask(desk: Desk) -> None:
    body = {"images_dir": str(desk.photos)}
    plain = desk.post(SUBMIT, body, {"Content-Type": "text/plain"})
    assert plain.status == 415
    for host in ("evil.example", "evil.example:8390", "127.0.0.1.evil.example", ""):
        assert desk.post(SUBMIT, body, JSON | {"Host": host}).status == 403
        assert desk.get("/task/x", {"Host": host}).status == 403
    assert desk.worker.table.waiting() == []


def test_a_body_has_to_say_how_long_it_is(desk: Desk) -> None:
    head = f"POST {SUBMIT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for line, status in (
        ("", b"411"),
        ("Transfer-Encoding: chunked\r\n", b"411"),
        ("Content-Length: -5\r\n", b"411"),
        ("Content-Length: 5x\r\n", b"411"),
        (f"Content-Length: {http_api.MOST_BYTES + 1}\r\n", b"413"),
        ("Content-Length: 99999999999999999999\r\n", b"411"),
    ):
        answer = desk.raw(f"{head}{line}\r\n{{}}".encode())
        assert answer.split()[1] == status, line


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET\r\n\r\n", b"400"),
        (b"BREW /task/x HTTP/1.1\r\n\r\n", b"501"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /task/x HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /task/x HTTP/9.9\r\n\r\n", b"505"),
        (b"GET http://[x HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_request(desk: Desk, request_: bytes, status: bytes) -> None:
    answer = desk.raw(request_)
    assert status in answer.split(b"\r\n")[0].split() or b'"error"' in answer
    assert b"html" not in answer
    assert desk.get("/task/none").status == 404  # it goes on


def test_a_client_that_says_nothing_is_left(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_api, "SILENCE_S", 0.2)
    began = time.monotonic()
    assert desk.raw(b"GET /task/x HTT") == b""
    assert time.monotonic() - began < 5


def drip(line: socket.socket, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        line.sendall(b"a")
        time.sleep(0.05)


def test_a_client_that_drips_is_left(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_api, "HEAD_S", 0.3)
    parts = urlsplit(desk.url)
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=20) as line,
        pytest.raises(OSError, match=r"reset|Broken pipe|aborted"),
    ):
        drip(line, seconds=5)


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)


QUESTION = b"GET /task/x HTTP/1.1\r\nHost: localhost\r\n"


def test_who_says_nothing_makes_room(
    guarded: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_api, "_ROOM_S", 0.1)
    guarded.server._slots = threading.BoundedSemaphore(3)
    parts = urlsplit(guarded.url)
    with ExitStack() as stack:
        for _ in range(6):
            line = socket.create_connection((parts.hostname, parts.port), timeout=20)
            stack.enter_context(line).sendall(b"GET /task/x")
        for _ in range(4):
            assert guarded.get("/task/x", BEARER).status == 404


def test_who_has_shown_a_token_keeps_its_connection(
    guarded: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_api, "_ROOM_S", 0.1)
    guarded.server._slots = threading.BoundedSemaphore(1)
    parts = urlsplit(guarded.url)
    head = f"POST {SUBMIT} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n"
        for name, value in {**BEARER, "Content-Length": "2"}.items()
    )
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as line:
        line.sendall(f"{head}\r\n".encode())
        wait_until(lambda: guarded.server._slots._value == 0)
        wait_until(lambda: not guarded.server._strangers)
        answer = guarded.get("/task/x", BEARER)
        assert (answer.status, answer.error) == (
            503,
            "too many connections; try again later",
        )
        line.sendall(b"{}")
        assert line.recv(1 << 16).startswith(b"HTTP/1.0 400")
    wait_until(lambda: guarded.get("/task/x", BEARER).status == 404)


def test_many_at_one_moment_are_all_answered(desk: Desk) -> None:
    at_once = threading.Barrier(90)
    statuses: list[bytes] = []

    def submit() -> None:
        at_once.wait()
        statuses.append(desk.raw(QUESTION + b"\r\n").split(b"\r\n")[0])

    threads = [threading.Thread(target=submit) for _ in range(90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [b"HTTP/1.0 404 Not Found"] * 90


def test_too_many_tasks_have_to_wait(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_api, "MOST_WAITING", 1)
    desk.submit()
    answer = desk.post(SUBMIT, {"images_dir": f"{desk.photos}/a"})
    assert (answer.status, answer.error) == (
        503,
        "too many tasks wait already; try again later",
    )


def test_a_bug_is_answered_and_said_without_what_it_quotes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("?sig=SECRET")

    monkeypatch.setattr(batch_request, "parse", fail)
    answer = desk.post(SUBMIT, {})
    assert (answer.status, answer.document) == (500, {"error": "a bug"})
    assert "unexpected ZeroDivisionError" in caplog.text
    assert "SECRET" not in caplog.text


def test_a_full_disk_is_for_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise StorageError("cannot write tasks.sqlite: disk is full")

    monkeypatch.setattr(desk.worker.table, "submit", fail)
    assert desk.post(SUBMIT, {"images_dir": str(desk.photos)}).status == 503


def test_an_address_that_is_taken_is_one_line(desk: Desk) -> None:
    port = desk.server.server_address[1]
    with pytest.raises(StorageError, match=r"cannot listen on 127\.0\.0\.1:"):
        Server("127.0.0.1", int(port), desk.server.api)


# Tokens


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer é"},
        {"Cookie": f"token={TOKEN}"},
    ],
)
def test_without_its_token_nothing_is_answered(
    guarded: Desk, headers: dict[str, str]
) -> None:
    task_id = guarded.submit()
    guarded.work()
    raw = {key: value.encode("latin-1") for key, value in headers.items()}
    for method, path in (
        ("POST", SUBMIT),
        ("POST", CANCEL),
        ("GET", f"/task/{task_id}"),
        ("GET", f"/task/{task_id}/detections.json"),
        ("GET", f"/task/{task_id}?key={TOKEN}"),
        ("GET", f"/task/{task_id}/detections.json?key={TOKEN}"),
        ("GET", "/nothing"),
    ):
        body = {"request_id": task_id} if method == "POST" else None
        answer = ask(guarded.url + path, method, body, JSON | raw)  # type: ignore[arg-type]
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_word_bearer_is_read_in_any_case(guarded: Desk) -> None:
    task_id = guarded.submit()
    headers = {"Authorization": f"bEARER  {TOKEN}", "Host": "gpu.example"}
    assert guarded.get(f"/task/{task_id}", headers).status == 200


def test_the_key_of_detections_opens_them_alone(guarded: Desk) -> None:
    ids = [guarded.submit(), guarded.submit(request_name="other")]
    guarded.work()
    urls = [
        batch_response.from_dict(
            guarded.get(f"/task/{task_id}", BEARER).document
        ).detections_url
        for task_id in ids
    ]
    assert all(TOKEN not in url for url in urls)
    first, second = (url.partition("?") for url in urls)
    for url in urls:
        assert ask(url).status == 200
    for path, query in (
        (first[0], second[2]),  # of another task
        (first[0].removesuffix("/detections.json"), first[2]),
        (first[0], f"{first[2]}&{second[2]}"),
        (first[0], f"{first[2]}0"),
        (first[0], "key="),
    ):
        assert ask(f"{path}?{query}").status == 401
    assert ask(f"{guarded.url}{CANCEL}?{first[2]}", "POST", {}).status == 401


def test_no_token_is_in_what_is_said_or_kept(
    tmp_path: Path, loaded: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sas = "sig=SECRET"
    with serving(tmp_path, loaded, token=TOKEN) as desk:
        task_id = desk.submit()
        bad = [f"http://127.0.0.1:1/pub/a.jpg?{sas}"]
        failing = desk.submit(images_dir=None, images_requested_json_sas=bad[0])
        desk.get(f"/task/{task_id}?{sas}", BEARER)
        desk.get(f"/task/{task_id}?{sas}", {"Authorization": f"Bearer {sas}"})
        desk.post(SUBMIT, {"images": [f"http://evil/?{sas}"]}, BEARER)
        desk.worker.manner = Manner(patience=Patience(tries=1))
        desk.worker.pause_s = 0
        for _ in range(3):
            desk.work()
        ended = desk.get(f"/task/{failing}", BEARER)
        assert ended.document["Status"]["request_status"] == "problem"
        said = caplog.text + ended.body.decode()
    assert "GET /task/" in said
    for path in (tmp_path / "served").rglob("*"):
        if path.is_file():
            said += path.read_bytes().decode(errors="replace")
    assert "SECRET" not in said
    assert TOKEN not in said


def test_a_connection_over_ipv6(tmp_path: Path, loaded: Engine) -> None:
    with serving(tmp_path, loaded) as desk:
        try:
            server = Server("::1", 0, desk.server.api)
        except StorageError:
            pytest.skip("no IPv6 on this machine")
        with server:
            assert server.url.startswith("http://[::1]:")


def test_answers_are_json_whatever_they_hold(desk: Desk) -> None:
    answer = desk.post(SUBMIT, {"images": ['/"</script>.jpg']})
    assert json.loads(answer.body)["error"].startswith("images[0]: ")
