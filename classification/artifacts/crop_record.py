"""The comment in a crop's JPEG: which box of which image it was cut from, and how.

Written into each crop by ``crop_detections`` and ``detect_and_crop``, as a comment (COM
segment) behind the JPEG's first segments, on one line of ASCII::

    {"crop_record": 1,
     "image": "a/b.jpg",
     "image_digest": "…",
     "box": [0.1, 0.2, 0.3, 0.4],
     "geometry": {"shape": "square", "jpeg_quality": 75, "ignore_exif": false},
     "detector": "md_v5a.0.0.pt",
     "detector_digest": "…",
     "annotated": false}

The first key comes first, and its number is the version of the record. ``box`` is
[left, top, width, height] as in the file of boxes, ``shape`` is ``rectangle``, ``square``
or ``reference square``. ``annotated`` says that a person drew the box; ``detector`` is null
then. A digest is null where it is not known. Further keys do not count. A comment of
another program, of another version, or a damaged one is no record.
"""

from __future__ import annotations

import io
import json
import os
import stat
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, TypeAlias

import msgspec

from classification.runtime.errors import ItemError
from detection.boxes import Box

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
ANOTHER_IMAGE = "cut from another image"
ANOTHER_BOX = "cut from another box"
ANOTHER_DETECTOR = "of a box of another detector"
ANOTHER_GEOMETRY = "cut in another way"

_START, _COMMENT, _SCAN, _MARK = b"\xff\xd8", 0xFE, 0xDA, 0xFF
_APPLICATION = range(0xE0, 0xF0)  # JFIF, EXIF, profiles
_BEGIN = b'{"crop_record": '
_LONGEST = 0xFFFF - 2  # bytes of a segment, without those of its length
_MOST_SEGMENTS = 64
_HEAD = 4096  # bytes; most records end before
# Not to wait on a pipe; bytes as they are on Windows, too.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]


class Geometry(msgspec.Struct, frozen=True, kw_only=True):
    """How a crop is cut and saved: what shapes its pixels beside image and box.

    Attributes:
        shape: how it is laid around its box.
        jpeg_quality: 1 to 100.
        ignore_exif: the box is in fractions of the pixels as they are stored.
    """

    shape: Literal["rectangle", "square", "reference square"]
    jpeg_quality: int
    ignore_exif: bool


class CropRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a crop was made of.

    Attributes:
        image: name of its image.
        image_digest: of the image's bytes, or None.
        box: where, in fractions of the image.
        geometry: how it was cut.
        detector: whose box it is, or None.
        detector_digest: of the detector's file, or None.
        annotated: a person drew the box.
    """

    image: _Text
    image_digest: _Text | None
    box: Box
    geometry: Geometry
    detector: _Text | None
    detector_digest: _Text | None
    annotated: bool


def difference(found: CropRecord, wanted: CropRecord) -> str:
    """Say why a crop is not the one that is wanted; empty where it is.

    A digest that is None on one side does not count.

    Args:
        found: the crop's own record.
        wanted: what it should be.
    """
    if found.image != wanted.image or _differ(found.image_digest, wanted.image_digest):
        return ANOTHER_IMAGE
    if found.box != wanted.box or found.annotated != wanted.annotated:
        return ANOTHER_BOX
    if _differ(found.detector_digest, wanted.detector_digest):
        return ANOTHER_DETECTOR
    return ANOTHER_GEOMETRY if found.geometry != wanted.geometry else ""


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def encode(record: CropRecord) -> bytes:
    """Return the comment's text; the same record gives the same bytes."""
    document = {"crop_record": VERSION, **msgspec.to_builtins(record)}
    return json.dumps(document).encode()


def decode(text: bytes) -> CropRecord | None:
    """Return the record that a comment holds; None where it holds none."""
    if not text.startswith(_BEGIN):
        return None
    try:
        document: Any = json.loads(text)
        if document["crop_record"] != VERSION:
            return None
        return msgspec.convert(document, CropRecord)
    # A hostile comment raises the latter two: deep nesting, half a character as a key.
    except (ValueError, msgspec.ValidationError, RecursionError, UnicodeError):
        return None


def insert(jpeg: bytes, record: CropRecord) -> bytes:
    """Return a JPEG file with the record in it; all other bytes stay as they are.

    Raises:
        ItemError: the record is too long for a comment.
    """
    text = encode(record)
    if len(text) > _LONGEST:
        raise ItemError("its name is too long for the record in its file")
    place = 2
    while jpeg[place] == _MARK and jpeg[place + 1] in _APPLICATION:
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    length = (len(text) + 2).to_bytes(2, "big")
    segment = bytes((_MARK, _COMMENT)) + length + text
    return jpeg[:place] + segment + jpeg[place:]


def find(jpeg: bytes) -> CropRecord | None:
    """Return the record in a JPEG file; None where there is none."""
    return _find(io.BytesIO(jpeg))


def read(path: Path) -> CropRecord | None:
    """Read the record of a crop; only the head of its file is read.

    Returns:
        The record; None where there is no such file, it cannot be read, or holds none.
    """
    try:
        handle = os.open(path, _FLAGS)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        with os.fdopen(handle, "rb", buffering=_HEAD, closefd=False) as file:
            return _find(file)
    except OSError:
        return None
    finally:
        os.close(handle)


def _find(file: BinaryIO) -> CropRecord | None:
    if file.read(2) != _START:
        return None
    for _ in range(_MOST_SEGMENTS):
        head = file.read(4)
        if len(head) < len(b"\xff\xfe\0\0") or head[0] != _MARK or head[1] == _SCAN:
            return None
        length = int.from_bytes(head[2:], "big") - 2
        if length < 0:
            return None
        if head[1] != _COMMENT:
            file.seek(length, os.SEEK_CUR)
        elif record := decode(file.read(length)):
            return record
    return None
