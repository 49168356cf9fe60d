"""What a server says of a file: its MD5, and what else tells that it was replaced."""

from __future__ import annotations

import base64
import binascii
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, get_args

from classification.runtime.contents import Stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

Md5 = Literal["check", "require", "off"]
"""Whether an MD5 is checked where the server says one, has to be said, or is passed over."""

MODES: tuple[Md5, ...] = get_args(Md5)

_MD5_BYTES = 16
_MOST_DIGITS = 18  # what 64 bits hold
_NOTHING = Stamp(-1)
_AZURE, _GOOGLE = "Content-MD5", "x-goog-hash"


def stated_md5(headers: Mapping[str, str]) -> bytes | None:
    """Returns the MD5 that an answer's head says; None where it says none.

    Read are ``Content-MD5`` (RFC 1864; Azure sends it with whole blobs) and Google's
    ``x-goog-hash: crc32c=...,md5=...``. The ``ETag`` of others is an MD5 only at times.
    """
    stated = _decode(headers.get(_AZURE, ""))
    if stated is not None:
        return stated
    for part in headers.get(_GOOGLE, "").split(","):
        kind, _, value = part.strip().partition("=")
        if kind == "md5":
            return _decode(value)
    return None


def stated_stamp(headers: Mapping[str, str]) -> Stamp | None:
    """Return what an answer's head tells of a file; None where it tells nothing.

    The tag is the MD5 or else the ``ETag`` (RFC 9110, 8.8.3), without the mark of a weak
    one. The length is not that of a whole file where the body is packed.
    """
    md5 = stated_md5(headers)
    tag = md5.hex() if md5 else headers.get("ETag", "").removeprefix("W/").strip('" ')
    length = headers.get("Content-Length", "")
    is_packed = headers.get("Content-Encoding", "identity") != "identity"
    is_length = length.isascii() and length.isdecimal() and len(length) <= _MOST_DIGITS
    size = int(length) if is_length and not is_packed else -1
    stamp = Stamp(size, _modified_ns(headers.get("Last-Modified", "")), tag)
    return None if stamp == _NOTHING else stamp


def _modified_ns(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1_000_000_000
    except (ValueError, OverflowError, OSError):
        return 0


def _decode(text: str) -> bytes | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == _MD5_BYTES else None
