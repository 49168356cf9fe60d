from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import mislabeled
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_table_is_read_in_its_order_and_written_sorted(tmp_path: Path) -> None:
    path = tmp_path / "caltech.csv"
    corrections = {"b, c.jpg": "", 'a"é.jpg': "Bob cat"}
    mislabeled.write(path, corrections)
    assert path.read_text(encoding="utf-8") == (
        'file,correct_class\n"a""é.jpg",Bob cat\n"b, c.jpg",\n'
    )
    assert mislabeled.read(path) == corrections
    assert list(mislabeled.read(path)) == ['a"é.jpg', "b, c.jpg"]


def test_further_columns_and_an_empty_table_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "caltech.csv"
    path.write_text("who,correct_class,file\nme,cat,a.jpg\n")
    assert mislabeled.read(path) == {"a.jpg": "cat"}
    path.write_text("file,correct_class\n")
    assert mislabeled.read(path) == {}


def test_d34_a_column_that_is_all_empty_is_text(tmp_path: Path) -> None:
    path = tmp_path / "caltech.csv"
    path.write_text("file,correct_class\na.jpg,\nb.jpg,\n")
    assert mislabeled.read(path) == {"a.jpg": "", "b.jpg": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,class\na.jpg,x\n",
            "row 1: the column correct_class is missing; expected file,correct_class",
        ),
        (
            "file,correct_class\na.jpg,x\na.jpg,x\n",
            "row 3, column file: 'a.jpg' stands twice",
        ),
        ("file,correct_class\n,x\n", "row 2, column file: '' names no file"),
        (
            "file,correct_class\n/a.jpg,x\n",
            "row 2, column file: '/a.jpg' is absolute; names are relative to the images folder (run_detector_batch --output_relative_filenames)",
        ),
        (
            "file,correct_class\na\\b.jpg,x\n",
            "row 2, column file: 'a\\\\b.jpg' holds a backslash; names use /",
        ),
        ("file,correct_class\na.jpg\n", "row 2: 2 cells expected, 1 found"),
    ],
)
def test_a_broken_table_is_refused_with_its_address(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "caltech.csv"
    path.write_text(text)
    with pytest.raises(ArtifactError) as refusal:
        mislabeled.read(path)
    assert str(refusal.value) == f"{path}: {message}"


def test_the_files_of_a_folder_go_by_dataset(tmp_path: Path) -> None:
    for name in ("Caltech.csv", "ena 24.csv", "notes.txt"):
        (tmp_path / name).touch()
    assert mislabeled.paths(tmp_path) == {
        "caltech": tmp_path / "Caltech.csv",
        "ena 24": tmp_path / "ena 24.csv",
    }


def test_two_files_of_one_dataset_are_refused(tmp_path: Path) -> None:
    for name in ("A.csv", "a.csv"):
        (tmp_path / name).touch()
    with pytest.raises(ArtifactError) as refusal:
        mislabeled.paths(tmp_path)
    assert str(refusal.value) == (f"{tmp_path}/a.csv: means the same dataset as A.csv")


def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refusal:
        mislabeled.paths(tmp_path / "no")
    assert str(refusal.value) == (
        f"{tmp_path}/no: cannot list: No such file or directory"
    )


@pytest.mark.parametrize("dataset", ["..", ".", "a/b", "..\\x", "/x", ""])
def test_d43_a_dataset_without_a_file_gets_none_elsewhere(
    dataset: str, tmp_path: Path
) -> None:
    assert mislabeled.path_of(tmp_path, "my traps").name == "my traps.csv"
    with pytest.raises(ArtifactError):
        mislabeled.path_of(tmp_path, dataset)


def test_a_line_break_in_a_class_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "caltech.csv"
    corrections = {"a.jpg": "mule\rdeer", "b.jpg": "mule\ndeer"}
    mislabeled.write(path, corrections)
    assert mislabeled.read(path) == corrections
