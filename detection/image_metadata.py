"""What a camera wrote into an image: EXIF tags and the time, fit for JSON.

EXIF comes from cameras, editors and strangers: a tag may hold a megabyte, a lone
surrogate, or an offset past the end of the file. Whatever can be read comes out as
text and numbers of bounded size; what cannot be read is left out.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from PIL import ExifTags

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from PIL import Image

    from detection.records import TagValue

MAX_TAGS = 200
MAX_TEXT_LENGTH = 500
MAX_NUMBERS = 16
_MAX_INTEGER = 2**53  # what every JSON reader keeps exact

_TIME_FORMAT = "%Y:%m:%d %H:%M:%S"
# Offsets of other blocks, which mean nothing outside the file.
_POINTERS = frozenset({"ExifOffset", "GPSInfo", "ExifInteroperabilityOffset"})


def known_tags() -> frozenset[str]:
    """Returns the names of all tags there are, as in ``DateTimeOriginal``."""
    return frozenset(ExifTags.TAGS.values()) | frozenset(ExifTags.GPSTAGS.values())


def read_tags(
    image: Image.Image, wanted: Collection[str] | None = None
) -> dict[str, TagValue]:
    """Returns the image's EXIF tags by name, sorted.

    Args:
        image: an opened image; it need not be decoded.
        wanted: names of the tags to return; None for all.

    Returns:
        At most ``MAX_TAGS`` tags; texts are cut at ``MAX_TEXT_LENGTH`` characters, long
        binary values stand as ``<N bytes>``. Empty where nothing can be read.
    """
    tags: dict[str, TagValue] = {}
    for name, raw in _raw_tags(image):
        if name in _POINTERS or (wanted is not None and name not in wanted):
            continue
        value = _to_json(raw)
        if value is not None:
            tags[name] = value
        if len(tags) == MAX_TAGS:
            break
    return dict(sorted(tags.items()))


def read_time(image: Image.Image) -> str | None:
    """Returns when the picture was taken, as the camera wrote it, or None.

    The form is EXIF's own, ``2022:11:22 20:47:15``, in the camera's local time.
    """
    text = read_tags(image, ("DateTimeOriginal",)).get("DateTimeOriginal")
    if not isinstance(text, str):
        return None
    try:
        time.strptime(text, _TIME_FORMAT)
    except ValueError:
        return None
    return text


def _raw_tags(image: Image.Image) -> Iterator[tuple[str, object]]:
    blocks = (
        (None, ExifTags.TAGS),
        (ExifTags.IFD.Exif, ExifTags.TAGS),
        (ExifTags.IFD.GPSInfo, ExifTags.GPSTAGS),
    )
    for block, name_by_id in blocks:
        for number, value in _block(image, block).items():
            yield name_by_id.get(number, f"Tag{number}"), value


def _block(image: Image.Image, block: int | None) -> Mapping[int, object]:
    try:
        exif = image.getexif()
        return dict(exif if block is None else exif.get_ifd(block))
    except Exception:  # noqa: BLE001 - a parser fed with hostile bytes raises anything
        return {}


def _to_json(value: object) -> TagValue | None:
    if isinstance(value, tuple | list):
        found = [_scalar(item) for item in value[:MAX_NUMBERS]]
        return [item for item in found if item is not None]
    return _scalar(value)


def _scalar(value: object) -> str | int | float | None:
    match value:
        case str():
            return _text(value)
        case bytes():
            return _binary(value)
        case int() if abs(value) <= _MAX_INTEGER:
            return value
        case None | dict():
            return None
        case _:
            return _number(value)


def _text(value: str) -> str:
    text = value.replace("\0", "").strip()[:MAX_TEXT_LENGTH]
    return text.encode(errors="replace").decode()


def _binary(value: bytes) -> str:
    bare = value.strip(b"\0 ")
    if bare.isascii() and len(bare) <= MAX_TEXT_LENGTH:
        return _text(bare.decode())
    return f"<{len(value)} bytes>"


def _number(value: object) -> float | None:
    """Converts a fraction; a camera writes 0/0 for what it does not know."""
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever it is, it may refuse
    except (TypeError, ValueError, ArithmeticError):
        return None
    return round(number, 8) if math.isfinite(number) else None
