"""Overall metrics: exact numbers, empty cells, addresses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import overall_metrics
from classification.artifacts.overall_metrics import SplitRow
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_numbers_come_back_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / overall_metrics.FILENAME
    row = SplitRow("val", 0.1 + 0.2, 1 / 3, 100 / 7, 99.9, 0.0, 1e-20)
    overall_metrics.write(path, [row])
    assert list(overall_metrics.read(path)) == [row]


def test_an_empty_split_has_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / overall_metrics.FILENAME
    overall_metrics.write(path, [SplitRow("test", *[math.nan] * 6)])
    assert path.read_text().splitlines()[1] == "test,,,,,,"
    (row,) = overall_metrics.read(path)
    assert math.isnan(row.loss)


@pytest.mark.parametrize("cell", ["x", "-1", "inf", "-inf"])
def test_what_is_no_number_is_refused_with_its_address(
    cell: str, tmp_path: Path
) -> None:
    path = tmp_path / overall_metrics.FILENAME
    header = ",".join(overall_metrics.COLUMNS)
    path.write_text(f"{header}\nval,{cell},1,1,1,1,1\n")
    with pytest.raises(ArtifactError, match="row 2, column loss: a number from 0 on"):
        list(overall_metrics.read(path))
