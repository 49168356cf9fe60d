"""Candidates for wrong labels: the likeliest first, each crop once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import mislabeled_candidates
from classification.artifacts.mislabeled_candidates import Candidate
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

HEADER = ",".join(mislabeled_candidates.COLUMNS)
ROW = "ds/a.jpg___crop00.jpg,ds,test,elk,cow,0.1,0.9,0.8"


def candidate(name: str, score: float) -> Candidate:
    return Candidate(f"ds/{name}", "ds", "test", "elk", 'a "b", c', 0.1, 0.9, score)


def test_rows_are_sorted_by_falling_score_then_path(tmp_path: Path) -> None:
    path = tmp_path / mislabeled_candidates.FILENAME
    one, two, three = (
        candidate("b.jpg___crop00.jpg", 0.5),
        candidate("a.jpg___crop00.jpg", 0.5),
        candidate("c.jpg___crop00.jpg", 0.75),
    )
    mislabeled_candidates.write(path, [one, two, three])
    assert list(mislabeled_candidates.read(path)) == [three, two, one]
    assert path.read_text().splitlines()[1] == (
        'ds/c.jpg___crop00.jpg,ds,test,elk,"a ""b"", c",0.1,0.9,0.75'
    )


def test_a_score_may_be_any_number(tmp_path: Path) -> None:
    path = tmp_path / mislabeled_candidates.FILENAME
    mislabeled_candidates.write(path, [candidate("a.jpg___crop00.jpg", -2.5)])
    assert [one.score for one in mislabeled_candidates.read(path)] == [-2.5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["ds/a.jpg,ds,test,elk,cow,0.1,0.9,0.8"],
            "row 2, column path: 'ds/a.jpg' is not the name of a crop",
        ),
        (
            [ROW.replace("ds/a", "ds/../a")],
            "row 2, column path: 'ds/../a.jpg___crop00.jpg' leaves its folder",
        ),
        (
            [ROW.replace(",ds,", ",d,")],
            "row 2, column path: 'ds/a.jpg___crop00.jpg' is not of the dataset",
        ),
        ([ROW, ROW], "row 3, column path: 'ds/a.jpg___crop00.jpg' stands twice"),
        ([ROW.replace("elk", "")], "row 2, column label: a name expected"),
        (
            [ROW.replace("0.9", "1.1")],
            "row 2, column predicted_probability: a number between 0 and 1 expected",
        ),
        ([ROW.replace("0.8", "nan")], "row 2, column score: a number expected"),
        ([ROW.replace("0.8", "much")], "row 2, column score: a number expected"),
        ([f"{ROW},1"], "row 2: 8 cells expected, 9 found"),
    ],
)
def test_a_broken_table_is_refused_with_its_address(
    rows: list[str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / mislabeled_candidates.FILENAME
    path.write_text("\n".join([HEADER, *rows, ""]))
    with pytest.raises(ArtifactError) as refusal:
        list(mislabeled_candidates.read(path))
    assert str(refusal.value) == f"{path}: {message}"
