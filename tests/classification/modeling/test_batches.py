"""Crops on their way to the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.cropping.images import open_image
from classification.modeling import preprocessing
from classification.modeling.batches import Loader
from classification.modeling.preprocessing import Preprocessing
from classification.storage.local import LocalStore
from tests import world

if TYPE_CHECKING:
    from pathlib import Path

TINY = Preprocessing(image_size=16)
NAMES = [f"{number}.jpg" for number in range(7)]


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        world.save_jpeg(tmp_path / name, world.photograph(40, 30, seed=number))
    return tmp_path


def _loader(folder: Path, threads: int = 2) -> Loader:
    return Loader(
        store=LocalStore(folder), preprocessing=TINY, batch_size=3, threads=threads
    )


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_batches_come_in_order(crops: Path, threads: int) -> None:
    lists = [NAMES[0:3], NAMES[3:6], NAMES[6:]]
    seen = []
    for batch in _loader(crops, threads).load(lists):
        assert batch.squares.shape == (len(batch.names), 16, 16, 3)
        for name, square in zip(batch.names, batch.squares, strict=True):
            opened = open_image((crops / name).read_bytes())
            expected = preprocessing.square(opened.image, 16)
            np.testing.assert_array_equal(square, expected)
        seen.append(batch.names)
    assert seen == lists


def test_more_batches_than_buffers(crops: Path) -> None:
    lists = [NAMES[:3]] * 50
    assert sum(len(b.names) for b in _loader(crops).load(lists)) == 150


def test_a_crop_that_cannot_be_read_leaves_black(crops: Path) -> None:
    (crops / NAMES[1]).write_bytes(b"no image")
    (batch,) = _loader(crops).load([NAMES[:3]])
    assert batch.reason_by_place == {1: "not an image file"}
    assert not batch.squares[1].any()
    assert batch.squares[0].any()


def test_notes_and_odd_names(crops: Path) -> None:
    world.photograph(20, 20).convert("CMYK").save(crops / "cmyk.jpg")
    (batch,) = _loader(crops).load([["cmyk.jpg", "\udcff.jpg"]])
    assert batch.note_by_place == {0: "CMYK converted to RGB"}
    assert batch.reason_by_place == {1: "its name is not UTF-8"}
