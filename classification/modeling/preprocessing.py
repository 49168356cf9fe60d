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


def square(image: Image.Image, side: int) -> Image.Image:
    """Resizes the shorter side to ``side`` pixels and cuts out the centre.

    Args:
        image: mode RGB.
        side: in pixels.

    Returns:
        An RGB image of ``side`` x ``side`` pixels.
    """
    width, height = resized_size(*image.size, side)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    # Python rounds halves to even, and so does torchvision's centre crop.
    left, top = round((width - side) / 2), round((height - side) / 2)
    return resized.crop((left, top, left + side, top + side))


def fill(
    image: Image.Image, preprocessing: Preprocessing, out: NDArray[np.float32]
) -> None:
    """Writes the network's input for one image into ``out``.

    Args:
        image: mode RGB, any size.
        preprocessing: what the network was trained with.
        out: shape [3, S, S], overwritten; part of a batch that is used again and
            again, because fresh large arrays cost more than the arithmetic.
    """
    pixels = np.asarray(square(image, preprocessing.image_size)).transpose(2, 0, 1)
    scale = preprocessing.normalisation
    np.divide(pixels, np.float32(scale.divisor), out=out)
    out -= _per_channel(scale.mean)
    out /= _per_channel(scale.std)


def _per_channel(values: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None, None]
