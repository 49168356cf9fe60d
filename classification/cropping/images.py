"""Opens an image from its bytes: upright, RGB, within limits, or with a reason why not.

Whatever a camera or an SD card makes of a file, the answer is either eight-bit RGB
pixels or an ``ItemError`` whose text a person understands.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError, features

from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_MAX_PIXELS = 50_000_000
ORIENTATION_TAG = 0x0112

# Only formats that photographs have: a file may call itself anything, and some of
# Pillow's other readers start programs (EPS runs Ghostscript).
_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF"),
    *(name for name in ("WEBP", "AVIF") if features.check(name.lower())),
)

_TURN_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The turns that are not their own inverse.
_INVERSE_ORIENTATION = {6: 8, 8: 6}

# Pillow warns about damaged metadata that nobody uses. One filter for the process:
# warnings.catch_warnings is not for threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Our own limit is checked from the header, per image; Pillow's is process-wide.
Image.MAX_IMAGE_PIXELS = None


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
        """Returns the pixels, shape [height, width, 3], RGB."""
        return np.asarray(self.image)


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
        ItemError: not an image, truncated, damaged, or too large; says which.
    """
    try:
        # Some packages of models switch this on for the whole process: half an image
        # would come out grey below instead of being refused.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        header = read_header(data, max_pixels=max_pixels)
        note = _note(header)
        if least_side_px is not None:
            header.draft(None, (least_side_px, least_side_px))
        turned = _turned(header, apply_exif=apply_exif)
        return OpenedImage(_to_rgb(turned), note)
    except ItemError:
        raise
    except MemoryError:
        raise ItemError("not enough memory to decode it") from None
    except Exception as error:  # a decoder fed with hostile bytes raises anything
        raise ItemError(f"cannot decode: {_text(error)}") from error


def read_header(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Opens an image without decoding it, and checks its size.

    Raises:
        ItemError: not an image, or more than ``max_pixels`` pixels.
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
    return image


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 (upright) where none can be read."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF is common, and no reason to lose an image
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1  # noqa: PLR2004 - EXIF's range


def _turned(image: Image.Image, *, apply_exif: bool) -> Image.Image:
    """Decodes; turns upright, or keeps the pixels as they lie in the file."""
    if image.format == "TIFF":  # the one format that Pillow turns upright by itself
        tag = 1 if apply_exif else orientation(image)
        tag = _INVERSE_ORIENTATION.get(tag, tag)
        image.load()
    else:
        image.load()  # a PNG may hold its EXIF behind the pixels
        tag = orientation(image) if apply_exif else 1
    return turn(image, tag)


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
    if image.mode.startswith("I"):
        return Image.fromarray(_to_eight_bits(np.asarray(image))).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    wide = pixels.astype(np.int64)
    if wide.min() < 0 or wide.max() > np.iinfo(np.uint16).max:
        raise ItemError("32-bit pixels")
    return (wide >> 8).astype(np.uint8)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
