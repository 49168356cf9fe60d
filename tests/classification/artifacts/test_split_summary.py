from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import split_summary
from classification.artifacts.split_summary import LabelInSplit

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    LabelInSplit("bear", "train", 120, 8, 0.6, 0.6),
    LabelInSplit("bear", "test", 50, 3, 0.25, None),
]


def test_it_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    split_summary.write(path, ROWS)
    assert path.read_text(encoding="utf-8").splitlines()[1:] == [
        "bear,train,120,8,0.6,0.6,0",
        "bear,test,50,3,0.25,,",
    ]
    assert list(split_summary.read(path)) == ROWS
