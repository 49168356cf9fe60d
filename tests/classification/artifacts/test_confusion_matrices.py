"""Confusion matrices, as notebooks open them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import confusion_matrices
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_numpy_opens_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / confusion_matrices.FILENAME
    matrix = np.array([[1, 2], [3, 4]])
    confusion_matrices.write(path, {"val": matrix, "test": matrix.T})
    with np.load(path) as archive:
        assert archive.files == ["val", "test"]
        assert archive["val"].dtype == np.int64
        np.testing.assert_array_equal(archive["test"], matrix.T)


@pytest.mark.parametrize(
    "array", [np.zeros(3, np.int64), np.zeros((2, 3), np.int64), np.eye(2), -np.eye(2)]
)
def test_another_array_is_refused_by_name(array: object, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, val=np.asarray(array))
    with pytest.raises(ArtifactError, match=r"x\.npz: val: a square of whole numbers"):
        confusion_matrices.read(path)
