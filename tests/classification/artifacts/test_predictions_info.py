"""What stands beside a classifier output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import predictions_info
from classification.artifacts.predictions_info import Applied, Origin, digest_box
from classification.runtime.errors import ArtifactError, StorageError
from detection.boxes import Box
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
    assert predictions_info.find(results).calibration == APPLIED


def test_boxes_are_told_by_row(results: Path) -> None:
    rows = 20_000  # more than one text holds
    boxes = np.random.default_rng(0).integers(0, 256, (rows, 8), np.uint8)
    boxes[7] = 0
    predictions_info.tell(results, Origin(boxes=boxes))
    found = predictions_info.find(results)
    assert found.calibration is None
    assert (found.boxes == boxes).all()
    document = json.loads(predictions_info.path_beside(results).read_bytes())
    assert [len(text) for text in document["boxes"]] == [87384, 87384, 38572]


def test_boxes_that_nobody_knows_are_not_told(results: Path) -> None:
    predictions_info.tell(results, Origin(boxes=predictions_info.unknown_boxes(9)))
    assert list(results.parent.iterdir()) == [results]


def test_a_box_is_told_from_the_next() -> None:
    box = Box(0.1, 0.2, 0.3, 0.4)
    golden = predictions_info.find(ROOT / "tests/golden/classifier_output.csv").boxes
    assert golden is not None
    assert golden[0].tobytes() == digest_box(box)
    assert not golden[1:].any()
    moved = Box(np.nextafter(0.1, 1), 0.2, 0.3, 0.4)
    assert digest_box(moved) != digest_box(box) == digest_box(Box(0.1, 0.2, 0.3, 0.4))
    assert digest_box(Box(-0.0, 0, 1, 1)) == digest_box(Box(0, 0, 1, 1))


@pytest.mark.parametrize("text", ["AAAA", "A", "*AAAAAAAAAAA"])
def test_boxes_that_are_none_are_refused(results: Path, text: str) -> None:
    predictions_info.tell(results, Origin(APPLIED))
    path = predictions_info.path_beside(results)
    document = json.loads(path.read_bytes()) | {"boxes": [text]}
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="boxes: 8 bytes a row expected"):
        predictions_info.find(results)


def test_what_is_told_is_found(results: Path) -> None:
    assert predictions_info.find(results) == Origin()
    predictions_info.tell(results, Origin(APPLIED))
    assert (results.parent / "out.csv.gz.info.json").is_file()
    assert predictions_info.find(results).calibration == APPLIED


def test_beside_another_file_it_says_nothing(results: Path) -> None:
    predictions_info.tell(results, Origin(APPLIED))
    results.write_bytes(b"other rows")
    assert predictions_info.find(results) == Origin()


def test_none_takes_it_away(results: Path) -> None:
    predictions_info.tell(results, Origin(APPLIED))
    predictions_info.tell(results, Origin())
    predictions_info.tell(results, Origin())
    assert list(results.parent.iterdir()) == [results]


def test_what_cannot_be_taken_away_is_named(results: Path) -> None:
    path = predictions_info.path_beside(results)
    path.mkdir()
    with pytest.raises(StorageError, match=r"cannot remove .*info\.json: "):
        predictions_info.tell(results, Origin())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "x"}, "calibration.method: Invalid enum value 'x'"),
        ({"crops": "1"}, "calibration.crops: Expected `int`, got `str`"),
        ({"y": 1}, "calibration: Object contains unknown field `y`"),
    ],
)
def test_malformed(results: Path, change: dict[str, object], message: str) -> None:
    predictions_info.tell(results, Origin(APPLIED))
    path = predictions_info.path_beside(results)
    document = json.loads(path.read_bytes())
    document["calibration"] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactError) as caught:
        predictions_info.find(results)
    assert str(caught.value) == f"{path}: {message}"
