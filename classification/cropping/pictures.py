"""An image that was opened, but of which only the parts that crops need are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from classification.cropping import images, jpeg
from classification.cropping.cut import Rectangle

if TYPE_CHECKING:
    from collections.abc import Sequence

# Measured shares of the time that libjpeg-turbo needs for a photograph.
_READING_ROWS = 0.3
_MAKING_PIXELS = 0.7

_SWAPPED_FROM = 5
_MIRRORED_COLUMNS = frozenset({2, 3, 7, 8})
_MIRRORED_ROWS = frozenset({3, 4, 6, 7})


@dataclass(frozen=True, slots=True)
class Part:
    """Decoded pixels of a part of an image, or of all of it.

    Attributes:
        image: upright RGB.
        left: the column of the upright image where the part begins.
        top: the row where it begins.
    """

    image: Image.Image
    left: int = 0
    top: int = 0


class Picture(Protocol):
    """An image whose header was read."""

    @property
    def size(self) -> tuple[int, int]:
        """Returns (width, height) in pixels; upright unless EXIF is ignored."""
        ...

    @property
    def note(self) -> str:
        """Returns how an unusual file was read; see ``images.OpenedImage.note``."""
        ...

    def read(self, wanted: Sequence[Rectangle]) -> list[Part]:
        """Decodes, for each rectangle, a part that holds all of it that exists.

        Raises:
            ItemError: the image is damaged; says how.
        """
        ...


def open_picture(
    data: bytes,
    *,
    max_pixels: int = images.DEFAULT_MAX_PIXELS,
    apply_exif: bool = True,
) -> Picture:
    """Opens an image for being cut; whatever it is, its pixels are ``open_image``'s.

    Args:
        data: the file's bytes.
        max_pixels: refuse an image of more pixels before anything is decoded.
        apply_exif: coordinates and pixels are those of the upright image.

    Raises:
        ItemError: not an image, truncated, damaged, or too large; says which.
    """
    if jpeg.can_decode_part(data):
        header = images.read_header(data, max_pixels=max_pixels)
        if (header.format, header.mode) == ("JPEG", "RGB"):
            tag = images.orientation(header) if apply_exif else 1
            return _PlainJpeg(data, header.size, tag)
    return _Whole(images.open_image(data, max_pixels=max_pixels, apply_exif=apply_exif))


@dataclass(frozen=True, slots=True)
class _Whole:
    opened: images.OpenedImage

    @property
    def size(self) -> tuple[int, int]:
        return self.opened.image.size

    @property
    def note(self) -> str:
        return self.opened.note

    def read(self, wanted: Sequence[Rectangle]) -> list[Part]:
        return [Part(self.opened.image)] * len(wanted)


@dataclass(frozen=True, slots=True)
class _PlainJpeg:
    data: bytes
    stored_size: tuple[int, int]
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.stored_size
        return (height, width) if self.orientation >= _SWAPPED_FROM else (width, height)

    @property
    def note(self) -> str:
        return ""

    def read(self, wanted: Sequence[Rectangle]) -> list[Part]:
        areas = [one.grown(jpeg.MARGIN_PX).clipped(self.size) for one in wanted]
        parts = self._decode_cheaply(areas)
        if parts is None:
            opened = images.open_image(
                self.data,
                max_pixels=self.size[0] * self.size[1],
                apply_exif=self.orientation != 1,
            )
            return _Whole(opened).read(wanted)
        return parts

    def _decode_cheaply(self, areas: Sequence[Rectangle]) -> list[Part] | None:
        joint = areas[0]
        for area in areas[1:]:
            joint = joint.around(area)
        if self._cost(joint) <= sum(self._cost(area) for area in areas):
            part = self._decode(joint)
            return None if part is None else [part] * len(areas)
        parts = [part for area in areas if (part := self._decode(area))]
        return parts if len(parts) == len(areas) else None

    def _cost(self, area: Rectangle) -> float:
        """Returns the time to decode ``area``, that of the whole image being 1."""
        width, height = self.stored_size
        stored = to_stored(area, self.stored_size, self.orientation)
        rows = stored.bottom / height
        return _READING_ROWS * rows + _MAKING_PIXELS * stored.area / (width * height)

    def _decode(self, area: Rectangle) -> Part | None:
        stored = to_stored(area, self.stored_size, self.orientation)
        pixels = jpeg.decode_part(self.data, stored)
        if pixels is None:
            return None
        upright = images.turn(Image.fromarray(pixels), self.orientation)
        return Part(upright, area.left, area.top)


def to_stored(
    upright: Rectangle, stored_size: tuple[int, int], orientation: int
) -> Rectangle:
    """Finds a rectangle of the upright image in the pixels as the file stores them.

    Args:
        upright: in pixels of the upright image.
        stored_size: (width, height) as stored.
        orientation: EXIF orientation, 1 to 8.
    """
    width, height = stored_size
    left, top, right, bottom = upright.left, upright.top, upright.right, upright.bottom
    if orientation >= _SWAPPED_FROM:
        left, top, right, bottom = top, left, bottom, right
    if orientation in _MIRRORED_COLUMNS:
        left, right = width - right, width - left
    if orientation in _MIRRORED_ROWS:
        top, bottom = height - bottom, height - top
    return Rectangle(left, top, right, bottom)
