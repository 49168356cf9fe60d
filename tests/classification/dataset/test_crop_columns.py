from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location
from classification.dataset import crop_columns
from classification.runtime.errors import ArtifactError
from tests import training_world

if TYPE_CHECKING:
    from pathlib import Path

SPLITS = {Location("d", "1"): "train", Location("d", "a/b"): "test"}


def row(path: str, label: str, location: str = "1", confidence: float = 0.5) -> CropRow:
    return CropRow(path, "d", location, "class", confidence, label)


ROWS = [
    row("d/a.jpg___crop00_mdv4.jpg", "fox"),
    row("d/a.jpg___crop01.jpg", "bear,fox", confidence=1.0),
    row("d/b.jpg___crop00_mdv4.jpg", "deer", "a/b", confidence=1.0),
    row("d/c.jpg", "fox,fox", "elsewhere"),
]


def test_each_label_of_each_crop_stands_once() -> None:
    columns = crop_columns.gather(ROWS, SPLITS)
    assert columns.labels == ("bear", "deer", "fox")
    assert columns.row.tolist() == [0, 1, 1, 2, 3]
    assert columns.label.tolist() == [2, 0, 2, 1, 2]
    assert columns.several_labels == 1


def test_what_is_known_of_each_crop() -> None:
    columns = crop_columns.gather(ROWS, SPLITS)
    assert list(columns.paths) == [row.path for row in ROWS]
    assert columns.split.tolist() == [0, 0, 2, -1]
    assert columns.drawn.tolist() == [False, True, False, False]
    assert columns.confidence.tolist() == [0.5, 1, 1, 0.5]
    assert [columns.locations[place].name for place in columns.location] == [
        *("1", "1", "a/b", "elsewhere")
    ]


def test_images_are_numbered_as_they_come() -> None:
    columns = crop_columns.gather(ROWS, SPLITS)
    assert columns.image.tolist() == [0, 0, 1, 2]
    assert columns.images == 3
    assert list(columns.images_in_order()) == [
        ("d/a.jpg", Location("d", "1")),
        ("d/b.jpg", Location("d", "a/b")),
        ("d/c.jpg", Location("d", "elsewhere")),
    ]


def test_no_crop_is_no_fault() -> None:
    columns = crop_columns.gather([], {})
    assert (len(columns), columns.images, columns.labels) == (0, 0, ())
    assert columns.several_labels == 0


def test_reads_what_is_on_the_disk(tmp_path: Path) -> None:
    rows = training_world.make(tmp_path)
    columns = crop_columns.read(tmp_path / "run")
    assert list(columns.paths) == [row.path for row in rows]
    assert [*map(int, columns.split)] == [
        ("train", "val", "test").index(training_world.SPLIT_BY_LOCATION[row.location])
        for row in rows
    ]


def test_without_splits_there_is_nothing_to_show(tmp_path: Path) -> None:
    training_world.make(tmp_path)
    (tmp_path / "run/splits.json").unlink()
    with pytest.raises(ArtifactError, match=r"splits\.json"):
        crop_columns.read(tmp_path / "run")
