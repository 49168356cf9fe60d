"""Asks web servers: each thread keeps one connection open, for its next request.

So there are never more connections than threads that ask, however many servers there
are, and a thread that reads one image after the other connects once.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from urllib3.response import BaseHTTPResponse, HTTPResponse

MAX_REDIRECTS = 5

# From the request to the end of the answer's head: a server that sends this in drips is
# as good as silent, and no time-out of single bytes would ever notice.
HEAD_LIMIT_S = 120

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_ADDRESS = re.compile(r"[\x00-\x20\x7f]")
_HEADERS = {"User-Agent": "cameratraps", "Accept-Encoding": "identity"}
# It would log every address that it asks for, with the token in it.
logging.getLogger("urllib3").setLevel(logging.WARNING)


class InvalidAddressError(ValueError):
    """A text that is no address of http or https."""


class RefusedAddressError(Exception):
    """An address that an answer leads to, and that may not be asked for."""


def anywhere(_: str) -> bool:
    """Says that any address may be asked for."""
    return True


@contextmanager
def asking(  # noqa: PLR0913 - what a request is made of
    url: str,
    *,
    method: str = "GET",
    silence_s: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    may_ask: Callable[[str], bool] = anywhere,
    redirects: int = MAX_REDIRECTS,
) -> Iterator[BaseHTTPResponse]:
    """Sends a request; in the block, the head of the answer is there, its body unread.

    Answers that lead elsewhere are followed, within http and https, without ``headers``
    where they lead to another server.

    Args:
        url: of http or https; a user and password in it are sent as such.
        method: ``GET``, ``HEAD`` or ``POST``.
        silence_s: how long the server may be silent.
        headers: more than those that are always sent.
        body: what is sent along.
        may_ask: asked about each address, the first one included.
        redirects: how many answers that lead elsewhere are followed; the next is the
            answer.

    Raises:
        InvalidAddressError: ``url`` is no address.
        RefusedAddressError: ``may_ask`` says no.
        urllib3.exceptions.HTTPError, OSError: there is no answer.
    """
    given = dict(headers or {})
    for left in range(redirects, -1, -1):
        if not may_ask(url):
            raise RefusedAddressError
        answer = _request(url, method, silence_s, given, body)
        try:
            target = _redirect_of(answer, url) if left else ""
            if not target:
                yield answer
                return
        finally:
            answer.close()  # does nothing to a connection whose answer was read whole
        if urllib.parse.urlsplit(target).netloc != urllib.parse.urlsplit(url).netloc:
            given = {}
        url = target


def _redirect_of(answer: BaseHTTPResponse, url: str) -> str:
    """Returns where an answer leads to; empty where it leads nowhere in the web."""
    location = answer.headers.get("Location")
    if answer.status not in _REDIRECTS or not location:
        return ""
    target = urllib.parse.urljoin(url, location)
    try:
        _check(target)
    except InvalidAddressError:
        return ""
    return target


def _check(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        is_fit = parts.scheme in {"http", "https"} and parts.port != 0
    except ValueError as error:
        raise InvalidAddressError from error
    if not is_fit or not parts.hostname or _NO_ADDRESS.search(url):
        raise InvalidAddressError
    return parts


def _request(
    url: str,
    method: str,
    silence_s: float,
    headers: Mapping[str, str],
    body: bytes | None,
) -> BaseHTTPResponse:
    parts = _check(url)
    try:
        return _manager_for(parts).request(
            method,
            urllib.parse.urlunsplit(parts._replace(fragment="")),
            headers={**_HEADERS, **_authorization(parts), **headers},
            body=body,
            timeout=urllib3.Timeout(connect=silence_s, read=silence_s),
            redirect=False,
            retries=False,
            preload_content=False,
        )
    except urllib3.exceptions.LocationParseError as error:
        raise InvalidAddressError from error


def _authorization(parts: urllib.parse.SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    user, password = (
        urllib.parse.unquote(part or "") for part in (parts.username, parts.password)
    )
    return urllib3.make_headers(basic_auth=f"{user}:{password}")


@contextmanager
def _in_time(connection: HTTPConnection) -> Iterator[None]:
    """Hangs up where the head of an answer is not there at the end of the block in time."""

    def hang_up() -> None:
        # Closing would not wake the thread that waits for the next byte.
        with suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(HEAD_LIMIT_S, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Connection(HTTPConnection):
    """To a server of http."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as its base does
        with _in_time(self):
            return super().getresponse()


class _SafeConnection(HTTPSConnection):
    """To a server of https."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as its base does
        with _in_time(self):
            return super().getresponse()


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SafePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SafeConnection


def _open_manager(proxy: str | None) -> urllib3.PoolManager:
    """Opens a manager that holds one connection, to the server asked last."""
    manager = (
        urllib3.PoolManager(num_pools=1, maxsize=1)
        if proxy is None
        else urllib3.ProxyManager(proxy, num_pools=1, maxsize=1)
    )
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SafePool}
    return manager


_of_thread = threading.local()


def _manager_for(parts: urllib.parse.SplitResult) -> urllib3.PoolManager:
    """Returns this thread's manager, for the proxy that the environment names."""
    proxy = _proxy_of(parts)
    manager: urllib3.PoolManager | None = getattr(_of_thread, "manager", None)
    if manager is None or _of_thread.proxy != proxy:
        if manager is not None:
            manager.clear()
        manager = _open_manager(proxy)
        _of_thread.manager, _of_thread.proxy = manager, proxy
    return manager


def _proxy_of(parts: urllib.parse.SplitResult) -> str | None:
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)
