"""Which categories of a crop are worth telling, in which order, to how many digits."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DECIMALS = 4
_SCALE = 10.0**DECIMALS
# Numbers nearer than this to halfway between two roundings are rounded one by one; it
# is far wider than the error of one multiplication of a number about 1.
_HALFWAY = 1e-7


def rank(
    probabilities: NDArray[np.float64], threshold: float | NDArray[np.float64]
) -> list[list[tuple[int, float]]]:
    """Lists, for each row, the categories that reach the threshold.

    Args:
        probabilities: shape [rows, categories].
        threshold: least probability, before rounding; of all, or of each category.

    Returns:
        For each row, (category, probability rounded to 4 decimals) pairs by falling
        rounded probability; of equal ones, the lower category first.
    """
    rows, categories = np.nonzero(probabilities >= threshold)
    values = round_exactly(probabilities[rows, categories])
    order = np.lexsort((categories, -values, rows))
    pairs = list(zip(categories[order].tolist(), values[order].tolist(), strict=True))
    ends = np.searchsorted(rows, np.arange(len(probabilities) + 1)).tolist()
    return [pairs[start:end] for start, end in pairwise(ends)]


def round_exactly(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounds each value to 4 decimals as Python's ``round`` does, which numpy's does not.

    Args:
        values: numbers about [0, 1], any shape.
    """
    scaled = values * _SCALE
    rounded = np.rint(scaled) / _SCALE
    doubtful = np.abs(scaled - np.floor(scaled) - 0.5) < _HALFWAY
    exact = [round(value, DECIMALS) for value in values[doubtful].tolist()]
    rounded[doubtful] = exact
    return rounded


def relative_to_truth(
    probabilities: NDArray[np.float64], truth: Sequence[int]
) -> NDArray[np.float64]:
    """Returns by how much each category is more probable than the true one, at least 0.

    Args:
        probabilities: shape [rows, categories].
        truth: position of the true category of each row.
    """
    true = probabilities[np.arange(len(truth)), truth]
    return np.maximum(probabilities - true[:, np.newaxis], 0.0)
