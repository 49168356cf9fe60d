"""Fetches a file from a web address: whole or not at all, in bounded time.

What may pass (no connection, a server that is overloaded or silent, an answer that
breaks off, is too slow, or is not what the server itself says it is) is tried again, see
``retrying``; what will not (404, a bad address, another file than expected) is not.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import time
import urllib.parse
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import urllib3

from classification.runtime.addresses import shown
from classification.runtime.atomic import replacing
from classification.runtime.errors import AccessError, StorageError
from classification.runtime.progress import bar
from classification.storage import digests, retrying
from classification.storage.connection import (
    InvalidAddressError,
    RefusedAddressError,
    anywhere,
    asking,
)
from classification.storage.retrying import Deadline, PassingError, Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from urllib3.response import BaseHTTPResponse

    from classification.storage.digests import Md5

T = TypeVar("T")

DEFAULT_PATIENCE = Patience(tries=4)  # of single files, for which somebody waits

_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_BYTES = 1 << 18
_GOOD = frozenset({200})
_NOTHING_THERE = frozenset({404, 410})
_NO_HEAD = frozenset({405, 501})
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_AZURE_ERROR = "x-ms-error-code"
_AZURE_CONTAINER_GONE = frozenset({"ContainerNotFound", "ContainerBeingDeleted"})


class DownloadError(StorageError):
    """What an address names cannot be had, or is not what was expected."""


class MissingError(DownloadError):
    """The server says that there is nothing at the address."""


class NoAnswerError(DownloadError):
    """What may pass did not, however often it was tried."""


class _NothingCameError(PassingError):
    """An answer without a byte; the last try's is taken as it is."""


def fetch(
    url: str, target: Path, *, checksum: str = "", patience: Patience = DEFAULT_PATIENCE
) -> None:
    """Fetches what is at ``url`` into ``target``.

    Args:
        url: of http or https; it may hold a token, which no message shows.
        target: the file; it appears whole or not at all.
        checksum: ``<algorithm>:<hex digest>`` that the file must have, or the first
            digits of it; empty for none.
        patience: how long to wait, and how often to try.

    Raises:
        AccessError: the server lets nobody in with this token, or without one.
        DownloadError: it cannot be had, or has another digest.
        StorageError: ``target`` cannot be written.
    """
    attempt = partial(_try_once, url, target, checksum, patience)
    _insist(url, attempt, patience)


def read(
    url: str,
    *,
    max_bytes: int,
    patience: Patience = DEFAULT_PATIENCE,
    md5: Md5 = "check",
    may_ask: Callable[[str], bool] = anywhere,
) -> bytes:
    """Returns what is at ``url``; see ``load``."""
    return load(url, max_bytes=max_bytes, patience=patience, md5=md5, may_ask=may_ask)[
        0
    ]


def load(
    url: str,
    *,
    max_bytes: int,
    patience: Patience = DEFAULT_PATIENCE,
    md5: Md5 = "check",
    may_ask: Callable[[str], bool] = anywhere,
) -> tuple[bytes, Mapping[str, str]]:
    """Return what is at ``url``, and the head of the answer.

    Args:
        url: of http or https; it may hold a token, which no message shows.
        max_bytes: more than this is refused; nothing at all is a file, too.
        patience: how long to wait, and how often to try.
        md5: what to do about the MD5 that the server says.
        may_ask: says which addresses may be asked for, should the server lead on.

    Raises:
        AccessError: the server lets nobody in with this token, or without one.
        MissingError: there is nothing.
        NoAnswerError: no try got all of it.
        DownloadError: it cannot be had.
    """
    attempt = partial(
        _read_once,
        url=url,
        max_bytes=max_bytes,
        patience=patience,
        md5=md5,
        may_ask=may_ask,
    )
    return _insist(url, attempt, patience)


