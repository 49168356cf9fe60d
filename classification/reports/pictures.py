"""Pictures made small and put into the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from classification.cropping import images
from classification.storage.each import read_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from classification.runtime.errors import ItemError
    from classification.storage import ImageStore

THUMBNAIL_SIDE_PX = 112

_QUALITY = 82


@dataclass(frozen=True, slots=True)
class InlinePicture:
    """A picture as a page holds it.

    Attributes:
        uri: a ``data:`` URI of a JPEG.
        width: of the JPEG, in pixels.
        height: of the JPEG, in pixels.
    """

    uri: str
    width: int
    height: int


def inline(
    data: bytes, *, side_px: int, max_pixels: int = images.DEFAULT_MAX_PIXELS
) -> InlinePicture:
    """Scales an image down, upright, and encodes it for a page.

    Args:
        data: the image file's bytes.
        side_px: the longer side is at most this long; nothing is scaled up.
        max_pixels: as in ``images.open_image``.

    Raises:
        ItemError: it cannot be read; says why.
    """
    picture = images.open_image(data, max_pixels=max_pixels).image
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Without the metadata of the original: a page is passed on, places should not be.
    picture.info.clear()
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return InlinePicture(f"data:image/jpeg;base64,{text}", *picture.size)


def inlined(
    names: Iterable[str], store: ImageStore, *, side_px: int
) -> Iterator[tuple[str, InlinePicture | ItemError]]:
    """Yields each picture made small, in the order given; or why it cannot be read.

    Args:
        names: of images in the store.
        store: where they are.
        side_px: as in ``inline``. A thumbnail takes some 5 KB of a page.
    """
    return read_each(names, store, partial(inline, side_px=side_px))
