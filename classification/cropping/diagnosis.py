"""Why an image could not be used: one of a few answers, told from the image alone.

Images are looked at side by side: whether one is truncated is told from how decoding it
ends, and not by a switch of the whole process that would have to be held meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import layout
from classification.artifacts.image_status import ImageStatus, Status
from classification.cropping import images
from classification.cropping.images import DEFAULT_MAX_PIXELS, TruncatedError
from classification.runtime.errors import (
    AbsentError,
    AccessError,
    ItemError,
    StorageError,
    UnreachableError,
)

if TYPE_CHECKING:
    from classification.storage import ImageStore


def diagnose(
    name: str, store: ImageStore, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> ImageStatus:
    """Looks at one image.

    Args:
        name: of the image in the store.
        store: holds it, or does not.
        max_pixels: an image of more is bad.
    """
    if not layout.is_image_name(name):
        return ImageStatus(name, Status.NON_IMAGE)
    try:
        data = store.read(name)
    except UnreachableError as error:
        return ImageStatus(name, Status.UNREACHABLE, str(error))
    except AbsentError as error:
        return ImageStatus(name, Status.NONEXISTENT, str(error))
    except ItemError as error:
        return _unread(name, store, str(error))
    return _decoded(name, data, max_pixels)


def _decoded(name: str, data: bytes, max_pixels: int) -> ImageStatus:
    try:
        images.open_image(data, max_pixels=max_pixels)
    except TruncatedError as error:
        return ImageStatus(name, Status.TRUNCATED, str(error))
    except ItemError as error:
        return ImageStatus(name, Status.BAD, str(error))
    return ImageStatus(name, Status.GOOD)


def _unread(name: str, store: ImageStore, reason: str) -> ImageStatus:
    try:
        there = store.exists(name)
    except AccessError:
        raise
    except StorageError:
        return ImageStatus(name, Status.UNREACHABLE, reason)
    return ImageStatus(name, Status.BAD if there else Status.NONEXISTENT, reason)
