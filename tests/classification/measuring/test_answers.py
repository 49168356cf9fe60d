"""Answers are read from classifier outputs, column by column."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import predictions
from classification.measuring import answers
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = ("bear", "deer", "elk", "fox")
TEXT = """\
path,label,weight,bear,deer,elk,fox
a.jpg,deer,1,0.1,0.6,0.2,0.1
b.jpg,bear,1,0.1,0.2,0.3,0.4
c.jpg,elk,1,0.4,0.3,0.2,0.1
"""


def read(folder: Path, text: str = TEXT, **options: object) -> answers.Answers:
    path = folder / "outputs_test.csv.gz"
    path.write_text(text, encoding="utf-8")
    return answers.read(predictions.open_file(path), LABELS, **options)  # type: ignore[arg-type]  # as given


def test_keeps_the_most_probable_label(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert list(found.names) == ["a.jpg", "b.jpg", "c.jpg"]
    assert found.true.tolist() == [1, 0, 2]
    assert found.guesses.predicted.tolist() == [1, 3, 0]
    np.testing.assert_allclose(found.guesses.confidence, [0.6, 0.4, 0.4])
    assert found.right.tolist() == [True, False, False]
    assert found.among_top3.tolist() == [True, False, True]
    assert found.calibrated is None
    assert len(found) == 3


def test_counts_what_is_taken_for_what(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.matrix[0, 3] == found.matrix[1, 1] == found.matrix[2, 0] == 1
    assert found.matrix.sum() == 3
    assert found.sure_matrix(0.6).sum() == 1
    assert found.sure_matrix(0.6)[1, 1] == 1


def test_calibration_may_change_the_answer(tmp_path: Path) -> None:
    def to_bears(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        return probabilities * np.array([10, 1, 1, 1], np.float32)

    found = read(tmp_path, calibrate=to_bears)
    assert found.calibrated is not None
    assert found.calibrated.predicted.tolist() == [0, 0, 0]
    assert found.guesses.predicted.tolist() == [1, 3, 0]


def test_an_empty_split_has_empty_columns(tmp_path: Path) -> None:
    found = read(tmp_path, TEXT.splitlines()[0] + "\n")
    assert len(found) == 0
    assert found.matrix.shape == (4, 4)


def test_a_label_without_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="row 3, column label: 'moose' is no col"):
        read(tmp_path, TEXT.replace("b.jpg,bear", "b.jpg,moose"))


def test_other_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="'moose' stands where 'elk' is expected"
    ):
        read(tmp_path, TEXT.replace("elk,fox", "moose,fox"))
    with pytest.raises(ConfigurationError, match=re.escape("5 columns, 4 labels")):
        read(tmp_path, TEXT.replace("fox\n", "fox,gnu\n"))


def test_outputs_without_truth_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no column label; evaluate_model"):
        read(tmp_path, "path,bear,deer,elk,fox\n")
