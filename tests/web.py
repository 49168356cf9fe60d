"""A web server on this machine that answers as a test says, and notes what it is asked."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import (
    BaseHTTPRequestHandler,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
)
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Reply:
    """An answer: a status, headers, a body, of which the server may send less."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    during: Callable[[], object] = field(default=lambda: None)


@dataclass
class Web:
    """The running server.

    Attributes:
        url: its address.
        asked: the paths asked for, in order.
        received: the headers and the body of each request, in order.
    """

    url: str
    asked: list[str] = field(default_factory=list)
    received: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)


@contextmanager
def serving(*replies: Reply) -> Iterator[Web]:
    """Serves the replies in turn, whatever is asked for; the last one for ever."""
    web = Web("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            reply = replies[min(len(web.asked), len(replies) - 1)]
            web.asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            web.received.append((dict(self.headers), body))
            self.send_response(reply.status)
            headers = dict(reply.headers)
            if "Transfer-Encoding" not in headers:
                length = len(reply.body) if reply.length is None else reply.length
                headers.setdefault("Content-Length", str(length))
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            reply.during()
            if with_body:
                self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    with _running(web, Handler):
        yield web


def let_in(_: str) -> int:
    """Lets everybody in."""
    return 0


@contextmanager
def serving_folder(
    folder: Path, *, doorkeeper: Callable[[str], int] = let_in
) -> Iterator[Web]:
    """Serves the files below a folder; what it does not have is 404.

    Args:
        folder: what is served.
        doorkeeper: given a path with its query, returns the status to refuse it with, or 0.
    """
    web = Web("")

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            if status := doorkeeper(self.path):
                self.send_error(status)
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with _running(web, partial(Handler, directory=str(folder))):
        yield web


@contextmanager
def _running(
    web: Web, handler: Callable[..., BaseHTTPRequestHandler]
) -> Iterator[None]:
    """Runs a server in the block, and notes its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False  # so that closing waits for answers
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
