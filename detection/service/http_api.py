"""The Batch Detection API over HTTP: who may ask, what is answered.

==============================  ==================================================
POST /request_detections        adds a task (``batch_request``): its ``request_id``
GET /task/<id>                  how far it is (``batch_response``)
GET /task/<id>/detections.json  what was found, once it is completed
POST /cancel_request            ``{"request_id": …}``: ends a task
==============================  ==================================================

An error is answered with its status and ``{"error": "one sentence"}``. Where the service
has a token, each request carries it (``Authorization: Bearer …``); the address of the
detections that a completed task tells holds a key of its own instead, which opens nothing
else, so that whoever has the answer can download them.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import logging
import os
import re
import shutil
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import msgspec

from classification.artifacts import _json, batch_request, batch_response, batch_tasks
from classification.artifacts.batch_response import BatchResponse, BatchStatus
from classification.runtime.addresses import shown, without_tokens
from classification.runtime.cli import one_line
from classification.runtime.errors import (
    PipelineError,
    StorageError,
)
from detection.service import sources
from detection.service.admission import RefusedError
from detection.service.worker import DETECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detection.service.task_table import Task, TaskTable
    from detection.service.worker import Worker

MOST_BYTES = 1 << 27  # of a body: a million names of a hundred bytes
MOST_WAITING = 10_000  # tasks
MOST_CONNECTIONS = 64
SILENCE_S = 30.0  # from a client
HEAD_S = 10.0  # until a client has shown its token, or has sent its headers
LIMIT_S = 300.0  # for the rest of a request
_DRAIN_S = 2.0
_BACKLOG = 4 * MOST_CONNECTIONS  # connections that wait to be accepted
_ROOM_S = 1.0  # that a connection waits for another one to end

_HOST = re.compile(r"[-.A-Za-z0-9]+(:[0-9]+)?|\[[:0-9A-Fa-f]+\](:[0-9]+)?")
_LOCAL_HOSTS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?", re.IGNORECASE)
_TASK = re.compile(r"/task/([-_A-Za-z0-9]{1,128})(/detections\.json)?/?")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What is answered: a document, or a file."""

    status: HTTPStatus
    document: object = None
    file: Path | None = None


class _Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.reply = Reply(status, {"error": one_line(sentence)})


@dataclass(frozen=True, kw_only=True)
class Api:
    """What the service answers.

    Attributes:
        table: the tasks.
        worker: who works on them.
        token: what each request has to carry; empty for nothing.
        public_url: address that clients know the service by; empty for the one that they
            ask.
    """

    table: TaskTable
    worker: Worker
    token: str = field(default="", repr=False)
    public_url: str = ""

    def post(self, path: str, body: bytes) -> Reply:
        """Answers a POST."""
        match path.rstrip("/"):
            case "/request_detections":
                return self._submit(body)
            case "/cancel_request":
                return self._cancel(body)
            case _:
                raise _Refusal(HTTPStatus.NOT_FOUND, "no such address")

    def get(self, path: str, base_url: str) -> Reply:
        """Answers a GET."""
        match = _TASK.fullmatch(path)
        if match is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "no such address")
        task = self._find(match[1])
        if match[2]:
            return self._detections(task)
        return Reply(HTTPStatus.OK, self._say(task, base_url))

    def may(self, header: str, path: str, query: str) -> bool:
        """Says whether a request may be answered."""
        if not self.token:
            return True
        scheme, _, given = header.partition(" ")
        if scheme.casefold() == "bearer":
            return _same(given.strip(), self.token)
        match = _TASK.fullmatch(path)
        keys = parse_qs(query).get("key", [])
        is_key = match is not None and bool(match[2]) and len(keys) == 1
        return is_key and _same(keys[0], self._key_of(match[1] if match else ""))

    def _submit(self, body: bytes) -> Reply:
        request = batch_request.parse(body)
        if same := self.table.find_same(request):
            # Asked again by a client that gave up while a long list was checked.
            return Reply(HTTPStatus.OK, {"request_id": same.id})
        self.worker.engine.refuse_other(request.model_version)
        sources.check(request, self.worker.admission)
        if len(self.table.waiting()) >= MOST_WAITING:
            sentence = "too many tasks wait already; try again later"
            raise _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, sentence)
        task, is_new = self.table.submit(request)
        if is_new:
            _logger.info(
                "task %s of %r was submitted: %s, %d images listed",
                task.id,
                task.caller,
                task.name,
                len(request.images),
            )
            self.worker.wake()
        return Reply(HTTPStatus.OK, {"request_id": task.id})

    def _cancel(self, body: bytes) -> Reply:
        document = _json.parse(body)
        asked = document.get("request_id") if isinstance(document, dict) else None
        task = self._find(batch_tasks.checked_id(asked, where="request_id"))
        self.table.end(task, batch_response.CANCELED, "somebody asked for it")
        self.worker.wake()
        return Reply(HTTPStatus.OK, {"request_id": task.id})

    def _find(self, task_id: str) -> Task:
        task = self.table.find(task_id)
        if task is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, f"there is no task {task_id}")
        return task

    def _say(self, task: Task, base_url: str) -> dict[str, Any]:
        if task.state == batch_response.COMPLETED:
            url = f"{self.public_url or base_url}/task/{task.id}/{DETECTIONS}"
            if self.token:
                url = f"{url}?key={self._key_of(task.id)}"
            return batch_response.to_dict(
                BatchResponse(task=task.id, detections_url=url, failed_shards=0)
            )
        said = task.message if task.has_ended else self.worker.say(task)
        return BatchStatus(task=task.id, status=task.state, said=said).to_dict()

    def _detections(self, task: Task) -> Reply:
        path = self.worker.folder / task.id / DETECTIONS
        if task.state != batch_response.COMPLETED or not path.is_file():
            sentence = f"task {task.id} has no detections: it is {task.state}"
            raise _Refusal(HTTPStatus.NOT_FOUND, sentence)
        return Reply(HTTPStatus.OK, file=path)

    def _key_of(self, task_id: str) -> str:
        """Returns what opens the detections of a task, and nothing else."""
        text = f"detections of {task_id}".encode()
        return hmac.new(self.token.encode(), text, hashlib.sha256).hexdigest()


