"""Fits an image of any shape into a network's input, and maps boxes back.

The image keeps its aspect: it is scaled until it fits, and the rest of the frame is
filled with one grey. The YOLO families differ in where the image goes, what it is filled
with, and whether pixels are divided by 255.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from classification.cropping import images
from detection.boxes import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREY = 114  # what the YOLO families fill with, by custom


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an image lies in its frame, in pixels.

    Attributes:
        left: of the image.
        top: of the image.
        width: of the scaled image.
        height: of the scaled image.
        frame_width: of the network's input.
        frame_height: of the network's input.
    """

    left: int
    top: int
    width: int
    height: int
    frame_width: int
    frame_height: int

    def to_box(self, corners: NDArray[np.float32]) -> Box:
        """Maps left, top, right, bottom in the frame to a box of the image.

        Returns:
            The part inside the image, rounded to 4 decimals such that it stays inside.
        """
        left, top, right, bottom = (float(value) for value in corners)
        return rounded_box(
            (left - self.left) / self.width,
            (top - self.top) / self.height,
            (right - self.left) / self.width,
            (bottom - self.top) / self.height,
        )


def rounded_box(left: float, top: float, right: float, bottom: float) -> Box:
    """Returns the part of a box inside the image, in 4 decimals, still inside.

    Corners are rounded, not width and height: 0.33335 + 0.66665 would come to 1.0001.
    """
    left, top, right, bottom = (
        round(min(1.0, max(0.0, value)), 4) for value in (left, top, right, bottom)
    )
    return Box(left, top, round(right - left, 4), round(bottom - top, 4))


@dataclass(frozen=True, kw_only=True, slots=True)
class Letterbox:
    """How a family of networks wants its input.

    Attributes:
        width_px: of the frame.
        height_px: of the frame.
        stride_px: each side may shrink to the next multiple of this that the image
            needs; None for a frame of fixed size.
        centred: the image is in the middle of the frame, else at its top left.
        fill: value of the pixels around it, 0 to 255.
        divisor: what 8-bit pixels are divided by.
        channels: ``RGB`` or ``BGR``.
    """

    width_px: int
    height_px: int
    stride_px: int | None = None
    centred: bool = True
    fill: int = GREY
    divisor: float = 255.0
    channels: str = "RGB"

    def place(self, width_px: int, height_px: int) -> Placement:
        """Says where an image of this size goes."""
        ratio = min(self.width_px / width_px, self.height_px / height_px)
        width = max(1, round(width_px * ratio))
        height = max(1, round(height_px * ratio))
        frame_width = self._side(self.width_px, width)
        frame_height = self._side(self.height_px, height)
        return Placement(
            left=(frame_width - width) // 2 if self.centred else 0,
            top=(frame_height - height) // 2 if self.centred else 0,
            width=width,
            height=height,
            frame_width=frame_width,
            frame_height=frame_height,
        )

    def _side(self, most_px: int, needed_px: int) -> int:
        if self.stride_px is None:
            return most_px
        return -(-needed_px // self.stride_px) * self.stride_px

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Puts an RGB image [height, width, 3] into the frame, [3, height, width]."""
        place = self.place(image.shape[1], image.shape[0])
        scaled = _resize(image, place.width, place.height)
        if self.channels == "BGR":
            scaled = scaled[..., ::-1]
        frame = np.full(
            (3, place.frame_height, place.frame_width),
            self.fill / self.divisor,
            dtype=np.float32,
        )
        rows = slice(place.top, place.top + place.height)
        columns = slice(place.left, place.left + place.width)
        np.divide(
            scaled.transpose(2, 0, 1),
            np.float32(self.divisor),
            out=frame[:, rows, columns],
        )
        return frame


def _resize(
    image: NDArray[np.uint8], width_px: int, height_px: int
) -> NDArray[np.uint8]:
    # Pillow's bilinear filter averages all pixels it takes together; measured against
    # sampling four of them, as OpenCV's does, it finds the same animals with fewer
    # false boxes.
    if image.shape[:2] == (height_px, width_px):
        return image
    scaled = images.to_image(image).resize(
        (width_px, height_px), Image.Resampling.BILINEAR
    )
    return np.asarray(scaled)