def exists(
    url: str,
    *,
    patience: Patience = DEFAULT_PATIENCE,
    may_ask: Callable[[str], bool] = anywhere,
) -> bool:
    """Says whether there is something at ``url``, without reading it.

    Raises:
        DownloadError: it cannot be told.
        AccessError: the server lets nobody in with this token, or without one.
    """
    try:
        head(url, patience=patience, may_ask=may_ask)
    except MissingError:
        return False
    return True


def head(
    url: str,
    *,
    patience: Patience = DEFAULT_PATIENCE,
    may_ask: Callable[[str], bool] = anywhere,
) -> Mapping[str, str]:
    """Return the head of the answer for ``url``, without its body.

    Raises:
        AccessError: the server lets nobody in with this token, or without one.
        MissingError: there is nothing.
        DownloadError: it cannot be told.
    """
    return _insist(url, partial(_ask_once, url, patience, may_ask), patience)


def _insist(url: str, attempt: Callable[[Deadline], T], patience: Patience) -> T:
    try:
        return retrying.insist(shown(url), attempt, patience)
    except retrying.GaveUpError as error:
        is_answer = isinstance(error.__cause__, _NothingCameError)
        kind = DownloadError if is_answer else NoAnswerError
        raise kind(f"cannot download {shown(url)}: {error}") from None


def _try_once(
    url: str, target: Path, checksum: str, patience: Patience, deadline: Deadline
) -> None:
    algorithm, _, expected = checksum.partition(":")
    digest = hashlib.new(algorithm or "sha256", usedforsecurity=False)
    with (
        replacing(target) as file,
        _reasons(url),
        _open(url, patience) as answer,
    ):
        for chunk in _receive(answer, patience, deadline, with_bar=True):
            digest.update(chunk)
            file.write(chunk)
        if not file.tell():
            raise _NothingCameError("nothing came")
        if not digest.hexdigest().startswith(expected):
            raise DownloadError(
                f"{shown(url)} is not what was expected: its {algorithm} is "
                f"{digest.hexdigest()}, not {expected}"
            )


def _read_once(  # noqa: PLR0913 - those of ``read``
    deadline: Deadline,
    *,
    url: str,
    max_bytes: int,
    patience: Patience,
    md5: Md5,
    may_ask: Callable[[str], bool],
) -> tuple[bytes, Mapping[str, str]]:
    data = bytearray()
    with _reasons(url), _open(url, patience, may_ask) as answer:
        for chunk in _receive(answer, patience, deadline, with_bar=False):
            data += chunk
            if len(data) > max_bytes:
                raise DownloadError(f"{shown(url)} is larger than {max_bytes} bytes")
        if not data and answer.headers.get("Content-Length") != "0":
            raise PassingError("nothing came")
        if md5 != "off":
            _check_md5(url, data, answer.headers, is_required=md5 == "require")
    return bytes(data), answer.headers


def _check_md5(
    url: str, data: bytearray, headers: Mapping[str, str], *, is_required: bool
) -> None:
    stated = digests.stated_md5(headers)
    if stated is None:
        if is_required:
            raise DownloadError(f"{shown(url)}: the server says no MD5 (--md5 require)")
        return
    if hashlib.md5(data, usedforsecurity=False).digest() != stated:
        raise PassingError("the bytes that came have another MD5 than the server says")


def _ask_once(
    url: str, patience: Patience, may_ask: Callable[[str], bool], _: Deadline
) -> Mapping[str, str]:
    with _reasons(url):
        try:
            with _open(url, patience, may_ask, method="HEAD") as answer:
                return answer.headers
        except _NoHeadError:
            with _open(url, patience, may_ask) as answer:
                return answer.headers


class _NoHeadError(Exception):
    """The server does not know HEAD."""


@contextmanager
def _open(
    url: str,
    patience: Patience,
    may_ask: Callable[[str], bool] = anywhere,
    *,
    method: str = "GET",
) -> Iterator[BaseHTTPResponse]:
    with asking(
        url, method=method, silence_s=patience.silence_s, may_ask=may_ask
    ) as answer:
        if method == "HEAD" and answer.status in _NO_HEAD:
            raise _NoHeadError
        if answer.status not in _GOOD:
            raise _failure_of(answer, url)
        yield answer