def _same(given: str, expected: str) -> bool:
    """Compares two secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


class _InTime(io.RawIOBase):
    """What a client sends, as long as it does not take for ever."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.allow(HEAD_S)

    def allow(self, limit_s: float) -> None:
        """Gives what is still to come so much time from now on."""
        self._end_s = time.monotonic() + limit_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typed so in io
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(min(SILENCE_S, left_s))
        return self._connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One request: read in bounded time and memory, answered, closed."""

    server: Server
    server_version = "cameratraps"
    sys_version = ""
    _is_read = False

    def setup(self) -> None:
        """Puts limits on what is read."""
        super().setup()
        self._incoming = _InTime(self.connection)
        self.rfile = io.BufferedReader(self._incoming)

    def do_GET(self) -> None:
        """Answers a GET."""
        self._send(self._decide(self._get))

    def do_POST(self) -> None:
        """Answers a POST."""
        self._send(self._decide(self._post))

    def _decide(self, answer: Callable[[], Reply]) -> Reply:
        try:
            self._check_caller()
            self.server.admit(self.connection)
            self._incoming.allow(LIMIT_S)
            return answer()
        except _Refusal as refusal:
            return refusal.reply
        except RefusedError as error:
            return _say_no(HTTPStatus.FORBIDDEN, error)
        except StorageError as error:
            return _say_no(HTTPStatus.SERVICE_UNAVAILABLE, error)
        except PipelineError as error:
            return _say_no(HTTPStatus.BAD_REQUEST, error)
        except (TimeoutError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            _logger.error("unexpected %s; this is a bug", type(error).__name__)  # noqa: TRY400 - a traceback may quote a token
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "a bug"})

    def _parts(self) -> SplitResult:
        """Returns the address that is asked for, taken apart."""
        try:
            return urlsplit(self.path)
        except ValueError:
            raise _Refusal(HTTPStatus.BAD_REQUEST, "no such address") from None

    def _check_caller(self) -> None:
        parts, headers = self._parts(), self.headers
        if not self.server.api.may(
            headers.get("Authorization", ""), parts.path, parts.query
        ):
            _logger.info("refused %s, which has no token", self.client_address[0])
            sentence = "a token expected, in the header Authorization"
            raise _Refusal(HTTPStatus.UNAUTHORIZED, sentence)
        if not self.server.api.token and not _LOCAL_HOSTS.fullmatch(
            headers.get("Host", "")
        ):
            # A page of the web whose name was made to lead here.
            sentence = "this service is asked as 127.0.0.1 or localhost only"
            raise _Refusal(HTTPStatus.FORBIDDEN, sentence)

    def _get(self) -> Reply:
        host = self.headers.get("Host", "")
        base = f"http://{host}" if _HOST.fullmatch(host) else self.server.url
        return self.server.api.get(self._parts().path, base)

    def _post(self) -> Reply:
        if self.headers.get_content_type() != "application/json":
            # No page of the web can send this without being asked first.
            sentence = "Content-Type: application/json expected"
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, sentence)
        return self.server.api.post(self._parts().path, self._read_body())

    def _read_body(self) -> bytes:
        stated = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,12}", stated):
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "Content-Length expected")
        if int(stated) > MOST_BYTES:
            sentence = f"the body has more than {MOST_BYTES} bytes"
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)
        body = self.rfile.read(int(stated))
        if len(body) < int(stated):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "the body ended early")
        self._is_read = True
        return body

    def _send(self, reply: Reply) -> None:
        self.connection.settimeout(SILENCE_S)
        if reply.file is None:
            self._send_document(reply)
            return
        with reply.file.open("rb") as file:
            self._send_head(reply.status, os.fstat(file.fileno()).st_size)
            shutil.copyfileobj(file, self.wfile)

    def _send_document(self, reply: Reply) -> None:
        body = msgspec.json.encode(reply.document) + b"\n"
        self._send_head(reply.status, len(body))
        self.wfile.write(body)
        if self.command == "POST" and not self._is_read:
            self._drain()

    def _send_head(self, status: HTTPStatus, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()

    def _drain(self) -> None:
        """Reads what a client still sends: closed on it, it might not see the answer."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_DRAIN_S)
            end_s = time.monotonic() + _DRAIN_S
            while time.monotonic() < end_s and self.connection.recv(1 << 16):
                pass

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Answers what is no request that the API knows."""
        del explain
        sentence = {"error": message or HTTPStatus(code).phrase}
        self._send_document(Reply(HTTPStatus(code), sentence))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Notes a request, without its query."""
        path = one_line(shown(getattr(self, "path", "")))
        said = str(args[1]) if len(args) > 1 else ""
        _logger.debug("%s %s %s %s", self.client_address[0], self.command, path, said)
        del format


