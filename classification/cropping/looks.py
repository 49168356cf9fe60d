"""What a crop looks like, in three numbers: a perceptual hash, contrast, colour.

The **hash** is 64 bits that stay nearly the same when a picture is saved, scaled or
brightened anew: the picture is shrunk to 32 x 32 grey pixels, and each bit says whether
one of the 8 x 8 lowest frequencies of its cosine transform is above their median (Zauner:
Implementation and benchmarking of perceptual image hash functions, 2010). Two pictures
look alike where few bits differ (``dataset.near_duplicates``).

**Contrast** is the standard deviation of these grey pixels, in grey levels of 256. Below
``FLAT`` there is too little to tell one picture from another: the bits of an empty or
black crop are noise, and all such crops would look alike.

**Colour** is that which does not follow from brightness, and tells night from day; see
``infrared``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from classification.cropping import infrared
from classification.cropping.images import open_image
from classification.storage.each import read_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from classification.runtime.errors import ItemError
    from classification.storage import ImageStore

FLAT = 4.0

_SIDE = 32
_FREQUENCIES = 8
_DECIMALS = 2
_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow


class Look(NamedTuple):
    """What a crop looks like; see the module.

    Attributes:
        bits: the perceptual hash, 64 bits.
        contrast: in grey levels, from 0 to 128.
        own_colour: in levels from 0, grey; see ``infrared``.
    """

    bits: int
    contrast: float
    own_colour: float


def looks(
    names: Iterable[str], store: ImageStore, *, threads: int
) -> Iterator[Look | ItemError]:
    """Yields what each crop looks like, in order; or why it cannot be read.

    A few crops for each thread are in memory at a time.

    Raises:
        StorageError: the store as a whole cannot be reached.
    """

    def look(data: bytes) -> Look:
        return look_at(open_image(data, least_side_px=infrared.SIDE_PX).image)

    return (found for _, found in read_each(names, store, look, threads=threads))


def look_at(image: Image.Image) -> Look:
    """Returns what an RGB picture looks like."""
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.float64) @ _GREY_WEIGHTS
    return Look(perceptual_hash(grey), float(grey.std()), infrared.colour_of(image))


def perceptual_hash(grey: NDArray[np.float64]) -> int:
    """Returns the hash of a picture of 32 x 32 grey pixels, float64 [32, 32]."""
    # Rounded, so that the order of additions decides no bit.
    lowest = np.round(_COSINES @ grey @ _COSINES.T, _DECIMALS).ravel()
    bits = np.packbits(lowest > np.median(lowest))
    return int.from_bytes(bits.tobytes(), "big")


def _cosines() -> NDArray[np.float64]:
    """Returns the lowest rows of the cosine transform (DCT-II) of 32 numbers."""
    frequencies, places = np.arange(_FREQUENCIES)[:, None], np.arange(_SIDE)
    waves: NDArray[np.float64] = np.cos(
        np.pi * (2 * places + 1) * frequencies / (2 * _SIDE)
    )
    return waves


_COSINES = _cosines()
