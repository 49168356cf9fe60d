"""A small synthetic camera-trap world that tests draw themselves; no file is shipped."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def photograph(width: int = 320, height: int = 240, *, seed: int = 0) -> Image.Image:
    """Draws a smooth, detailed RGB scene that JPEG compresses as it does a photo."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3))
    scene = Image.fromarray(coarse.astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.integers(-12, 13, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(scene) + grain, 0, 255).astype(np.uint8))


def with_blob(
    scene: Image.Image, box: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> Image.Image:
    """Returns the scene with a filled rectangle (left, top, right, bottom px) in it."""
    marked = scene.copy()
    marked.paste(colour, box)
    return marked


def jpeg_bytes(image: Image.Image, *, quality: int = 90, orientation: int = 1) -> bytes:
    """Encodes a JPEG; with an EXIF orientation tag where ``orientation`` is not 1."""
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


def save_jpeg(path: Path, image: Image.Image, **options: int) -> Path:
    """Writes ``jpeg_bytes`` to ``path``, making its folders; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg_bytes(image, **options))
    return path


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Returns the image as an array, shape [height, width, 3]."""
    return np.asarray(image.convert("RGB"))
