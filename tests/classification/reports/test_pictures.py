"""Pictures put into a page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from classification.reports.pictures import InlinePicture, inline, inlined
from classification.runtime.errors import ItemError
from classification.storage.local import LocalStore
from tests.world import jpeg_bytes, photograph, pixels, save_jpeg

if TYPE_CHECKING:
    from pathlib import Path


def decoded(picture: InlinePicture) -> Image.Image:
    kind, _, text = picture.uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_scales_down_and_keeps_the_shape() -> None:
    picture = inline(jpeg_bytes(photograph(640, 480)), side_px=320)
    assert (picture.width, picture.height) == (320, 240)
    assert decoded(picture).size == (320, 240)


def test_scales_nothing_up() -> None:
    assert inline(jpeg_bytes(photograph(64, 48)), side_px=320).width == 64


def test_turns_the_picture_upright() -> None:
    scene = photograph(64, 48)
    picture = inline(jpeg_bytes(scene, quality=95, orientation=6), side_px=320)
    assert (picture.width, picture.height) == (48, 64)
    turned = pixels(scene.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert abs(turned - pixels(decoded(picture))).mean() < 8


def test_leaves_metadata_out() -> None:
    picture = inline(jpeg_bytes(photograph(64, 48), orientation=6), side_px=320)
    assert not decoded(picture).getexif()


def test_the_same_bytes_every_time() -> None:
    data = jpeg_bytes(photograph(640, 480))
    assert inline(data, side_px=320) == inline(data, side_px=320)


def test_says_why_a_file_is_no_picture() -> None:
    with pytest.raises(ItemError, match=r"^not an image file$"):
        inline(b"hello", side_px=320)


def test_several_keep_their_order_and_say_what_is_missing(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg"):
        save_jpeg(tmp_path / name, photograph(64, 48))
    names = ["b.jpg", "gone.jpg", "a.jpg"]
    found = list(inlined(names, LocalStore(tmp_path), side_px=32))
    assert [name for name, _ in found] == names
    assert isinstance(found[1][1], ItemError)
    assert [found[i][1].width for i in (0, 2)] == [32, 32]  # type: ignore[union-attr]  # were read
