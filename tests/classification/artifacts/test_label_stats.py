"""Label statistics: fractions, and empty where there is no example."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import label_stats
from classification.artifacts.label_stats import LabelRow
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_recall_without_examples_is_an_empty_cell(tmp_path: Path) -> None:
    path = tmp_path / label_stats.FILENAME
    label_stats.write(path, [LabelRow("val", 'a "b", c', 0.0, math.nan)])
    assert path.read_text().splitlines()[1] == 'val,"a ""b"", c",0.0,'
    (row,) = label_stats.read(path)
    assert row.label == 'a "b", c'
    assert math.isnan(row.recall)


@pytest.mark.parametrize(("column", "cells"), [("precision", ",1"), ("recall", "1,2")])
def test_what_is_no_fraction_is_refused_with_its_address(
    column: str, cells: str, tmp_path: Path
) -> None:
    path = tmp_path / label_stats.FILENAME
    path.write_text(f"split,label,precision,recall\nval,a,{cells}\n")
    with pytest.raises(ArtifactError, match=f"row 2, column {column}: a number betw"):
        list(label_stats.read(path))
