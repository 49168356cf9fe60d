from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import dataset_csv, label_index, splits
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location, Splits
from classification.dataset import training_set, weighting
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    CropRow("d/a.jpg___crop00.jpg", "d", "1", "x", 1.0, "cat"),
    CropRow("d/b.jpg___crop00_mdv4.1.jpg", "d", "1", "x", 0.5, "dog"),
    CropRow("d/b.jpg___crop01_mdv4.1.jpg", "d", "1", "x", 1.0, "dog"),
    CropRow("e/c.jpg___crop00_mdv4.1.jpg", "e", "1", "x", 0.4, "dog"),
    CropRow("d/e.jpg___crop00.jpg", "d", "2", "x", 1.0, "cat"),
]
SPLITS = Splits(
    train=(Location("d", "1"),), val=(Location("e", "1"),), test=(Location("d", "2"),)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path, ROWS)
    label_index.write(tmp_path / label_index.FILENAME, ["cat", "dog"])
    splits.write(tmp_path / splits.FILENAME, SPLITS)
    return tmp_path


def write_rows(folder: Path, rows: list[CropRow]) -> None:
    dataset_csv.write(folder / dataset_csv.FILENAME, rows)


def test_each_row_is_in_the_split_of_its_location(folder: Path) -> None:
    found = training_set.read(folder)
    assert found.labels == ("cat", "dog")
    train = found.splits["train"]
    assert list(train.paths) == [row.path for row in ROWS[:3]]
    assert train.labels.tolist() == [0, 1, 1]
    assert train.weights.tolist() == [1, 1, 1]
    assert list(train.locations) == ["d/1"] * 3
    assert list(train.datasets) == ["d"] * 3
    assert list(found.splits["val"].paths) == [ROWS[3].path]
    assert len(found.splits["test"]) == 1


def test_splits_that_are_given_are_taken_and_the_file_is_not_read(
    folder: Path,
) -> None:
    (folder / splits.FILENAME).unlink()
    given = {Location("d", "1"): "test", Location("e", "1"): "train"}
    found = training_set.read(folder, split_by_location=given)
    assert list(found.splits["test"].paths) == [row.path for row in ROWS[:3]]
    assert list(found.splits["train"].paths) == [ROWS[3].path]
    assert found.without_split == 1


def test_d23_only_detections_of_train_are_weighed_by_confidence(folder: Path) -> None:
    found = training_set.read(folder, confidence_weight=lambda c: c * 0.5)
    assert found.splits["train"].weights.tolist() == [1, 0.25, 0.5]
    assert found.splits["val"].weights.tolist() == [1]


def test_both_weights_multiply(folder: Path) -> None:
    found = training_set.read(
        folder, label_weighted=True, confidence_weight=weighting.as_it_is
    )
    np.testing.assert_allclose(
        found.splits["train"].weights, [1.25, 1.25 / 3, 1.25 * 2 / 3]
    )


def test_d25_a_label_that_a_split_lacks_is_said(folder: Path) -> None:
    found = training_set.read(folder, label_weighted=True)
    assert found.splits["val"].weights.tolist() == [1]
    assert found.missing_labels("val") == ("cat",)
    assert [note.partition(";")[0] for note in found.notes()] == [
        "val has no example of cat",
        "test has no example of dog",
    ]


def test_a_row_at_a_location_without_a_split_is_counted(folder: Path) -> None:
    row = ROWS[0]._replace(path="d/z.jpg___crop00.jpg", location="new")
    write_rows(folder, [*ROWS, row])
    found = training_set.read(folder)
    assert found.without_split == 1
    assert "1 crops are at locations" in found.notes()[-1]


@pytest.mark.parametrize(
    ("label", "fault"),
    [("cat,dog", "several labels, 'cat,dog'"), ("emu", "does not have 'emu'")],
)
def test_a_label_that_cannot_be_learnt_is_refused(
    folder: Path, label: str, fault: str
) -> None:
    write_rows(folder, [ROWS[0], ROWS[1]._replace(label=label)])
    where = f"{dataset_csv.FILENAME}: row 3, column label: .*{fault}"
    with pytest.raises(ArtifactError, match=where):
        training_set.read(folder)


@pytest.mark.parametrize("label", ["path", "label", "weight", "dataset"])
def test_d64_a_label_that_is_another_column_is_refused(
    folder: Path, label: str
) -> None:
    label_index.write(folder / label_index.FILENAME, ["cat", "dog", label])
    where = f"{label_index.FILENAME}: 2: the label '{label}': reserved"
    with pytest.raises(ArtifactError, match=where):
        training_set.read(folder)
