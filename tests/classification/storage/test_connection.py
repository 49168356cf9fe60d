from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import urllib3

from classification.runtime import parallel
from classification.storage import connection
from classification.storage.connection import (
    InvalidAddressError,
    RefusedAddressError,
    asking,
)
from tests.faults import spoiling
from tests.web import Reply, serving, serving_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def ask(url: str, **options: object) -> tuple[int, bytes]:
    with asking(url, silence_s=5, **options) as answer:  # type: ignore[arg-type]
        return answer.status, answer.read()


def test_an_answer_has_a_status_and_a_body() -> None:
    with serving(Reply(b"here"), Reply(b"gone", status=410)) as web:
        assert ask(web.url) == (200, b"here")
        assert ask(web.url) == (410, b"gone")


def test_a_thread_keeps_its_connection_and_never_has_two(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"image")
    with serving_folder(tmp_path) as web, spoiling(web.url, 0) as proxy:
        urls = [f"{proxy.url}/a.jpg"] * 40
        found = list(parallel.ordered_map(ask, urls, threads=4))
    assert found == [(200, b"image")] * 40
    assert 1 <= proxy.most_connections <= 4
    assert proxy.connections <= 4


def test_what_leads_elsewhere_is_followed_within_the_web() -> None:
    with serving(Reply(b"there")) as other:
        elsewhere = (("Location", f"{other.url}/b?x=1"),)
        with serving(Reply(status=302, headers=elsewhere)) as web:
            assert ask(f"{web.url}/a?sig=SECRET") == (200, b"there")
        assert other.asked == ["/b?x=1"]


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://x/y", "//", ":"])
def test_what_leads_out_of_the_web_is_the_answer(target: str) -> None:
    with serving(Reply(status=302, headers=(("Location", target),))) as web:
        assert ask(web.url) == (302, b"")


def test_what_leads_in_a_circle_ends() -> None:
    with serving(Reply(status=307, headers=(("Location", "/again"),))) as web:
        assert ask(web.url)[0] == 307
        assert len(web.asked) == connection.MAX_REDIRECTS + 1


def test_no_address_is_asked_for_that_may_not_be() -> None:
    with serving(Reply(b"secret")) as inner:
        elsewhere = (("Location", f"{inner.url}/"),)
        with serving(Reply(status=302, headers=elsewhere)) as web:
            allowed = web.url
            with pytest.raises(RefusedAddressError):
                ask(web.url, may_ask=lambda url: url.startswith(allowed))
        assert inner.asked == []


def test_what_is_said_to_one_server_is_not_said_to_another() -> None:
    with serving(Reply()) as other:
        elsewhere = (("Location", f"{other.url}/"),)
        with serving(Reply(status=302, headers=elsewhere)) as web:
            ask(web.url, headers={"X-Token": "SECRET"})
        [(headers, _)] = other.received
    assert "X-Token" not in headers


def test_a_user_and_password_are_said_as_such() -> None:
    with serving(Reply()) as web:
        ask(web.url.replace("//", "//me:p%40ss@"))
        [(headers, _)] = web.received
    assert headers["authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize(
    "url", ["", "ftp://x/y", "x.org/a", "http://", "http://x:port/", "http://x/a b"]
)
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(InvalidAddressError):
        ask(url)


@contextmanager
def dripping() -> Iterator[str]:
    """A server that sends the head of an answer byte by byte, and never ends it."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        client, _ = server.accept()
        with client:
            while not over.wait(0.02):
                try:
                    client.sendall(b"H")
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    finally:
        over.set()
        thread.join()
        server.close()


def test_a_head_that_comes_in_drips_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_LIMIT_S", 0.2)
    began = time.monotonic()
    with dripping() as url, pytest.raises((urllib3.exceptions.HTTPError, OSError)):
        ask(url)
    assert time.monotonic() - began < 5