def _failure_of(answer: BaseHTTPResponse, url: str) -> Exception:
    """Says what an answer other than a good one means."""
    status, code = answer.status, answer.headers.get(_AZURE_ERROR, "")
    phrase = http.client.responses.get(status, "")
    reason = f"HTTP {status} {phrase}".strip() + (f" ({code})" if code else "")
    if status in retrying.TEMPORARY:
        return PassingError(reason, wait_s=retrying.asked_wait_s(answer.headers))
    if code in _AZURE_CONTAINER_GONE:
        return AccessError(f"{_site(url)} has no such container: {reason}")
    is_shut = status == _FORBIDDEN and (code or "sig=" in url)
    if status == _UNAUTHORIZED or is_shut:
        return AccessError(f"{_site(url)} lets nobody in{_because(url)}: {reason}")
    kind = MissingError if status in _NOTHING_THERE else DownloadError
    return kind(f"cannot download {shown(url)}: {reason}")


def _site(url: str) -> str:
    parts = urllib.parse.urlsplit(shown(url))
    return f"{parts.scheme}://{parts.netloc}"


def _because(url: str) -> str:
    """Says when the token in an address expired; ``se`` is a SAS's, and no secret."""
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
    expiry = query.get("se", [""])[0]
    is_time = expiry[:4].isdigit() and expiry.isprintable()
    if is_time and expiry < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()):
        return f" with a token that expired at {expiry}"
    return " with this token" if "sig" in query else ""


@contextmanager
def _reasons(url: str) -> Iterator[None]:
    """Says in our words what goes wrong inside, and whether it may pass."""
    try:
        yield
    except InvalidAddressError:
        raise DownloadError(
            f"cannot download {shown(url)}: not an address of http or https"
        ) from None
    except RefusedAddressError:
        raise DownloadError(
            f"cannot download {shown(url)}: it leads to an address that is not allowed"
        ) from None
    except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
        if any(isinstance(e, ssl.SSLCertVerificationError) for e in _chain(error)):
            raise DownloadError(
                f"cannot download {shown(url)}: its certificate is not trusted"
            ) from None
        raise PassingError(reason_of(error)) from None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error, and those that it came of."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            causes = (one.__cause__, one.__context__, *one.args)
            waiting += [cause for cause in causes if isinstance(cause, BaseException)]


def reason_of(error: BaseException) -> str:
    """Says what went wrong in our words; a server's might quote the address."""
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, TimeoutError | urllib3.exceptions.ReadTimeoutError):
            return "no answer in time"
        if isinstance(cause, urllib3.exceptions.IncompleteRead) and cause.expected:
            whole = int(cause.partial) + cause.expected
            return f"{cause.partial} of {whole} bytes came"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    broken = (urllib3.exceptions.ProtocolError, http.client.HTTPException)
    if isinstance(causes[0], broken):
        return "the answer broke off"
    return type(causes[0]).__name__


def _receive(
    answer: BaseHTTPResponse, patience: Patience, deadline: Deadline, *, with_bar: bool
) -> Iterator[bytes]:
    """Yields the body of an answer, all of it, unless it comes too slowly."""
    stated = answer.headers.get("Content-Length", "")
    total = int(stated) / 1e6 if _LENGTH.fullmatch(stated) else None
    received, began_s = 0, time.monotonic()
    with bar(total, unit="MB") if with_bar else nullcontext() as progress:
        while chunk := answer.read1(_CHUNK_BYTES, decode_content=False):
            received += len(chunk)
            if progress is not None:
                progress.update(len(chunk) / 1e6)
            yield chunk
            spent_s = time.monotonic() - began_s
            is_drip = received < patience.least_rate * spent_s
            if deadline.left_s() < 0 or (is_drip and spent_s > retrying.GRACE_S):
                raise PassingError(f"{received} bytes came, too slowly")
