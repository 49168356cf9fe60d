"""Fetches a file from a web address: whole or not at all, in bounded time.

What may pass (no connection, a server that is overloaded or silent, an answer that
breaks off) is tried again after a pause, each twice as long as the one before; what will
not (404, a bad address, another file than expected) is not.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, TypeVar

from classification.runtime.addresses import shown
from classification.runtime.atomic import replacing
from classification.runtime.errors import StorageError
from classification.runtime.progress import bar
from classification.storage import reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")

_CHUNK_BYTES = 1 << 20
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOTHING_THERE = frozenset({404, 410})

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a download is waited for.

    Attributes:
        silence_s: without a byte from the server.
        limit_s: for one try, however much is coming.
        tries: how often it is tried in all.
        pause_s: before the second try.
    """

    silence_s: float = 30
    limit_s: float = 3600
    tries: int = 4
    pause_s: float = 1


class DownloadError(StorageError):
    """What an address names cannot be had, or is not what was expected."""


class MissingError(DownloadError):
    """The server says that there is nothing at the address."""


class NoAnswerError(DownloadError):
    """What may pass did not, however often it was tried."""


class _PassingError(Exception):
    """Worth another try; the text is the reason alone."""


class _NothingCameError(_PassingError):
    """An answer without a byte; the last try's is taken as it is."""


def fetch(
    url: str,
    target: Path,
    *,
    checksum: str = "",
    patience: Patience = Patience(),
) -> None:
    """Fetches what is at ``url`` into ``target``.

    Args:
        url: of http or https; it may hold a token, which no message shows.
        target: the file; it appears whole or not at all.
        checksum: ``<algorithm>:<hex digest>`` that the file must have, or the first
            digits of it; empty for none.
        patience: how long to wait, and how often to try.

    Raises:
        DownloadError: it cannot be had, or has another digest.
        StorageError: ``target`` cannot be written.
    """
    _insist(url, partial(_try_once, url, target, checksum, patience), patience)


def read(url: str, *, max_bytes: int, patience: Patience = Patience()) -> bytes:
    """Returns what is at ``url``.

    Args:
        url: of http or https; it may hold a token, which no message shows.
        max_bytes: more than this is refused.
        patience: how long to wait, and how often to try.

    Raises:
        MissingError: there is nothing.
        NoAnswerError: no try got all of it.
        DownloadError: it cannot be had.
    """
    return _insist(url, partial(_read_once, url, max_bytes, patience), patience)


def exists(url: str, *, patience: Patience = Patience()) -> bool:
    """Says whether there is something at ``url``, without reading it.

    Raises:
        DownloadError: it cannot be told.
    """
    try:
        _insist(url, partial(_ask_once, url, patience), patience)
    except MissingError:
        return False
    return True


def _insist(url: str, attempt: Callable[[], T], patience: Patience) -> T:
    """Makes an attempt until it succeeds, or fails for good."""
    for number in range(1, patience.tries):
        try:
            return attempt()
        except _PassingError as error:
            pause_s = patience.pause_s * 2 ** (number - 1)
            _logger.info("%s: %s; again in %g s", shown(url), error, pause_s)
            time.sleep(pause_s)
    try:
        return attempt()
    except _PassingError as error:
        is_answer = isinstance(error, _NothingCameError)
        kind = DownloadError if is_answer else NoAnswerError
        raise kind(
            f"cannot download {shown(url)}: {error} "
            f"(try {patience.tries} of {patience.tries})"
        ) from None


def _try_once(url: str, target: Path, checksum: str, patience: Patience) -> None:
    algorithm, _, expected = checksum.partition(":")
    digest = hashlib.new(algorithm or "sha256", usedforsecurity=False)
    with replacing(target) as file:
        for chunk in _receive(url, patience, with_bar=True):
            digest.update(chunk)
            file.write(chunk)
        if not digest.hexdigest().startswith(expected):
            raise DownloadError(
                f"{shown(url)} is not what was expected: its {algorithm} is "
                f"{digest.hexdigest()}, not {expected}"
            )


def _read_once(url: str, max_bytes: int, patience: Patience) -> bytes:
    data = bytearray()
    for chunk in _receive(url, patience, with_bar=False):
        data += chunk
        if len(data) > max_bytes:
            raise DownloadError(f"{shown(url)} is larger than {max_bytes} bytes")
    return bytes(data)


def _ask_once(url: str, patience: Patience) -> None:
    with _reasons(url), _open(url, patience.silence_s):
        pass


def _receive(url: str, patience: Patience, *, with_bar: bool) -> Iterator[bytes]:
    """Yields the bytes behind ``url``, all of them."""
    with _reasons(url), _open(url, patience.silence_s) as answer:
        end_s = time.monotonic() + patience.limit_s
        yield from _read_all(answer, end_s, with_bar=with_bar)


@contextmanager
def _reasons(url: str) -> Iterator[None]:
    """Says in our words what goes wrong inside, and whether it may pass."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()  # it is the answer, too, with its connection
        phrase = http.client.responses.get(error.code, "")
        reason = f"HTTP {error.code} {phrase}".strip()
        if error.code in _TEMPORARY:
            raise _PassingError(reason) from None
        kind = MissingError if error.code in _NOTHING_THERE else DownloadError
        raise kind(f"cannot download {shown(url)}: {reason}") from None
    except (ValueError, http.client.InvalidURL):  # whose texts quote the address
        raise DownloadError(
            f"cannot download {shown(url)}: not an address of http or https"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(_say(error)) from None


def _open(url: str, silence_s: float) -> http.client.HTTPResponse:
    """Asks for ``url``; knows the web alone, so that no answer leads to a file or ftp."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError
    reach.check(url)
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", "cameratraps")]
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    answer: http.client.HTTPResponse = opener.open(url, timeout=silence_s)
    return answer


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows where an answer leads, if one may go there (see ``reach``)."""

    def redirect_request(  # noqa: PLR0913, PLR0917 - urllib's signature
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Returns the next request; see ``urllib``."""
        reach.check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _read_all(
    answer: http.client.HTTPResponse, end_s: float, *, with_bar: bool
) -> Iterator[bytes]:
    stated = answer.headers.get("Content-Length") or ""
    expected = int(stated) if stated.isdecimal() else None
    received = 0
    total = None if expected is None else expected / 1e6
    with bar(total, unit="MB") if with_bar else nullcontext() as progress:
        while chunk := answer.read1(_CHUNK_BYTES):
            received += len(chunk)
            if progress is not None:
                progress.update(len(chunk) / 1e6)
            yield chunk
            if time.monotonic() > end_s:
                raise _PassingError(f"{received} bytes came, too slowly")
    if expected is not None and received != expected:
        raise _PassingError(f"{received} of {expected} bytes came")
    if not received:
        raise _NothingCameError("nothing came")


def _say(error: Exception) -> str:
    """Says what went wrong in our words; a server's might quote the address."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
