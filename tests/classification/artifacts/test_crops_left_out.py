from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import crops_left_out
from classification.artifacts.left_out import LeftOut

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / crops_left_out.FILENAME
    rows = [
        LeftOut(crops_left_out.IMAGE, "d/a.jpg", "no animal is sure enough"),
        LeftOut(crops_left_out.CROP, "d/b.jpg___crop00.jpg", "the crop is missing"),
    ]
    with crops_left_out.writing(path) as table:
        table.writerows(rows)
    assert list(crops_left_out.read(path)) == rows
