"""Opens an image from its bytes: upright, RGB, within limits, or with a reason why not.

Whatever a camera or an SD card makes of a file, the answer is either eight-bit RGB
pixels or an ``ItemError`` whose text a person understands.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError, features

from classification.cropping import jpeg
from classification.runtime import memory
from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

DEFAULT_MAX_PIXELS = 50_000_000
ORIENTATION_TAG = 0x0112

# Only formats that photographs have: a file may call itself anything, and some of
# Pillow's other readers start programs (EPS runs Ghostscript).
_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF"),
    *(name for name in ("WEBP", "AVIF") if features.check(name.lower())),
)

_JPEG = frozenset({"JPEG", "MPO"})

_PIXELS_AT_ONCE = 1 << 20
# An image of so many holds 80 MB, and what was freed on the way to it as much again.
_MANY_PIXELS = 20_000_000

# How Pillow words it, whatever the format; a test of each would tell another wording.
_TRUNCATED = "image file is truncated"

_TURN_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURN_OF_ARRAY: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}
# The turns that are not their own inverse.
_INVERSE_ORIENTATION = {6: 8, 8: 6}

# Pillow warns about damaged metadata that nobody uses. One filter for the process:
# warnings.catch_warnings is not for threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Our own limit is checked from the header, per image; Pillow's is process-wide.
Image.MAX_IMAGE_PIXELS = None


class TruncatedError(ItemError):
    """The file ends before its picture does; what is there could be shown."""


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """Decoded pixels.

    Attributes:
        image: mode RGB; upright unless orientation was to be ignored.
        note: how an unusual file was read, such as ``CMYK converted to RGB``; empty
            for an ordinary one.
    """

    image: Image.Image
    note: str = ""

    def array(self) -> NDArray[np.uint8]:
        """Returns the pixels, shape [height, width, 3], RGB; not always to be written to.

        Pillow makes two copies of what it hands over, so of a large image it is asked
        for some rows at a time.
        """
        width, height = self.image.size
        if width * height <= _PIXELS_AT_ONCE:
            return np.asarray(self.image)
        pixels = np.empty((height, width, 3), np.uint8)
        for top, strip in _strips(self.image):
            pixels[top : top + strip.height] = np.asarray(strip)
        return pixels


def to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Returns the image of pixels [height, width, 3], RGB; the inverse of ``array``."""
    height, width, _ = pixels.shape
    if width * height <= _PIXELS_AT_ONCE:
        return Image.fromarray(pixels)
    if width * height > _MANY_PIXELS:
        memory.give_back()
    image = Image.new("RGB", (width, height))
    rows = max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, rows):
        image.paste(Image.fromarray(pixels[top : top + rows]), (0, top))
    return image


def open_image(
    data: bytes,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    apply_exif: bool = True,
    least_side_px: int | None = None,
) -> OpenedImage:
    """Decodes a whole image.

    Args:
        data: the file's bytes.
        max_pixels: refuse an image of more pixels (width times height, as its
            header says) before anything is decoded.
        apply_exif: turn the image upright by its EXIF orientation.
        least_side_px: where sides of this length are enough, a JPEG is decoded at a
            half, a quarter or an eighth of its size, which is several times faster.

    Raises:
        TruncatedError: the header is sound, and the file ends too early.
        ItemError: not an image, damaged, or too large; says which.
    """
    try:
        # Some packages of models switch this on for the whole process: half an image
        # would come out grey below instead of being refused.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        image = read_header(data, max_pixels=max_pixels)
        note = _note(image)
        if least_side_px is not None:
            image.draft(None, (least_side_px, least_side_px))
        if image.width * image.height > _MANY_PIXELS:
            memory.give_back()
        tag = _load(image, apply_exif=apply_exif)
        if image.width * image.height > _MANY_PIXELS:
            held = [image]
            del image
            return OpenedImage(_finish_large(held, tag), note)
        return OpenedImage(turn(_to_rgb(image), tag), note)
    except ItemError:
        raise
    except MemoryError:
        raise ItemError("not enough memory to decode it") from None
    except Exception as error:  # a decoder fed with hostile bytes raises anything
        kind = TruncatedError if _TRUNCATED in str(error) else ItemError
        raise kind(f"cannot decode: {_text(error)}") from error


def _finish_large(held: list[Image.Image], tag: int) -> Image.Image:
    """Returns a large image as RGB and upright; takes it out of ``held``.

    Pillow needs four bytes for a pixel, and would hold the image two or three times; an
    array of three bytes is all that is held beside it here.
    """
    image = held.pop()
    if image.mode == "RGB" and tag == 1:
        memory.give_back()  # what the decoder held, as much again
        return image
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, strip in _strips(image):
        pixels[top : top + strip.height] = np.asarray(_to_rgb(strip))
    del image
    upright = to_image(_TURN_OF_ARRAY[tag](pixels))
    del pixels
    memory.give_back()
    return upright


def read_header(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Opens an image without decoding it, and checks its size.

    Raises:
        ItemError: not an image, more than ``max_pixels`` pixels, or a JPEG that goes
            over its pixels very many times.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ItemError("not an image file") from None
    except Exception as error:  # see open_image
        raise ItemError(f"cannot read the image header: {_text(error)}") from error
    width, height = image.size
    if width * height > max_pixels:
        raise ItemError(
            f"{width} x {height} pixels are more than {max_pixels} (--max-pixels)"
        )
    if image.format in _JPEG and jpeg.has_many_scans(data):
        raise ItemError(
            f"a JPEG of more than {jpeg.MOST_SCANS} scans, made to take very long"
        )
    return image


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 (upright) where none can be read."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF is common, and no reason to lose an image
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1  # noqa: PLR2004 - EXIF's range


def _load(image: Image.Image, *, apply_exif: bool) -> int:
    """Decodes; returns the orientation by which the pixels are still to be turned."""
    if image.format == "TIFF":  # the one format that Pillow turns upright by itself
        tag = 1 if apply_exif else orientation(image)
        image.load()
        return _INVERSE_ORIENTATION.get(tag, tag)
    image.load()  # a PNG may hold its EXIF behind the pixels
    return orientation(image) if apply_exif else 1


def turn(image: Image.Image, tag: int) -> Image.Image:
    """Turns stored pixels upright, by their EXIF orientation ``tag`` (1 to 8)."""
    return image if tag == 1 else image.transpose(_TURN_BY_ORIENTATION[tag])


def _note(image: Image.Image) -> str:
    if getattr(image, "is_animated", False):
        return "animated or multi-page; the first frame is used"
    if image.mode in {"I", "I;16", "I;16B", "I;16L", "I;16N"}:
        return "16-bit pixels reduced to 8"
    if image.mode in {"CMYK", "P", "PA", "LAB", "HSV"}:
        return f"{image.mode} converted to RGB"
    return ""


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise ItemError("floating-point pixels")
    if not image.mode.startswith("I"):
        return image.convert("RGB")
    converted = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        grey = Image.fromarray(_to_eight_bits(np.asarray(strip)))
        converted.paste(grey.convert("RGB"), (0, top))
    return converted


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yields the first row and the pixels of each part of an image, downwards."""
    rows = max(1, _PIXELS_AT_ONCE // image.width)
    for top in range(0, image.height, rows):
        bottom = min(image.height, top + rows)
        yield top, image.crop((0, top, image.width, bottom))


def _to_eight_bits(pixels: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
        raise ItemError("32-bit pixels")
    return (pixels >> 8).astype(np.uint8)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
