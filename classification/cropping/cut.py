"""Where a crop's pixels come from, and how they are laid out.

All of it is arithmetic on whole pixels of the upright image, whose origin is its upper
left corner. A box is turned into pixels by cutting off the decimals of each of its four
numbers times the image's size, as every crop that a classifier was trained on was made.

Three shapes of crop:

* the box itself (``Shape.RECTANGLE``);
* the smallest square around it, moved so that it stays inside the image, and padded with
  black only where it is larger than the image (``Shape.SQUARE``);
* the square as the original pipeline cut it (``Shape.REFERENCE_SQUARE``): near the right
  and lower edges it sticks out of the image and is black there, and a box taller than the
  image is wide loses its left part. Only for classifiers that were trained on such crops.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from detection.boxes import Box


class Shape(enum.Enum):
    """How a crop is laid around its box."""

    RECTANGLE = "rectangle"
    SQUARE = "square"
    REFERENCE_SQUARE = "reference square"


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle of an image, in pixels; ``right`` and ``bottom`` are excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Returns the width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Returns the height in pixels."""
        return self.bottom - self.top

    @property
    def area(self) -> int:
        """Returns the number of pixels."""
        return self.width * self.height

    def grown(self, margin: int) -> Rectangle:
        """Returns the rectangle with ``margin`` pixels more on each side."""
        return Rectangle(
            self.left - margin,
            self.top - margin,
            self.right + margin,
            self.bottom + margin,
        )

    def clipped(self, size: tuple[int, int]) -> Rectangle:
        """Returns the part inside an image of ``size`` (width, height)."""
        width, height = size
        return Rectangle(
            min(max(self.left, 0), width),
            min(max(self.top, 0), height),
            min(max(self.right, 0), width),
            min(max(self.bottom, 0), height),
        )

    def moved(self, right: int, down: int) -> Rectangle:
        """Returns the rectangle moved by so many pixels."""
        return Rectangle(
            self.left + right, self.top + down, self.right + right, self.bottom + down
        )

    def around(self, other: Rectangle) -> Rectangle:
        """Returns the smallest rectangle that holds this one and ``other``."""
        return Rectangle(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


@dataclass(frozen=True, slots=True)
class Cut:
    """What to copy out of an image, and onto what.

    Attributes:
        source: the pixels to copy; what lies outside the image is black.
        canvas: (width, height) of the crop; black where nothing is copied to.
        offset: (left, top) of the copied pixels on the canvas.
    """

    source: Rectangle
    canvas: tuple[int, int]
    offset: tuple[int, int] = (0, 0)

    def render(self, image: Image.Image, *, left: int = 0, top: int = 0) -> Image.Image:
        """Cuts the crop out of an image, or out of the part of it that was decoded.

        Args:
            image: upright RGB pixels; at least those of ``source`` that exist.
            left: which column of the whole image is the first of ``image``.
            top: which row of the whole image is the first of ``image``.
        """
        source = self.source.moved(-left, -top)
        copied = image.crop((source.left, source.top, source.right, source.bottom))
        if copied.size == self.canvas:
            return copied
        canvas = Image.new("RGB", self.canvas)
        canvas.paste(copied, self.offset)
        return canvas


def plan(box: Box, size: tuple[int, int], shape: Shape) -> Cut:
    """Says what the crop of ``box`` is made of.

    Args:
        box: fractions of the upright image.
        size: (width, height) of the upright image, in pixels.
        shape: how the crop is laid around the box.

    Raises:
        ItemError: the crop would hold no pixel.
    """
    rectangle = to_pixels(box, size)
    if shape is Shape.REFERENCE_SQUARE:
        cut = _reference_square(rectangle, size)
    elif shape is Shape.SQUARE:
        cut = _square(rectangle.clipped(size), size)
    else:
        cut = _plain(rectangle.clipped(size))
    if cut.source.width < 1 or cut.source.height < 1:
        raise ItemError(
            f"a box of {rectangle.width} x {rectangle.height} pixels holds no image"
        )
    return cut


def to_pixels(box: Box, size: tuple[int, int]) -> Rectangle:
    """Returns the box in pixels, each of its four numbers cut off toward zero."""
    width, height = size
    left, top = int(box.left * width), int(box.top * height)
    return Rectangle(
        left, top, left + int(box.width * width), top + int(box.height * height)
    )


def _plain(box: Rectangle) -> Cut:
    return Cut(box, (box.width, box.height))


def _square(box: Rectangle, size: tuple[int, int]) -> Cut:
    side = max(box.width, box.height)
    left, width = _fitted(box.left, box.width, side, size[0])
    top, height = _fitted(box.top, box.height, side, size[1])
    return _centred(Rectangle(left, top, left + width, top + height), side)


def _fitted(start: int, length: int, side: int, limit: int) -> tuple[int, int]:
    """Returns (start, length) of the square along one axis, inside [0, limit]."""
    kept = min(limit, side)
    return max(0, min(start - (side - length) // 2, limit - kept)), kept


def _reference_square(box: Rectangle, size: tuple[int, int]) -> Cut:
    side = max(box.width, box.height)
    left, width = _reference_fitted(box.left, box.width, side, size[0])
    top, height = _reference_fitted(box.top, box.height, side, size[1])
    return _centred(Rectangle(left, top, left + width, top + height), side)


def _reference_fitted(
    start: int, length: int, side: int, limit: int
) -> tuple[int, int]:
    """As ``_fitted``, with the original's upper bound, which lets the square stick out."""
    kept = min(limit, side)
    return max(0, min(start - (side - length) // 2, limit - length)), kept


def _centred(source: Rectangle, side: int) -> Cut:
    """Lays ``source`` in the middle of a square where it is not square itself."""
    if source.width == source.height:
        return Cut(source, (source.width, source.height))
    offset = (round((side - source.width) / 2), round((side - source.height) / 2))
    return Cut(source, (side, side), offset)
