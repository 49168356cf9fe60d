"""A proxy before a web server that spoils some of its answers, as networks do.

Which answers, and how, is a function of the seed, the path and how often the path was
asked for, so that threads do not change it.
"""

from __future__ import annotations

import http.client
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_OWN_HEADERS = frozenset(
    {"content-length", "transfer-encoding", "connection", "date", "server"}
)
_ESTABLISHED = "01"
_CONNECTIONS = Path("/proc/net/tcp")


class Fault(StrEnum):
    """How an answer is spoilt."""

    TRUNCATED = "breaks off"
    RESET = "connection reset"
    SHORT = "short, with a length that fits"
    FLIPPED = "one bit flipped"
    BUSY = "429"
    BROKEN = "500"
    DOWN = "503 with Retry-After"
    SILENT = "no answer"
    DRIP = "a byte now and then"


# A drip is only known as one after a while, so there are few.
WEIGHTS: Mapping[Fault, int] = {
    fault: 2 if fault is Fault.DRIP else 14 for fault in Fault
}


@dataclass
class Proxy:
    """The running proxy.

    Attributes:
        url: its address.
        requests: how many there were.
        spoilt: how many answers were spoilt in which way.
        connections: how many were opened.
        most_connections: the most that were open at once.
    """

    url: str = ""
    requests: int = 0
    spoilt: Counter[Fault] = field(default_factory=Counter)
    connections: int = 0
    most_connections: int = 0
    _asked: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def draw(self, path: str, plan: _Plan) -> Fault | None:
        """Counts a request, and says how its answer is to be spoilt, if at all."""
        with self._lock:
            self.requests += 1
            self._asked[path] += 1
            chance = random.Random(f"{plan.seed} {path} {self._asked[path]}")
            if chance.random() >= plan.share:
                return None
            weights = [WEIGHTS[fault] for fault in plan.faults]
            [fault] = chance.choices(plan.faults, weights)
            self.spoilt[fault] += 1
            return fault

    def count_connection(self) -> None:
        """Counts a new one, and looks how many are open now.

        As the side knows that opens and closes them. The system's list is read twice: it
        changes while it is read, but what is in both was open at one moment.
        """
        port = urlsplit(self.url).port or 0
        is_open = _open_to(port) & _open_to(port)
        with self._lock:
            self.connections += 1
            self.most_connections = max(self.most_connections, len(is_open))


def _open_to(port: int) -> set[tuple[str, str]]:
    """Returns the two ends of each connection that somebody has open to a port."""
    fields = (line.split() for line in _CONNECTIONS.read_text().splitlines()[1:])
    return {
        (own, other)
        for _, own, other, state, *_ in fields
        if other.endswith(f":{port:04X}") and state == _ESTABLISHED
    }


@dataclass(frozen=True)
class _Plan:
    proxy: Proxy
    host: str
    share: float
    seed: int
    faults: Sequence[Fault]


class _Handler(BaseHTTPRequestHandler):
    """Passes a request on, and its answer back, spoilt or not."""

    protocol_version = "HTTP/1.1"

    def __init__(self, plan: _Plan, *args: Any) -> None:  # noqa: ANN401 - those of its base
        self._plan = plan
        super().__init__(*args)

    def setup(self) -> None:
        super().setup()
        self._plan.proxy.count_connection()

    def do_HEAD(self) -> None:
        self._pass_on(None)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self._pass_on(self._plan.proxy.draw(path, self._plan))

    def _pass_on(self, fault: Fault | None) -> None:
        if fault in {Fault.BUSY, Fault.BROKEN, Fault.DOWN}:
            self._refuse(fault)
        elif fault is Fault.SILENT:
            self._wait_for_end()
        else:
            self._answer(fault)

    def _refuse(self, fault: Fault) -> None:
        self.send_response(int(fault.value[:3]))
        if fault is Fault.DOWN:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, fault: Fault | None) -> None:
        connection = http.client.HTTPConnection(self._plan.host)
        connection.request(self.command, self.path)
        answer = connection.getresponse()
        body = bytearray(answer.read())
        connection.close()
        if fault is Fault.SHORT:
            body = body[: len(body) // 2]
        elif fault is Fault.FLIPPED:
            body[len(body) // 2] ^= 1
        length = str(len(body))
        if self.command == "HEAD":
            length = answer.headers.get("Content-Length", "0")
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in _OWN_HEADERS:
                self.send_header(key, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self._send(bytes(body), fault)

    def _send(self, body: bytes, fault: Fault | None) -> None:
        if fault in {Fault.TRUNCATED, Fault.RESET}:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            if fault is Fault.RESET:
                self._reset()
        elif fault is Fault.DRIP:
            self._drip(body)
        else:
            self.wfile.write(body)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)  # closing then sends RST
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def _drip(self, body: bytes) -> None:
        for number in range(len(body)):
            try:
                self.wfile.write(body[number : number + 1])
            except OSError:
                break
            time.sleep(0.2)
        self.close_connection = True

    def _wait_for_end(self) -> None:
        """Waits until the other side has had enough."""
        select.select([self.connection], [], [], 120)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        pass  # the other side has hung up, as sides do

    def shutdown_request(
        self, request: socket.socket | tuple[bytes, socket.socket]
    ) -> None:
        with suppress(OSError):
            super().shutdown_request(request)


@contextmanager
def spoiling(
    upstream: str,
    share: float,
    *,
    seed: int = 0,
    faults: Sequence[Fault] = tuple(WEIGHTS),
) -> Iterator[Proxy]:
    """Runs a proxy in the block.

    Args:
        upstream: address of a server of http, whose paths are the proxy's, too.
        share: of answers that are spoilt, in [0, 1].
        seed: of which and how.
        faults: the ways.
    """
    proxy = Proxy()
    plan = _Plan(proxy, urlsplit(upstream).netloc, share, seed, faults)
    server = _Server(("127.0.0.1", 0), partial(_Handler, plan))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
