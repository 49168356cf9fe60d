"""What a file was when it was read: its digest, and what tells without reading it again.

Contents decide whether a result still is of its image, not names. Size and time spare the
reading: see ``storage.changes``, which holds the rule.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

DIGEST_BYTES = 16


class Stamp(NamedTuple):
    """What a disk or a server tells of a file without its bytes.

    Attributes:
        size: in bytes; -1 where it is not told.
        modified: nanoseconds since 1970 at which it was last written; 0 where it is not
            told. Servers tell whole seconds.
        tag: MD5 or ETag that a server states; empty where it states none.
    """

    size: int
    modified: int = 0
    tag: str = ""


class Contents(NamedTuple):
    """What a file was.

    Attributes:
        digest: of its bytes, see ``digest``.
        stamp: of the file when these were read; None where nothing tells.
    """

    digest: str
    stamp: Stamp | None


def digest(data: bytes) -> str:
    """Return the digest of an image's bytes: BLAKE2b, 16 bytes, as 32 hex digits."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
