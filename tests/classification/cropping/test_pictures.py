from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.cropping import jpeg
from classification.cropping.cut import Cut, Rectangle
from classification.cropping.images import open_image, turn
from classification.cropping.pictures import open_picture, to_stored
from classification.runtime.errors import ItemError
from tests.world import jpeg_bytes, photograph, pixels

if TYPE_CHECKING:
    from PIL import Image

SCENE = photograph(200, 150)


def cut_whole(file: bytes, area: Rectangle, *, apply_exif: bool) -> Image.Image:
    whole = open_image(file, apply_exif=apply_exif).image
    return whole.crop((area.left, area.top, area.right, area.bottom))


def cut_parts(
    file: bytes, areas: list[Rectangle], *, apply_exif: bool
) -> list[Image.Image]:
    picture = open_picture(file, apply_exif=apply_exif)
    return [
        Cut(area, (area.width, area.height)).render(
            part.image, left=part.left, top=part.top
        )
        for area, part in zip(areas, picture.read(areas), strict=True)
    ]


@given(orientation=st.integers(1, 8), apply_exif=st.booleans(), data=st.data())
@settings(max_examples=60)
def test_d1_parts_of_a_turned_image_are_cut_upright(
    orientation: int, apply_exif: bool, data: st.DataObject
) -> None:
    file = jpeg_bytes(SCENE, orientation=orientation)
    width, height = open_picture(file, apply_exif=apply_exif).size
    areas = []
    for _ in range(data.draw(st.integers(1, 3))):
        left, right = sorted(data.draw(st.integers(-9, width + 9)) for _ in "lr")
        top, bottom = sorted(data.draw(st.integers(-9, height + 9)) for _ in "tb")
        areas.append(Rectangle(left, top, right + 1, bottom + 1))
    for area, crop in zip(
        areas, cut_parts(file, areas, apply_exif=apply_exif), strict=True
    ):
        whole = cut_whole(file, area, apply_exif=apply_exif)
        assert np.array_equal(pixels(crop), pixels(whole))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rectangle_is_found_in_the_stored_pixels(orientation: int) -> None:
    stored = photograph(40, 30)
    upright = turn(stored, orientation)
    area = Rectangle(3, 5, 20, 11)
    found = to_stored(area, stored.size, orientation)
    part = stored.crop((found.left, found.top, found.right, found.bottom))
    assert np.array_equal(pixels(turn(part, orientation)), pixels(upright)[5:11, 3:20])


def as_png(scene: Image.Image) -> bytes:
    buffer = io.BytesIO()
    scene.save(buffer, "PNG")
    return buffer.getvalue()


def saved(scene: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    scene.save(buffer, "JPEG", **options)  # type: ignore[arg-type]  # what Pillow takes
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("file", "note"),
    [
        (as_png(SCENE), ""),
        (as_png(SCENE.convert("P")), "P converted to RGB"),
        (saved(SCENE, progressive=True), ""),
        (saved(SCENE.convert("L")), ""),
        (saved(SCENE.convert("CMYK")), "CMYK converted to RGB"),
        (saved(SCENE), ""),
    ],
)
def test_every_kind_of_file_is_cut_as_it_is_opened(file: bytes, note: str) -> None:
    area = Rectangle(100, 70, 180, 140)
    picture = open_picture(file)
    assert picture.size == (200, 150)
    assert picture.note == note
    (crop,) = cut_parts(file, [area], apply_exif=True)
    assert np.array_equal(pixels(crop), pixels(cut_whole(file, area, apply_exif=True)))


@pytest.mark.parametrize("apply_exif", [True, False])
def test_a_file_that_is_refused_midway_is_decoded_whole(
    monkeypatch: pytest.MonkeyPatch, apply_exif: bool
) -> None:
    file = jpeg_bytes(SCENE, orientation=6)
    areas = [Rectangle(1, 2, 30, 40), Rectangle(90, 100, 120, 130)]
    picture = open_picture(file, apply_exif=apply_exif)
    monkeypatch.setattr(jpeg, "decode_part", lambda *_: None)
    whole = open_image(file, apply_exif=apply_exif).image
    for part in picture.read(areas):
        assert np.array_equal(pixels(part.image), pixels(whole))
        assert (part.left, part.top) == (0, 0)


def test_far_boxes_are_decoded_apart_and_near_ones_together() -> None:
    picture = open_picture(jpeg_bytes(photograph(900, 700)))
    if picture.read([Rectangle(0, 0, 900, 700)])[0].image.size != (900, 700):
        pytest.fail("the whole image is a part of itself")
    near = picture.read([Rectangle(100, 500, 200, 600), Rectangle(150, 520, 260, 610)])
    assert near[0] is near[1]
    if jpeg.load_decoder() is not None:
        far = picture.read([Rectangle(0, 0, 50, 50), Rectangle(800, 600, 900, 700)])
        assert [part.image.size for part in far] == [(58, 58), (108, 108)]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"plain text", "not an image file"),
        (saved(SCENE)[:-900], "cannot decode: image file is truncated ("),
    ],
)
def test_bad_files_have_the_same_reasons(file: bytes, reason: str) -> None:
    with pytest.raises(ItemError) as whole:
        open_image(file)
    with pytest.raises(ItemError) as parts:
        open_picture(file).read([Rectangle(0, 0, 10, 10)])
    assert str(parts.value) == str(whole.value)
    assert str(parts.value).startswith(reason)


def test_d47_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(ItemError) as caught:
        open_picture(saved(SCENE), max_pixels=29_999)
    assert str(caught.value) == "200 x 150 pixels are more than 29999 (--max-pixels)"
