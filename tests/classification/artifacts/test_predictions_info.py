"""What stands beside a classifier output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import predictions_info
from classification.artifacts.predictions_info import Applied
from classification.runtime.errors import ArtifactError, StorageError
from tests.commands import ROOT

if TYPE_CHECKING:
    from pathlib import Path

APPLIED = Applied(
    method="temperature", temperature=1.41, crops=900, ece_before=0.093, ece_after=0.021
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "out.csv.gz"
    path.write_bytes(b"some rows")
    return path


def test_the_golden_file_is_of_the_golden_file() -> None:
    results = ROOT / "tests/golden/classifier_output.csv"
    assert predictions_info.find(results) == APPLIED


def test_what_is_told_is_found(results: Path) -> None:
    assert predictions_info.find(results) is None
    predictions_info.tell(results, APPLIED)
    assert (results.parent / "out.csv.gz.info.json").is_file()
    assert predictions_info.find(results) == APPLIED


def test_beside_another_file_it_says_nothing(results: Path) -> None:
    predictions_info.tell(results, APPLIED)
    results.write_bytes(b"other rows")
    assert predictions_info.find(results) is None


def test_none_takes_it_away(results: Path) -> None:
    predictions_info.tell(results, APPLIED)
    predictions_info.tell(results, None)
    predictions_info.tell(results, None)
    assert list(results.parent.iterdir()) == [results]


def test_what_cannot_be_taken_away_is_named(results: Path) -> None:
    path = predictions_info.path_beside(results)
    path.mkdir()
    with pytest.raises(StorageError, match=r"cannot remove .*info\.json: "):
        predictions_info.tell(results, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "x"}, "calibration.method: Invalid enum value 'x'"),
        ({"crops": "1"}, "calibration.crops: Expected `int`, got `str`"),
        ({"y": 1}, "calibration: Object contains unknown field `y`"),
    ],
)
def test_malformed(results: Path, change: dict[str, object], message: str) -> None:
    predictions_info.tell(results, APPLIED)
    path = predictions_info.path_beside(results)
    document = json.loads(path.read_bytes())
    document["calibration"] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactError) as caught:
        predictions_info.find(results)
    assert str(caught.value) == f"{path}: {message}"
