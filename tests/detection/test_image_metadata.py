from __future__ import annotations

import io
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from classification.cropping import images
from detection import image_metadata
from tests import world

TAKEN = "2022:11:22 20:47:15"
MAKE, MODEL, SOFTWARE, EXIF_BLOCK, GPS_BLOCK = 0x010F, 0x0110, 0x0131, 0x8769, 0x8825
TIME_ORIGINAL, EXPOSURE, MAKER_NOTE, USER_COMMENT = 0x9003, 0x829A, 0x927C, 0x9286


def jpeg(exif: Image.Exif | bytes) -> Image.Image:
    buffer = io.BytesIO()
    world.photograph(32, 24).save(buffer, "JPEG", exif=exif)
    return images.read_header(buffer.getvalue())


def camera() -> Image.Exif:
    exif = Image.Exif()
    exif[MAKE] = "RECONYX"
    exif[MODEL] = "HC600\0\0"
    exif[0x0112] = 6
    block = exif.get_ifd(EXIF_BLOCK)
    block[TIME_ORIGINAL] = TAKEN
    block[EXPOSURE] = TiffImagePlugin.IFDRational(1, 40)
    exif.get_ifd(GPS_BLOCK)[2] = tuple(
        TiffImagePlugin.IFDRational(n, 2) for n in (10, 20, 31)
    )
    return exif


def test_tags_have_names_and_json_values() -> None:
    assert image_metadata.read_tags(jpeg(camera())) == {
        "DateTimeOriginal": TAKEN,
        "ExposureTime": 0.025,
        "GPSLatitude": [5.0, 10.0, 15.5],
        "Make": "RECONYX",
        "Model": "HC600",
        "Orientation": 6,
    }


def test_tags_are_sorted_and_can_be_chosen() -> None:
    tags = image_metadata.read_tags(jpeg(camera()), {"Orientation", "Make", "Software"})
    assert list(tags.items()) == [("Make", "RECONYX"), ("Orientation", 6)]


def test_the_time_is_the_cameras() -> None:
    assert image_metadata.read_time(jpeg(camera())) == TAKEN


@pytest.mark.parametrize("text", ["", "0000:00:00 00:00:00", "2022-11-22", "  ", "x"])
def test_a_time_that_is_none(text: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(EXIF_BLOCK)[TIME_ORIGINAL] = text
    assert image_metadata.read_time(jpeg(exif)) is None


def test_an_image_without_metadata() -> None:
    header = images.read_header(world.jpeg_bytes(world.photograph(32, 24)))
    assert image_metadata.read_tags(header) == {}
    assert image_metadata.read_time(header) is None


def test_every_known_tag_can_be_asked_for() -> None:
    known = image_metadata.known_tags()
    assert {"Make", "DateTimeOriginal", "GPSLatitude"} <= known


def test_long_values_are_cut() -> None:
    exif = Image.Exif()
    exif[SOFTWARE] = "x" * 5000
    exif.get_ifd(EXIF_BLOCK)[MAKER_NOTE] = bytes(range(256)) * 20
    exif.get_ifd(EXIF_BLOCK)[USER_COMMENT] = b"ASCII\0\0\0a bear"
    tags = image_metadata.read_tags(jpeg(exif))
    assert tags == {
        "Software": "x" * image_metadata.MAX_TEXT_LENGTH,
        "MakerNote": "<5120 bytes>",
        "UserComment": "ASCIIa bear",
    }


def test_there_are_at_most_so_many_tags() -> None:
    exif = Image.Exif()
    for number in range(1000):
        exif[0xC800 + number] = number
    assert len(image_metadata.read_tags(jpeg(exif))) == image_metadata.MAX_TAGS


@pytest.mark.parametrize("numerator", [0, 5])
def test_a_fraction_of_zero_is_left_out(numerator: int) -> None:
    # Written by hand: Pillow refuses to write what cameras do write.
    entry = struct.pack("<HHII", EXPOSURE, 5, 1, 26)
    block = b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    fraction = struct.pack("<II", numerator, 0)
    header = jpeg(b"Exif\0\0" + block + fraction)
    assert image_metadata.read_tags(header) == {}


@settings(max_examples=60)
@given(data=st.data())
def test_hostile_exif_is_text_and_numbers_or_nothing(data: st.DataObject) -> None:
    good = camera().tobytes()
    cut = data.draw(st.integers(8, len(good)))
    noise = data.draw(st.binary(min_size=len(good), max_size=len(good)))
    mask = data.draw(st.lists(st.integers(8, len(good) - 1), max_size=20))
    bad = bytearray(good)
    for position in mask:
        bad[position] = noise[position]
    header = jpeg(bytes(bad[:cut]))
    tags = image_metadata.read_tags(header)
    text = json.dumps(tags, allow_nan=False).encode()
    assert len(text) < 100_000
    assert images.open_image(world.jpeg_bytes(world.photograph(8, 8))).image.size
    image_metadata.read_time(header)
