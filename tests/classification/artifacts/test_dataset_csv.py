from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import dataset_csv
from classification.artifacts.dataset_csv import CropRow
from classification.runtime.errors import ArtifactError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "path,dataset,location,dataset_class,confidence,label\n"
ROWS = [
    CropRow("ds/a.jpg___crop00.jpg", "ds", "13", "c", 1.0, "x"),
    CropRow("ds/b.jpg___crop01_mdv4.1.jpg", "ds", "nan", 'a "b", c', 0.914, "x,y"),
]


def test_d9_what_is_written_is_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    assert dataset_csv.write(path, ROWS) == 2
    text = path.read_text(encoding="utf-8")
    assert text.startswith(HEADER + "ds/a.jpg___crop00.jpg,ds,13,c,1.0,x\n")
    assert list(dataset_csv.read(path)) == ROWS


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("ds/a.jpg,ds,1,c,1.3,x\n", "row 2, column confidence: '1.3' is not a number"),
        ("ds/a.jpg,e,1,c,1,x\n", "row 2, column path: the path does not begin with"),
        ("ds/../a.jpg,ds,1,c,1,x\n", "row 2, column path: .* leaves its folder"),
        ("ds/a.jpg,ds,1,c,1,\n", "row 2, column label: '': names with commas"),
        ('ds/a.jpg,ds,1,c,1,"x,"\n', "row 2, column label: 'x,': names with"),
        ("ds/a.jpg,ds,1,c,1\n", "row 2: 6 cells expected, 5 found"),
        ("ds/a,ds,1,c,1,x\nds/a,ds,1,c,1,x\n", "row 3, column path: 'ds/a' stands in"),
        ("ds/a.jpg,ds,1,c,1,x", "the last row has no line end"),
    ],
)
def test_a_broken_row_has_an_address(tmp_path: Path, rows: str, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(HEADER + rows, encoding="utf-8")
    with pytest.raises(ArtifactError, match=message):
        list(dataset_csv.read(path))


def test_a_missing_file_names_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"x\.csv: missing; create_classification_"):
        list(dataset_csv.read(tmp_path / "x.csv"))


@pytest.mark.parametrize(
    "location", ["13\r", "a\nb", 'a "b", c', " a ", "\u2028", "\ufeff", "a\0b"]
)
def test_any_location_reads_back_as_it_was(tmp_path: Path, location: str) -> None:
    path = tmp_path / "x.csv"
    rows = [ROWS[0]._replace(location=location), ROWS[1]]
    dataset_csv.write(path, rows)
    assert list(dataset_csv.read(path)) == rows
    with dataset_csv.Spool(tmp_path) as spool:
        spool.add(rows)
        assert list(spool.rows()) == rows
        assert list(spool.rows()) == rows  # as often as one likes


def test_a_spool_leaves_nothing_behind(tmp_path: Path) -> None:
    with dataset_csv.Spool(tmp_path) as spool:
        spool.add(ROWS)
        assert list(tmp_path.iterdir()) == []


def test_a_spool_in_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        dataset_csv.Spool(tmp_path / "file")


def test_a_cell_that_no_reader_takes(tmp_path: Path) -> None:
    with dataset_csv.Spool(tmp_path) as spool:
        spool.add([ROWS[0]._replace(location="x" * 200_000)])
        with pytest.raises(ArtifactError, match="a row that no CSV can hold"):
            list(spool.rows())


@pytest.mark.parametrize("label", ["path", "label", "weight", "dataset"])
def test_d64_labels_that_are_other_columns(label: str) -> None:
    with pytest.raises(ArtifactError, match=f"the label '{label}': reserved"):
        dataset_csv.join_labels(["deer", label])


@pytest.mark.parametrize("labels", [[], [""], ["a,b"]])
def test_labels_that_no_cell_can_hold(labels: list[str]) -> None:
    with pytest.raises(ArtifactError):
        dataset_csv.join_labels(labels)


def test_labels_go_into_a_cell_and_out() -> None:
    assert dataset_csv.split_labels(dataset_csv.join_labels(["a", "b c"])) == (
        "a",
        "b c",
    )
