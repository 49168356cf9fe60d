"""The output layouts of YOLO networks, and how boxes are read from each.

| head | shape | a row holds |
|---|---|---|
| ``yolox`` | [cells, 5 + classes] | centre, size (pixels), objectness, classes |
| ``yolox-raw`` | [cells, 5 + classes] | the same before the grid is applied |
| ``yolov5`` | [3 x cells, 5 + classes] | as ``yolox``, three anchors a cell |
| ``yolov8`` | [4 + classes, cells] | (columns) centre, size (pixels), classes |
| ``end-to-end`` | [boxes, 6] | corners (pixels), confidence, class; final boxes |

``cells`` are those of strides 8, 16 and 32 (and 64 in large YOLOv5 models), fine ones
first, row by row. Pixels are those of the network's input. YOLO11 and YOLOv9 have the
head of YOLOv8.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIDES_PX = (8, 16, 32)
_STRIDES_LARGE_PX = (8, 16, 32, 64)
_ANCHORS = 3
_BOX = 4  # numbers that say where a box is
_END_TO_END_COLUMNS = 6


class Head(Enum):
    """A layout; see the table above."""

    YOLOX = "yolox"
    YOLOX_RAW = "yolox-raw"
    YOLOV5 = "yolov5"
    YOLOV8 = "yolov8"
    END_TO_END = "end-to-end"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Reads a layout's name.

        Raises:
            ModelError: there is no layout of that name.
        """
        for head in cls:
            if head.value == text:
                return head
        raise ModelError(
            f"no output layout {text!r}; there are {', '.join(head.value for head in cls)}"
        )

    @property
    def suppressed(self) -> bool:
        """Says whether the boxes come without overlapping ones."""
        return self is Head.END_TO_END


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes of one image in pixels of the network's input.

    Attributes:
        corners: left, top, right, bottom, float32 [boxes, 4].
        scores: confidence in [0, 1], float32 [boxes].
        categories: index of the class, from 0, [boxes].
    """

    corners: NDArray[np.float32]
    scores: NDArray[np.float32]
    categories: NDArray[np.intp]


def decode(
    head: Head,
    output: NDArray[np.float32],
    *,
    height_px: int,
    width_px: int,
    threshold: float,
) -> Candidates:
    """Reads the boxes of one image from the network's output.

    Args:
        head: layout of the output.
        output: as the network gave it, without the batch dimension.
        height_px: of the network's input.
        width_px: of it.
        threshold: boxes below this confidence are left out.
    """
    if head is Head.END_TO_END:
        sure = output[:, 4] >= threshold
        rows = output[sure]
        return Candidates(rows[:, :_BOX], rows[:, 4], rows[:, 5].astype(np.intp))
    if head is Head.YOLOV8:
        return _from_classes(output[:_BOX].T, output[_BOX:].T, threshold)
    sure = output[:, _BOX] >= threshold  # a class probability can only lower it
    boxes = output[:, :_BOX][sure]
    if head is Head.YOLOX_RAW:
        boxes = _on_grid(boxes, _grid(height_px, width_px)[sure])
    return _from_classes(
        boxes, output[sure, _BOX + 1 :] * output[sure, _BOX, None], threshold
    )


def _from_classes(
    boxes: NDArray[np.float32], classes: NDArray[np.float32], threshold: float
) -> Candidates:
    """Gives each box its likeliest class; ``classes`` is [boxes, classes]."""
    categories = classes.argmax(axis=1)
    scores = classes.max(axis=1)
    sure = scores >= threshold
    centre, half = boxes[sure, :2], boxes[sure, 2:] / np.float32(2)
    corners: NDArray[np.float32] = np.concatenate(
        (centre - half, centre + half), axis=1
    )
    return Candidates(corners, scores[sure], categories[sure])


def _on_grid(
    raw: NDArray[np.float32], cells: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Decodes YOLOX: centre = (offset + cell) x stride, size = exp(raw) x stride.

    Source: YOLOX, arXiv:2107.08430, the anchor-free head.
    """
    place, stride = cells[:, :2], cells[:, 2:]
    with np.errstate(over="ignore"):  # an absurd size is infinite, and clipped later
        size = np.exp(raw[:, 2:]) * stride
    return np.concatenate(((raw[:, :2] + place) * stride, size), axis=1)


@functools.lru_cache(maxsize=16)
def _grid(height_px: int, width_px: int) -> NDArray[np.float32]:
    """Returns column, row and stride of every cell, shape [cells, 3]."""
    levels = []
    for stride in _STRIDES_PX:
        rows, columns = np.mgrid[: height_px // stride, : width_px // stride]
        strides = np.full(rows.size, stride)
        levels.append(np.stack((columns.ravel(), rows.ravel(), strides), axis=1))
    return np.concatenate(levels).astype(np.float32)


def infer(shape: tuple[int, int], *, height_px: int, width_px: int) -> Head | None:
    """Tells the layout from the output's shape, or None where it tells nothing.

    ``yolox`` stands for itself and for ``yolox-raw``: their shapes are the same.

    Args:
        shape: of the output for one image.
        height_px: of the network's input.
        width_px: of it.
    """
    rows, columns = shape
    cells = _cells(_STRIDES_PX, height_px, width_px)
    large = _cells(_STRIDES_LARGE_PX, height_px, width_px)
    if columns == cells and rows > _BOX:
        return Head.YOLOV8
    if rows == cells and columns > _BOX + 1:
        return Head.YOLOX
    if rows in {_ANCHORS * cells, _ANCHORS * large} and columns > _BOX + 1:
        return Head.YOLOV5
    if columns == _END_TO_END_COLUMNS and rows < cells:
        return Head.END_TO_END
    return None


def class_count(head: Head, shape: tuple[int, int]) -> int | None:
    """Returns the number of classes of an output; None where the shape is silent."""
    if head is Head.END_TO_END:
        return None
    return shape[0] - _BOX if head is Head.YOLOV8 else shape[1] - _BOX - 1


def _cells(strides: tuple[int, ...], height_px: int, width_px: int) -> int:
    return sum((height_px // stride) * (width_px // stride) for stride in strides)
