from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import timelapse_csv
from classification.artifacts.timelapse_csv import Mislabeled
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "File,RelativePath,mislabeled,correct_class"


def read(tmp_path: Path, *rows: str, header: str = HEADER) -> list[Mislabeled]:
    path = tmp_path / "timelapse.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return list(timelapse_csv.read(path))


def test_timelapses_export_is_read(tmp_path: Path) -> None:
    path = tmp_path / "timelapse.csv"
    path.write_bytes(
        b"\xef\xbb\xbfRootFolder,File,RelativePath,DateTime,mislabeled,correct_class\r\n"
        b"x,IMG_1.JPG,caltech\\cct images\\ridge,2020,True,bobcat\r\n"
        b"x,IMG_2.JPG,caltech\\a\\,2020,FALSE,\r\n"
        b'x,"IMG ""3"".JPG",idfg/a//./b,2020,true,"deer, mule"\r\n'
    )
    assert list(timelapse_csv.read(path)) == [
        Mislabeled(2, "caltech", "cct images/ridge/IMG_1.JPG", "bobcat"),
        Mislabeled(4, "idfg", 'a/b/IMG "3".JPG', "deer, mule"),
    ]


def test_d20_an_image_in_the_root_of_its_dataset_has_a_name(tmp_path: Path) -> None:
    found = read(tmp_path, "a.jpg,caltech,true,", "b.jpg,idfg\\,true,deer")
    assert found == [
        Mislabeled(2, "caltech", "a.jpg", ""),
        Mislabeled(3, "idfg", "b.jpg", "deer"),
    ]


def test_what_is_not_marked_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "a.jpg,..\\x,false,", "a.jpg,,,", "a.jpg,d,FALSE,") == []


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "timelapse.csv"
    images = [Mislabeled(2, "d", "a.jpg", "=1+1"), Mislabeled(3, "d", "b/ü.jpg", "")]
    timelapse_csv.write(path, images)
    assert list(timelapse_csv.read(path)) == images


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,d,yes,", "column mislabeled: 'yes' is neither true nor false"),
        (
            "a.jpg,d,false,fox",
            "column correct_class: 'fox' is given to an image whose mislabeled is not",
        ),
        ("a.jpg,,true,", "column RelativePath: empty; it begins with the dataset"),
        ("a.jpg,.,true,", "column RelativePath: '.' names no dataset"),
        (",d,true,", "column File: '' names no file"),
        ("a.jpg,/d,true,", "column RelativePath: '/d' is absolute"),
        ("a.jpg,c:\\d,true,", "column RelativePath: 'c:/d' is absolute"),
        ("..,d,true,", "column File: '..' leaves its folder"),
    ],
)
def test_what_breaks_the_format_is_refused(
    row: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError) as refusal:
        read(tmp_path, row)
    assert str(refusal.value).startswith(f"{tmp_path}/timelapse.csv: row 2, {message}")


@pytest.mark.parametrize("folder", ["..\\x", "..", "d\\..\\..\\x", "\\..\\x"])
def test_d43_no_name_leads_out_of_the_folder(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="row 2, column RelativePath"):
        read(tmp_path, f"a.jpg,{folder},true,")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the column mislabeled is missing"):
        read(tmp_path, header="File,RelativePath,correct_class")
