"""Detector engines: one module per model format, behind one protocol.

``load`` picks the engine by the file's extension. An engine is built from a model file
and does two things: ``prepare``, which may run in many threads beside each other, and
``detect``, which runs in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from detection.records import Detection


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An image as the network takes it.

    Attributes:
        pixels: the network's input for one image; shape and dtype are the engine's.
        width_px: width of the upright image it was made from.
        height_px: height of it.
    """

    pixels: NDArray[Any]
    width_px: int
    height_px: int


class Detector(Protocol):
    """A loaded model.

    Attributes:
        categories: name by category id, such as ``{"1": "animal"}``.
    """

    categories: Mapping[str, str]

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """Makes the network's input of an upright RGB image [height, width, 3]."""
        ...

    def detect(
        self, batch: Sequence[Prepared], *, threshold: float
    ) -> list[tuple[Detection, ...]]:
        """Finds the boxes of each image with a confidence of at least ``threshold``.

        Returns:
            One tuple for each image of ``batch``, in its order: detections by falling
            confidence, boxes clipped to the image; conf rounded to 3 decimals and
            bbox to 4, as MegaDetector writes them.
        """
        ...
