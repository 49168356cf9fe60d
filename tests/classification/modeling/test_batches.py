"""Crops on their way to the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import crop_record
from classification.artifacts.crop_record import CropRecord, Geometry
from classification.artifacts.predictions_info import digest_box
from classification.cropping.images import open_image
from classification.modeling import preprocessing
from classification.modeling.batches import Loader
from classification.modeling.preprocessing import Preprocessing
from classification.runtime.contents import digest
from classification.storage.local import LocalStore
from detection.boxes import Box
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


def test_a_batch_knows_what_its_crops_hold_and_of_which_boxes_they_are(
    crops: Path,
) -> None:
    record = CropRecord(
        image="a.jpg",
        image_digest=None,
        box=Box(0.1, 0.2, 0.3, 0.4),
        geometry=Geometry(shape="square", jpeg_quality=75, ignore_exif=False),
        detector=None,
        detector_digest=None,
        annotated=True,
    )
    data = crop_record.insert((crops / NAMES[0]).read_bytes(), record)
    (crops / NAMES[0]).write_bytes(data)
    (crops / NAMES[1]).write_bytes(b"no image")
    (batch,) = _loader(crops).load([[*NAMES[:2], "none.jpg"]])
    assert [one and one.digest for one in batch.contents] == [
        *(digest(data), digest(b"no image"), None)
    ]
    assert [one and one.stamp for one in batch.contents[:2]] == [
        LocalStore(crops).stamp(name) for name in NAMES[:2]
    ]
    assert batch.boxes.tobytes() == digest_box(record.box) + bytes(16)


def test_notes_and_odd_names(crops: Path) -> None:
    world.photograph(20, 20).convert("CMYK").save(crops / "cmyk.jpg")
    (batch,) = _loader(crops).load([["cmyk.jpg", "\udcff.jpg"]])
    assert batch.note_by_place == {0: "CMYK converted to RGB"}
    assert batch.reason_by_place == {1: "its name is not UTF-8"}
