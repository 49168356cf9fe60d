"""``confusion_matrices.npz``: what a classifier takes for what, on each split.

Written by ``evaluate_model`` and at the end of training; read by ``report_results``, and by
notebooks, which open it with ``numpy.load``. One array for each split that was evaluated, under the split's name: int64,
shape [C, C], C labels in the order of label_index.json. ``matrix[i, j]`` counts the crops
of label i whose most probable label is j; rows are the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from classification.artifacts import _npz
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FILENAME = "confusion_matrices.npz"


def read(path: Path) -> dict[str, NDArray[np.int64]]:
    """Reads the matrix of each split.

    Raises:
        ArtifactError: the file is missing or damaged, or an array is no such matrix.
    """
    with in_file(path):
        matrices = _npz.read(path)
        for split, matrix in matrices.items():
            _check(split, matrix)
    return {split: np.asarray(m, np.int64) for split, m in matrices.items()}


def _check(split: str, matrix: NDArray[Any]) -> None:
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]  # noqa: PLR2004 - rows and columns
    if not (square and matrix.dtype.kind in "iu" and matrix.min(initial=0) >= 0):
        raise ArtifactError("a square of whole numbers from 0 on expected", where=split)


def write(path: Path, matrix_by_split: Mapping[str, NDArray[np.int64]]) -> None:
    """Writes the matrix of each split, in the order given."""
    _npz.write(path, matrix_by_split)
