"""What an image goes through before a classifier sees it: resize, crop, normalise.

The one definition for evaluation and inference: the shorter side is resized to S
(bicubic, antialiased), the central S x S pixels are cut out, values are normalised. The
numbers are those of torchvision's ``Resize``, ``CenterCrop``, ``ToTensor`` and
``Normalize`` on Pillow images; torch itself is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from classification.modeling import catalog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from classification.modeling.catalog import Normalisation


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How pixels become a network's input.

    Attributes:
        image_size: side S of the square input, in pixels.
        normalisation: of the values.
    """

    image_size: int
    normalisation: Normalisation = catalog.IMAGENET


def resized_size(width: int, height: int, shorter_side: int) -> tuple[int, int]:
    """Returns (width, height) in pixels once the shorter side is ``shorter_side``.

    The longer side is rounded down, as torchvision does.
    """
    if width <= height:
        return shorter_side, int(shorter_side * height / width)
    return int(shorter_side * width / height), shorter_side


def square(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """Resizes the shorter side to ``side`` pixels and cuts out the centre.

    Args:
        image: mode RGB, any size.
        side: in pixels.

    Returns:
        Shape [side, side, 3], RGB.
    """
    width, height = resized_size(*image.size, side)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    # Python rounds halves to even, and so does torchvision's centre crop.
    left, top = round((width - side) / 2), round((height - side) / 2)
    return np.asarray(resized.crop((left, top, left + side, top + side)))


def normalise(
    squares: NDArray[np.uint8], normalisation: Normalisation
) -> NDArray[np.float32]:
    """Returns a network's input for squares of pixels.

    Args:
        squares: shape [N, S, S, 3], RGB.
        normalisation: what the network was trained with.

    Returns:
        Shape [N, 3, S, S], contiguous.
    """
    count, height, width, channels = squares.shape
    images = np.empty((count, channels, height, width), np.float32)
    np.divide(
        squares.transpose(0, 3, 1, 2), np.float32(normalisation.divisor), out=images
    )
    images -= _per_channel(normalisation.mean)
    images /= _per_channel(normalisation.std)
    return images


def _per_channel(values: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None, None]
