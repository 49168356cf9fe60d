"""Files that call themselves images: what cards, people and attackers make of them."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

from tests.world import jpeg_bytes, photograph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# The longest side of a square that is let in: --max-pixels is 50 million.
_LARGEST = 7071
_MIB = 1 << 20


def write_all(folder: Path) -> list[str]:
    """Writes every file; returns their names, sorted."""
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content())
    for name, (content, size) in _SPARSE.items():
        (folder / name).write_bytes(content())
        os.truncate(folder / name, size)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to("nothing.jpg")
    (folder / "round.jpg").symlink_to("round.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "unreadable.jpg").write_bytes(_photo())
    (folder / "unreadable.jpg").chmod(0)
    return sorted(path.name for path in folder.iterdir())


def _photo(seed: int = 0) -> bytes:
    return jpeg_bytes(photograph(320, 240, seed=seed))


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def _png(
    width: int, height: int, *chunks: bytes, bits: int = 8, kind: int = 2
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = (_chunk(b"IHDR", header), *chunks, _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _bomb() -> bytes:
    """A square of 30,000 pixels, one bit each: 100 MiB in 100 KiB."""
    packer = zlib.compressobj(9)
    row = b"\0" + bytes(30_000 // 8)
    body = b"".join(packer.compress(row) for _ in range(30_000)) + packer.flush()
    return _png(30_000, 30_000, _chunk(b"IDAT", body), bits=1, kind=0)


def _text_bomb() -> bytes:
    text = b"Comment\0\0" + zlib.compress(bytes(200 * _MIB), 9)
    pixels = zlib.compress(b"\0\x80\x80\x80")
    return _png(1, 1, _chunk(b"zTXt", text), _chunk(b"IDAT", pixels))


def _large(mode: str, kind: str, **options: object) -> bytes:
    return _encoded(Image.new(mode, (_LARGEST, _LARGEST)), kind, **options)


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _large("RGBA", "PNG", exif=exif, compress_level=1)


def _exif(orientation: int, extra: bytes = b"") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if extra:
        exif[0x927C] = extra
    return _encoded(photograph(320, 240), "JPEG", exif=exif)


def _animation(frames: int) -> bytes:
    images = [photograph(64, 48, seed=seed) for seed in range(4)]
    more = [images[n % 4] for n in range(frames - 1)]
    return _encoded(images[0], "GIF", save_all=True, append_images=more)


def _scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose last scan stands in it very many times."""
    whole = _encoded(Image.new("L", (side, side)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    scan = whole[last:-2]
    return whole[:-2] + scan * count + whole[-2:]


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", _photo())
    return file.getvalue()


def _wide() -> bytes:
    return _encoded(Image.new("RGB", (65_500, 1)), "JPEG")


def _sixteen_bits(kind: str) -> bytes:
    pixels = np.arange(320 * 240, dtype=np.uint16).reshape(240, 320)
    return _encoded(Image.fromarray(pixels), kind)


def _circle_of_directories() -> bytes:
    """A TIFF whose second directory is its first."""
    data = bytearray(_encoded(photograph(32, 24), "TIFF"))
    start = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * entries, start)
    return bytes(data)


def _damaged_pixels() -> bytes:
    data = bytearray(_photo())
    for at in range(len(data) // 2, len(data) // 2 + 200):
        data[at] = (7 * at) % 251
    return bytes(data)


def _text_in_png() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 100_000)
    return _encoded(photograph(64, 48), "PNG", pnginfo=info)


FILES: dict[str, Callable[[], bytes]] = {
    "empty.jpg": lambda: b"",
    "start.jpg": lambda: b"\xff\xd8\xff\xe0",
    "truncated.jpg": lambda: _photo()[:3000],
    "truncated_progressive.jpg": lambda: _encoded(
        photograph(320, 240), "JPEG", progressive=True
    )[:4000],
    "damaged.jpg": _damaged_pixels,
    "one_pixel.jpg": lambda: jpeg_bytes(Image.new("RGB", (1, 1))),
    "wide.jpg": _wide,
    "header_bomb.png": lambda: _png(60_000, 60_000, _chunk(b"IDAT", b"")),
    "header_bomb.jpg": lambda: _photo().replace(
        struct.pack(">HH", 240, 320), struct.pack(">HH", 60_000, 60_000), 1
    ),
    "bomb.png": _bomb,
    "text_bomb.png": _text_bomb,
    "long_text.png": _text_in_png,
    "largest.png": lambda: _large("RGB", "PNG", compress_level=1),
    "largest_turned.png": _turned,
    "largest_grey.png": lambda: _large("I;16", "PNG", compress_level=1),
    "largest_cmyk.jpg": lambda: _large("CMYK", "JPEG"),
    "largest_progressive.jpg": lambda: _large("RGB", "JPEG", progressive=True),
    "largest.gif": lambda: _large("P", "GIF"),
    "scans.jpg": lambda: _scans(_LARGEST, 2000),
    "photo_and_zip.jpg": lambda: _photo() + _zip(),
    "zip.jpg": _zip,
    "animated.gif": lambda: _animation(30),
    "cmyk.jpg": lambda: _encoded(photograph(320, 240).convert("CMYK"), "JPEG"),
    "sixteen_bits.png": lambda: _sixteen_bits("PNG"),
    "sixteen_bits.tif": lambda: _sixteen_bits("TIFF"),
    "circle.tif": _circle_of_directories,
    "orientation_9.jpg": lambda: _exif(9),
    "orientation_0.jpg": lambda: _exif(0),
    "long_exif.jpg": lambda: _exif(1, b"x" * 60_000),
    "broken_profile.jpg": lambda: _encoded(
        photograph(320, 240), "JPEG", icc_profile=b"no profile" * 1000
    ),
    "text.jpg": lambda: b"This is not an image.\n",
    "page.jpg": lambda: b"<!DOCTYPE html><title>404 Not Found</title>",
    "postscript.jpg": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "photo.JPG": _photo,
}
# What these are not: plain files with bytes of their own.
_OTHERS = (
    *("pipe.jpg", "folder.jpg", "dangling.jpg", "round.jpg", "device.jpg"),
    "unreadable.jpg",
)
# Zeros behind what there is, which take no room on the disk.
_SPARSE: dict[str, tuple[Callable[[], bytes], int]] = {
    "zeros_behind.jpg": (_photo, 100 * _MIB),
    "disk_image.jpg": (lambda: b"", 900 * _MIB),
    "largest_file.jpg": (lambda: b"", 3000 * _MIB),
}
NAMES = sorted((*FILES, *_SPARSE, *_OTHERS))