def _say_no(status: HTTPStatus, error: Exception) -> Reply:
    return Reply(status, {"error": one_line(without_tokens(str(error)))})


def _turn_away(request: socket.socket) -> None:
    """Answers a connection for which there is no room, without reading what it asks."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    body = b'{"error": "too many connections; try again later"}\n'
    head = f"HTTP/1.0 {status} {status.phrase}\r\nContent-Type: application/json\r\n"
    with suppress(OSError):
        request.settimeout(_ROOM_S)
        length = f"Content-Length: {len(body)}\r\n\r\n"
        request.sendall((head + length).encode() + body)
        request.shutdown(socket.SHUT_WR)
        request.recv(1 << 16)  # closed on unread bytes, it might not see the answer


class Server(ThreadingHTTPServer):
    """The listening service: a thread for each of a limited number of connections.

    Where there are too many, those who have shown no token make room, the oldest first,
    so that nobody is kept out by connections that say nothing.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = _BACKLOG

    def __init__(self, host: str, port: int, api: Api) -> None:
        """Begins to listen.

        Raises:
            StorageError: the address is taken, or none of this machine's.
        """
        self.api = api
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._strangers: dict[socket.socket, None] = {}  # the oldest first
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"cannot listen on {host}:{port}: {reason}") from error

    @property
    def url(self) -> str:
        """Returns the address that it listens on."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def server_bind(self) -> None:
        """Binds the address, without asking a name server what it is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = map(str, self.server_address[:2])  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - typed so in socketserver
        """Gives a connection its thread, once there is room for it."""
        if self._has_room():
            with self._lock:
                self._strangers[request] = None
            super().process_request(request, client_address)
        else:
            _turn_away(request)
            self.shutdown_request(request)

    def _has_room(self) -> bool:
        if self._slots.acquire(timeout=_ROOM_S):
            return True
        with self._lock:
            for oldest in list(self._strangers)[:1]:
                del self._strangers[oldest]
                with suppress(
                    OSError
                ):  # its thread sees the end, and gives its slot back
                    oldest.shutdown(socket.SHUT_RDWR)
        return self._slots.acquire(timeout=_ROOM_S)

    def admit(self, request: socket.socket) -> None:
        """Notes that a connection has shown its token, or needs none."""
        with self._lock:
            self._strangers.pop(request, None)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - likewise
        """Answers one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.admit(request)
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - likewise
        """Notes a connection that broke; its traceback might quote a token."""
        del request
        kind = type(sys.exception()).__name__
        _logger.debug("connection of %s: %s", client_address[0], kind)
