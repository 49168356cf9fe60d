from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import dataset_csv
from classification.artifacts.dataset_csv import CropRow
from classification.runtime.errors import ArtifactError

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
        ("ds/a.jpg,ds,1,c,1,\n", "row 2, column label: a name expected"),
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
