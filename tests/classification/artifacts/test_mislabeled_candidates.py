from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import mislabeled_candidates
from classification.artifacts.mislabeled_candidates import Candidate
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

HEADER = ",".join(mislabeled_candidates.COLUMNS)


def candidate(path: str, score: float, split: str = "val") -> Candidate:
    return Candidate(path, "ds", split, "deer", "bear", 0.1, 0.9, score)


def test_the_worst_come_first_then_paths(tmp_path: Path) -> None:
    path = tmp_path / mislabeled_candidates.FILENAME
    rows = [
        candidate("ds/b.jpg", 0.5, "val"),
        candidate("ds/b.jpg", 0.5, "test"),
        candidate("ds/a.jpg", 0.5),
        candidate("ds/c.jpg", 0.75),
    ]
    mislabeled_candidates.write(path, rows)
    found = list(mislabeled_candidates.read(path))
    assert found == [rows[3], rows[2], rows[1], rows[0]]


def test_names_are_kept_to_the_last_space(tmp_path: Path) -> None:
    path = tmp_path / mislabeled_candidates.FILENAME
    row = candidate(' ds/a "b",\r\n.jpg', 0.5)._replace(label="=1+1 ", dataset=" ds")
    mislabeled_candidates.write(path, [row])
    assert list(mislabeled_candidates.read(path)) == [row]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("../a.jpg,ds,val,a,b,0,1,1", "row 2, column path: '../a.jpg' leaves its"),
        ("ds/a.jpg,ds,val,a,b,0,1,nan", "row 2, column score: a number between 0"),
        ("ds/a.jpg,ds,val,a,b,2,1,1", "row 2, column label_probability: a number"),
        ("ds/a.jpg,ds,val,a,b,0,1", "row 2: 8 cells expected, 7 found"),
    ],
)
def test_what_breaks_the_format_is_refused(
    cells: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / mislabeled_candidates.FILENAME
    path.write_text(f"{HEADER}\n{cells}\n")
    with pytest.raises(ArtifactError) as refusal:
        list(mislabeled_candidates.read(path))
    assert str(refusal.value).startswith(f"{path}: {message}")
