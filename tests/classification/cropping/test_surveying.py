"""What crops are like as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from classification.cropping import surveying
from classification.cropping.surveying import Seen
from classification.runtime.errors import ItemError
from classification.storage.local import LocalStore
from tests.world import jpeg_bytes, photograph, save_jpeg

if TYPE_CHECKING:
    from pathlib import Path


def test_tells_size_and_light() -> None:
    scene = photograph(300, 200)
    assert surveying.look_at(jpeg_bytes(scene)) == Seen(300, 200, is_grey=False)
    assert surveying.look_at(jpeg_bytes(scene.convert("L"))).is_grey


def test_a_tinted_night_is_grey() -> None:
    tones = photograph(300, 200).convert("L")
    tinted = Image.merge(
        "RGB",
        [tones.point([int(level * k) for level in range(256)]) for k in (1, 0.8, 0.9)],
    )
    assert surveying.look_at(jpeg_bytes(tinted)).is_grey


def test_the_size_is_the_files_own() -> None:
    seen = surveying.look_at(jpeg_bytes(photograph(640, 48), orientation=6))
    assert (seen.width, seen.height) == (640, 48)


def test_says_why_a_file_is_no_picture() -> None:
    with pytest.raises(ItemError, match=r"^not an image file$"):
        surveying.look_at(b"hello")


def test_several_keep_their_order(tmp_path: Path) -> None:
    for name, width in (("b.jpg", 64), ("a.jpg", 96)):
        save_jpeg(tmp_path / name, photograph(width, 48))
    names = ["b.jpg", "gone.jpg", "a.jpg"]
    found = list(surveying.survey(names, LocalStore(tmp_path)))
    assert [name for name, _ in found] == names
    assert isinstance(found[1][1], ItemError)
    assert [found[i][1].width for i in (0, 2)] == [64, 96]  # type: ignore[union-attr]  # were read
