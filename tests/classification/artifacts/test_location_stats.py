"""Accuracy by location."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import location_stats
from classification.artifacts.location_stats import LocationRow
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_come_back(tmp_path: Path) -> None:
    path = tmp_path / location_stats.FILENAME
    rows = [LocationRow("val", "ds/a,b", 3, 1 / 3), LocationRow("val", "ds/2", 1, 1.0)]
    location_stats.write(path, rows)
    assert list(location_stats.read(path)) == rows


@pytest.mark.parametrize(
    ("cells", "column"), [("-1,1", "crops"), ("x,1", "crops"), ("1,1.5", "acc_top1")]
)
def test_faults_have_an_address(cells: str, column: str, tmp_path: Path) -> None:
    path = tmp_path / location_stats.FILENAME
    path.write_text(f"split,location,crops,acc_top1\nval,ds/1,{cells}\n")
    with pytest.raises(ArtifactError, match=f"row 2, column {column}"):
        list(location_stats.read(path))
