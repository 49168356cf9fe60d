from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import left_out
from classification.artifacts.left_out import LeftOut
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    LeftOut("image", "videos/a.mp4", "not an image file"),
    LeftOut("label", "img_0007: elk, or\nmoose", "no image has this id"),
    LeftOut("source", 'annotations[17]."x"', "4 numbers expected"),
]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.left_out.csv"
    left_out.write(path, iter(ROWS))
    assert list(left_out.read(path)) == ROWS


def test_nothing_left_out_is_a_header(tmp_path: Path) -> None:
    left_out.write(tmp_path / "x.csv", [])
    assert (tmp_path / "x.csv").read_bytes() == b"what,item,reason\n"


def test_it_stands_beside_the_table(tmp_path: Path) -> None:
    expected = tmp_path / "a b.parquet.left_out.csv"
    assert left_out.path_of(tmp_path, "a b.parquet") == expected
    with pytest.raises(ArtifactError, match=r"leaves its folder$"):
        left_out.path_of(tmp_path, "../x/..")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    left_out.write(path, ROWS)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        left_out.write(path, (ROWS[1 // 0] for _ in ROWS))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("file,label\n", encoding="utf-8")
    with pytest.raises(ArtifactError) as refusal:
        list(left_out.read(path))
    expected = f"{path}: row 1: the column what is missing; expected what,item,reason"
    assert str(refusal.value) == expected
