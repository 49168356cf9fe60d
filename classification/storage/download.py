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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.runtime.addresses import shown
from classification.runtime.atomic import replacing
from classification.runtime.errors import StorageError
from classification.runtime.progress import bar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK_BYTES = 1 << 20
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})

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


class _PassingError(Exception):
    """Worth another try; the text is the reason alone."""


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
    for number in range(1, patience.tries + 1):
        try:
            _try_once(url, target, checksum, patience)
        except _PassingError as error:
            if number == patience.tries:
                raise DownloadError(
                    f"cannot download {shown(url)}: {error} (try {number} of {number})"
                ) from None
            pause_s = patience.pause_s * 2 ** (number - 1)
            _logger.info("%s: %s; again in %g s", shown(url), error, pause_s)
            time.sleep(pause_s)
        else:
            return


def _try_once(url: str, target: Path, checksum: str, patience: Patience) -> None:
    algorithm, _, expected = checksum.partition(":")
    digest = hashlib.new(algorithm or "sha256", usedforsecurity=False)
    with replacing(target) as file:
        for chunk in _receive(url, patience):
            digest.update(chunk)
            file.write(chunk)
        if not digest.hexdigest().startswith(expected):
            raise DownloadError(
                f"{shown(url)} is not what was expected: its {algorithm} is "
                f"{digest.hexdigest()}, not {expected}"
            )


def _receive(url: str, patience: Patience) -> Iterator[bytes]:
    """Yields the bytes behind ``url``, all of them."""
    try:
        with _open(url, patience.silence_s) as answer:
            yield from _read_all(answer, time.monotonic() + patience.limit_s)
    except urllib.error.HTTPError as error:
        error.close()  # it is the answer, too, with its connection
        phrase = http.client.responses.get(error.code, "")
        reason = f"HTTP {error.code} {phrase}".strip()
        if error.code in _TEMPORARY:
            raise _PassingError(reason) from None
        raise DownloadError(f"cannot download {shown(url)}: {reason}") from None
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
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", "cameratraps")]
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    answer: http.client.HTTPResponse = opener.open(url, timeout=silence_s)
    return answer


def _read_all(answer: http.client.HTTPResponse, end_s: float) -> Iterator[bytes]:
    stated = answer.headers.get("Content-Length") or ""
    expected = int(stated) if stated.isdecimal() else None
    received = 0
    with bar(None if expected is None else expected / 1e6, unit="MB") as progress:
        while chunk := answer.read1(_CHUNK_BYTES):
            received += len(chunk)
            progress.update(len(chunk) / 1e6)
            yield chunk
            if time.monotonic() > end_s:
                raise _PassingError(f"{received} bytes came, too slowly")
    if expected is not None and received != expected:
        raise _PassingError(f"{received} of {expected} bytes came")
    if not received:
        raise _PassingError("nothing came")


def _say(error: Exception) -> str:
    """Says what went wrong in our words; a server's might quote the address."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
