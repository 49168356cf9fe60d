"""What a server says that the MD5 of a file is, and whether that is true."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Md5 = Literal["check", "require", "off"]
"""Whether an MD5 is checked where the server says one, has to be said, or is passed over."""

MODES: tuple[Md5, ...] = get_args(Md5)

_MD5_BYTES = 16
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


def _decode(text: str) -> bytes | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == _MD5_BYTES else None
