from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from classification.cropping import images
from classification.runtime.errors import ItemError
from tests import world

SCENE = world.photograph(64, 48)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(image: Image.Image, kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[images.ORIENTATION_TAG] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    return encoded(image, kind, exif=exif, **options)


def reason(data: bytes, **options: int) -> str:
    with pytest.raises(ItemError) as raised:
        images.open_image(data, **options)
    return str(raised.value)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says its size and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_pixels_are_the_files(kind: str) -> None:
    opened = images.open_image(encoded(SCENE, kind))
    assert opened.image.mode == "RGB"
    assert opened.note == ""
    assert opened.array().dtype == np.uint8
    assert opened.array().shape == (48, 64, 3)
    np.testing.assert_array_equal(opened.array(), world.pixels(SCENE))


def test_a_jpeg_is_what_pillow_decodes() -> None:
    data = world.jpeg_bytes(SCENE)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(images.open_image(data).array(), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_d1_an_image_is_turned_upright(kind: str, orientation: int) -> None:
    data = with_orientation(SCENE, kind, orientation)
    upright = images.open_image(data)
    lying = images.open_image(data, apply_exif=False)
    # Pillow's own turn, of the pixels alone, is the oracle.
    tagged = Image.open(io.BytesIO(with_orientation(SCENE, "PNG", orientation)))
    np.testing.assert_array_equal(upright.array(), ImageOps.exif_transpose(tagged))
    np.testing.assert_array_equal(lying.array(), world.pixels(SCENE))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_d1_a_jpeg_is_turned_upright(orientation: int) -> None:
    data = world.jpeg_bytes(SCENE, orientation=orientation)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(images.open_image(data).array(), expected)
    assert images.open_image(data, apply_exif=False).image.size == (64, 48)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none_counts_as_upright(value: int) -> None:
    data = world.jpeg_bytes(SCENE, orientation=value)
    assert images.open_image(data).image.size == (64, 48)


def test_damaged_exif_does_not_lose_the_image() -> None:
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0junk" * 50):
        data = encoded(SCENE, "JPEG", exif=exif)
        assert images.open_image(data).image.size == (64, 48)


@pytest.mark.parametrize(
    ("mode", "kind", "note"),
    [
        ("CMYK", "JPEG", "CMYK converted to RGB"),
        ("CMYK", "TIFF", "CMYK converted to RGB"),
        ("P", "PNG", "P converted to RGB"),
        ("P", "GIF", "P converted to RGB"),
        ("L", "PNG", ""),
        ("L", "JPEG", ""),
        ("1", "PNG", ""),
        ("LA", "PNG", ""),
        ("RGBA", "PNG", ""),
        ("YCbCr", "JPEG", ""),
    ],
)
def test_other_kinds_of_pixels_become_rgb(mode: str, kind: str, note: str) -> None:
    opened = images.open_image(encoded(SCENE.convert(mode), kind))
    assert opened.image.mode == "RGB"
    assert opened.image.size == (64, 48)
    assert opened.note == note
    difference = np.abs(opened.array().astype(int).mean() - world.pixels(SCENE).mean())
    assert difference < 40


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(kind: str) -> None:
    wide = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    opened = images.open_image(encoded(Image.fromarray(wide), kind))
    assert opened.note == "16-bit pixels reduced to 8"
    for channel in range(3):
        np.testing.assert_array_equal(opened.array()[..., channel], wide >> 8)


def test_pixels_that_are_no_photograph_are_refused() -> None:
    wide = np.full((4, 4), 70_000, np.int32)
    assert reason(encoded(Image.fromarray(wide), "TIFF")) == "32-bit pixels"
    real = np.full((4, 4), 0.5, np.float32)
    assert reason(encoded(Image.fromarray(real), "TIFF")) == "floating-point pixels"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_an_animation_the_first_frame_is_used(kind: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    opened = images.open_image(data)
    assert opened.note == "animated or multi-page; the first frame is used"
    red, _, blue = opened.array().mean(axis=(0, 1))
    assert red > 200
    assert blue < 50


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"this is a letter", "not an image file"),
        (b"", "not an image file"),
        (b"\xff\xd8\xff", "not an image file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image file"),
        (b"%PDF-1.7", "not an image file"),
    ],
)
def test_what_is_no_image_is_said_so(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_only_formats_of_photographs_are_opened() -> None:
    assert reason(encoded(SCENE, "EPS")) == "not an image file"
    assert reason(encoded(SCENE, "PPM")) == "not an image file"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    data = encoded(SCENE, kind)
    shown = reason(data[: len(data) // 2])
    assert shown.startswith(("cannot decode: ", "not an image file", "cannot read"))


def test_a_truncated_jpeg_says_so() -> None:
    data = world.jpeg_bytes(SCENE)
    assert reason(data[: len(data) // 2]).startswith(
        "cannot decode: image file is truncated"
    )


def test_another_package_cannot_let_truncated_images_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = world.jpeg_bytes(SCENE)
    assert reason(data[: len(data) // 2]).startswith("cannot decode: ")


def test_d47_a_bomb_is_refused_by_its_header() -> None:
    expected = "60000 x 60000 pixels are more than 50000000 (--max-pixels)"
    assert reason(png_header(60_000, 60_000)) == expected
    with pytest.raises(ItemError) as raised:
        images.read_header(png_header(60_000, 60_000))
    assert str(raised.value) == expected


def test_the_limit_is_the_product_itself() -> None:
    data = world.jpeg_bytes(SCENE)
    assert images.open_image(data, max_pixels=64 * 48).image.size == (64, 48)
    assert reason(data, max_pixels=64 * 48 - 1) == (
        "64 x 48 pixels are more than 3071 (--max-pixels)"
    )


def test_a_header_is_read_without_decoding() -> None:
    header = images.read_header(png_header(640, 480))
    assert header.size == (640, 480)
    assert images.orientation(header) == 1


@settings(max_examples=60)
@given(data=st.data(), kind=st.sampled_from(["JPEG", "PNG", "TIFF", "GIF", "BMP"]))
def test_damaged_bytes_are_an_image_or_a_reason(data: st.DataObject, kind: str) -> None:
    good = bytearray(
        with_orientation(SCENE, kind, 6) if kind != "BMP" else encoded(SCENE, kind)
    )
    for position in data.draw(st.lists(st.integers(0, len(good) - 1), max_size=8)):
        good[position] = data.draw(st.integers(0, 255))
    try:
        opened = images.open_image(bytes(good), max_pixels=1_000_000)
    except ItemError as error:
        assert str(error)  # noqa: PT017 - opened or refused, nothing else
    else:
        assert opened.image.mode == "RGB"


def test_threads_do_not_disturb_each_other() -> None:
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff"
    good = world.jpeg_bytes(SCENE, orientation=6)
    damaged = encoded(SCENE, "JPEG", exif=exif)
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(images.open_image, [good, damaged] * 30))
    assert [image.image.size for image in opened] == [(48, 64), (64, 48)] * 30


def test_a_jpeg_is_decoded_small_where_that_is_enough() -> None:
    data = world.jpeg_bytes(world.photograph(640, 480))
    assert images.open_image(data, least_side_px=64).image.size == (160, 120)
    assert images.open_image(data, least_side_px=60).image.size == (80, 60)
    assert images.open_image(data, least_side_px=1000).image.size == (640, 480)


def test_a_jpeg_that_goes_over_its_pixels_thousands_of_times_is_refused() -> None:
    whole = encoded(Image.new("L", (64, 64)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    usual = whole[:-2] + whole[last:-2] * 50 + whole[-2:]
    assert images.open_image(usual).image.size == (64, 64)
    many = whole[:-2] + whole[last:-2] * 100 + whole[-2:]
    assert reason(many) == "a JPEG of more than 100 scans, made to take very long"


def test_what_looks_like_scans_behind_a_jpeg_or_in_its_exif_is_none() -> None:
    marks = b"\xff\xda" * 200
    exif = Image.Exif()
    exif[0x927C] = marks
    photo = encoded(world.photograph(64, 48), "JPEG", exif=exif, progressive=True)
    assert images.open_image(photo + marks).image.size == (64, 48)


def test_sixteen_bits_need_no_wide_copies() -> None:
    code = (
        "import resource, io; from PIL import Image;"
        "from classification.cropping.images import open_image;"
        "data = io.BytesIO(); Image.new('I;16', (5000, 5000)).save(data, 'PNG');"
        "idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "open_image(data.getvalue());"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) // 1024)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    )
    assert int(ended.stdout) < 150


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (4, 9)])
def test_large_pixels_are_taken_and_given_in_pieces(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = world.photograph(64, 48).resize(size)
    whole = np.asarray(image)
    monkeypatch.setattr(images, "_PIXELS_AT_ONCE", 8)
    pieces = images.OpenedImage(image).array()
    np.testing.assert_array_equal(pieces, whole)
    np.testing.assert_array_equal(np.asarray(images.to_image(pieces)), whole)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16", "L"])
def test_a_large_image_comes_out_as_a_small_one_does(
    mode: str, tag: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = np.arange(7 * 5, dtype=np.uint16).reshape(5, 7) * 1000
    scene = Image.fromarray(grey) if mode == "I;16" else SCENE.resize((7, 5))
    exif = Image.Exif()
    exif[images.ORIENTATION_TAG] = tag
    shown = scene if mode == "I;16" else scene.convert(mode)
    data = encoded(shown, "PNG", exif=exif)
    small = images.open_image(data).image
    monkeypatch.setattr(images, "_MANY_PIXELS", 1)
    monkeypatch.setattr(images, "_PIXELS_AT_ONCE", 8)
    large = images.open_image(data).image
    assert large.mode == small.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(large), np.asarray(small))
