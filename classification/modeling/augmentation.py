"""How examples are varied while a classifier learns: ``none``, ``original``, ``standard``.

All work on eight-bit pixels with Pillow, and each is a function of the pixels and of some
numbers in [0, 1), so that who gives the same numbers gets the same pixels.

``original`` is what the original pipeline does, step by step: a random part of the crop
(8 to 100 % of its area, aspect 3:4 to 4:3) resized to the square, turned by up to 90
degrees with black corners, mirrored by halves, upside down by tenths, grey by tenths,
brightness, contrast and saturation each changed by up to a quarter in random order. What
needs several passes there needs one here: mirroring is part of the turn, and the three
colour changes, each of which is linear, are one matrix; so that colours are cut off at
black and white once, at the end.

``standard`` is the default. An animal's crop is cut tightly, so a part is at least a
quarter of it; animals stand upright, so none is turned upside down. The crop is mirrored
by halves and grey by fifths, as by night every infrared camera sees, so that colour alone
does not decide. Then one change out of thirteen is made with a random strength: the
scheme of TrivialAugment (Müller and Hutter: TrivialAugment: tuning-free yet
state-of-the-art data augmentation, ICCV 2021), which has nothing to tune; with the ranges
of RandAugment (Cubuk et al., NeurIPS 2020), which for turning and shearing are narrower,
and without solarising, which no camera does.

``none`` is what evaluation sees.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from classification.cropping import images
from classification.modeling import preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Pixels: TypeAlias = "NDArray[np.uint8]"

DRAWS = 32  # numbers that an example is given; each augmentation uses some of them

_ATTEMPTS = 10  # at a part of the wanted area and aspect that fits
_ASPECTS = (3 / 4, 4 / 3)
_GREY = (0.299, 0.587, 0.114)  # Pillow's, of ITU-R 601
_ORDERS = tuple(permutations(range(3)))  # of the changes of colour
# Of what a cache keeps: how much larger than the square, and how long at most.
_MARGIN = 1.15
_LONGEST = 4
# Places in the numbers of an example.
_PART = 0
_REST = 2 * _ATTEMPTS + 2


def augment(name: str, pixels: Pixels, side: int, draws: Sequence[float]) -> Pixels:
    """Returns what the network is to see of a crop.

    Args:
        name: one of ``NAMES``.
        pixels: of the crop, shape [height, width, 3], RGB.
        side: of the square, in pixels.
        draws: ``DRAWS`` numbers in [0, 1).

    Returns:
        Shape [side, side, 3].
    """
    return np.asarray(_BY_NAME[name](pixels, side, draws))


def prepare(name: str, image: Image.Image, side: int) -> Pixels:
    """Returns the pixels that a cache keeps, to be varied in each epoch.

    They are all that ``none`` needs. For the others the crop is made small: its shorter
    side has at most 1.15 times the pixels of the square, and its longer one four
    times as many. A small crop is left as it is.

    Args:
        name: one of ``NAMES``.
        image: mode RGB.
        side: of the square, in pixels.

    Returns:
        Shape [height, width, 3].
    """
    if name == "none":
        return preprocessing.square(image, side)
    most = round(_MARGIN * side)
    factor = min(most / min(image.size), _LONGEST * most / max(image.size))
    if factor >= 1:
        return np.asarray(image)
    width, height = (max(1, round(factor * length)) for length in image.size)
    # As sharp as bicubic, nearly, at the price of bilinear.
    return np.asarray(image.resize((width, height), Image.Resampling.HAMMING))


def describe_prepared(name: str, side: int) -> str:
    """Returns a text that differs where ``prepare`` gives other pixels."""
    if name == "none":
        return f"square {side}"
    return f"shorter {round(_MARGIN * side)}, longer {_LONGEST} times, hamming"


def _none(pixels: Pixels, side: int, _: Sequence[float]) -> Pixels:
    return preprocessing.square(images.to_image(pixels), side)


def _original(pixels: Pixels, side: int, draws: Sequence[float]) -> Image.Image:
    part = _part(pixels, side, draws, smallest=0.08)
    angle, mirror, flip, grey, *factors, order = draws[_REST : _REST + 8]
    turned = _turned(
        part,
        180 * angle - 90,
        mirrored=mirror < 0.5,  # noqa: PLR2004 - the chance
        flipped=flip < 0.1,  # noqa: PLR2004 - the chance
    )
    return _coloured(
        turned,
        [0.75 + 0.5 * factor for factor in factors],
        _ORDERS[int(order * len(_ORDERS))],
        grey=grey < 0.1,  # noqa: PLR2004 - the chance
    )


def _standard(pixels: Pixels, side: int, draws: Sequence[float]) -> Image.Image:
    part = _part(pixels, side, draws, smallest=0.25)
    mirror, grey, which, strength = draws[_REST : _REST + 4]
    if mirror < 0.5:  # noqa: PLR2004 - the chance
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if grey < 0.2:  # noqa: PLR2004 - the chance
        part = part.convert("L").convert("RGB")
    return _CHANGES[int(which * len(_CHANGES))](part, 2 * strength - 1)


def _part(
    pixels: Pixels, side: int, draws: Sequence[float], *, smallest: float
) -> Image.Image:
    """Resizes a random part of the crop to the square."""
    height, width, _ = pixels.shape
    left, top, right, bottom = part_box(width, height, draws, smallest=smallest)
    part = images.to_image(pixels[top:bottom, left:right])
    return part.resize((side, side), Image.Resampling.BILINEAR)


def part_box(
    width: int, height: int, draws: Sequence[float], *, smallest: float
) -> tuple[int, int, int, int]:
    """Returns (left, top, right, bottom) of a random part, in pixels.

    Its area is uniform from ``smallest`` to all of the image, its aspect
    log-uniform from 3:4 to 4:3. Where no such part fits after ten attempts, it is the
    largest central one whose aspect is in the range.
    """
    wide, high = _part_size(width, height, draws, smallest)
    if wide:
        x, y = draws[_PART + 2 * _ATTEMPTS : _REST]
        left, top = int(x * (width - wide + 1)), int(y * (height - high + 1))
    else:
        wide, high = _largest_size(width, height)
        left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high


def _part_size(
    width: int, height: int, draws: Sequence[float], smallest: float
) -> tuple[int, int]:
    """Returns the first size drawn that fits, or zeros."""
    least, most = map(math.log, _ASPECTS)
    for first in range(_PART, _PART + 2 * _ATTEMPTS, 2):
        area = width * height * (smallest + (1 - smallest) * draws[first])
        aspect = math.exp(least + (most - least) * draws[first + 1])
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            return wide, high
    return 0, 0


def _largest_size(width: int, height: int) -> tuple[int, int]:
    """Returns the largest size in the range of aspects; at least a pixel each way."""
    least, most = _ASPECTS
    if width < least * height:
        return width, max(1, min(height, round(width / least)))
    if width > most * height:
        return max(1, min(width, round(height * most))), height
    return width, height


def _turned(
    image: Image.Image, degrees: float, *, mirrored: bool, flipped: bool
) -> Image.Image:
    """Turns a square around its centre, then mirrors it; what comes in is black."""
    middle = image.width / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across = -1 if mirrored else 1
    down = -1 if flipped else 1
    return _mapped(image, (cos * across, -sin * down, sin * across, cos * down), middle)


def _mapped(
    image: Image.Image, to_source: tuple[float, float, float, float], middle: float
) -> Image.Image:
    """Maps a square linearly around a point, nearest pixel taken, black outside."""
    a, b, c, d = to_source
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        (a, b, middle * (1 - a - b), c, d, middle * (1 - c - d)),
        Image.Resampling.NEAREST,
    )


def _coloured(
    image: Image.Image, factors: Sequence[float], order: Sequence[int], *, grey: bool
) -> Image.Image:
    """Changes brightness, contrast and saturation of an RGB image in one pass.

    Args:
        image: what to change.
        factors: of ``_CHANGES_OF_COLOUR``, in their order; 1 changes nothing.
        order: positions in it, the first change first.
        grey: take all colour away before.
    """
    colour = _Colour(0.0, 1.0, 0.0) if grey else _Colour(1.0, 0.0, 0.0)
    mean = float(np.asarray(image.convert("L")).mean())
    for which in order:
        colour, mean = _CHANGES_OF_COLOUR[which](colour, mean, factors[which])
    return image.convert("RGB", colour.matrix())


class _Colour(NamedTuple):
    """A linear change of colour: keep * colour + mix * grey + offset."""

    keep: float
    mix: float
    offset: float

    def matrix(self) -> tuple[float, ...]:
        """Returns it for Pillow, row by row: red, green, blue, offset."""
        mixed = [self.mix * weight for weight in _GREY]
        rows = [[*mixed, self.offset] for _ in _GREY]
        for channel, row in enumerate(rows):
            row[channel] += self.keep
        return tuple(number for row in rows for number in row)


def _brighter(colour: _Colour, mean: float, factor: float) -> tuple[_Colour, float]:
    return _Colour(*(number * factor for number in colour)), mean * factor


def _starker(colour: _Colour, mean: float, factor: float) -> tuple[_Colour, float]:
    """Moves all away from the mean grey, or towards it; the mean stays."""
    keep, mix, offset = (number * factor for number in colour)
    return _Colour(keep, mix, offset + (1 - factor) * round(mean)), mean


def _more_colourful(
    colour: _Colour, mean: float, factor: float
) -> tuple[_Colour, float]:
    """Moves each pixel away from its grey, or towards it; the greys stay."""
    keep, mix, offset = colour
    grey = (1 - factor) * (keep + mix)
    return _Colour(keep * factor, mix * factor + grey, offset), mean


_CHANGES_OF_COLOUR = (_brighter, _starker, _more_colourful)


def _enhanced(
    enhancer: Callable[[Image.Image], ImageEnhance._Enhance],
) -> Callable[[Image.Image, float], Image.Image]:
    """Makes a change of a kind that Pillow has; 1.9 and 0.1 times at the most."""
    return lambda image, strength: enhancer(image).enhance(1 + 0.9 * strength)


def _mapped_by(
    to_source: Callable[[float], tuple[float, float, float, float]],
) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, strength: _mapped(image, to_source(strength), image.width / 2)


def _shifted(image: Image.Image, across: float, down: float) -> Image.Image:
    """Shifts by a share of the side; what comes in is black."""
    shift = (1, 0, across * image.width, 0, 1, down * image.width)
    return image.transform(
        image.size, Image.Transform.AFFINE, shift, Image.Resampling.NEAREST
    )


def _rotation(strength: float) -> tuple[float, float, float, float]:
    angle = math.radians(30 * strength)
    return math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)


# One change each, given a strength from -1 to 1.
_CHANGES: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, _: image,
    _mapped_by(lambda strength: (1, 0.3 * strength, 0, 1)),
    _mapped_by(lambda strength: (1, 0, 0.3 * strength, 1)),
    _mapped_by(_rotation),
    lambda image, strength: _shifted(image, 0.2 * strength, 0),
    lambda image, strength: _shifted(image, 0, 0.2 * strength),
    _enhanced(ImageEnhance.Brightness),
    _enhanced(ImageEnhance.Contrast),
    _enhanced(ImageEnhance.Color),
    _enhanced(ImageEnhance.Sharpness),
    lambda image, strength: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
)
_BY_NAME: dict[str, Callable[[Pixels, int, Sequence[float]], Pixels | Image.Image]] = {
    "none": _none,
    "original": _original,
    "standard": _standard,
}
NAMES = tuple(_BY_NAME)
DEFAULT = "standard"
