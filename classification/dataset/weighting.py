"""How much each example of a split counts.

With confidence weights an example counts as much as it is likely to show an animal at
all; with label weights every label counts the same, however many examples it has. Both
multiply. The weights of a split sum to what they would be without label weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Takes confidences of a detector, in [0, 1], and returns how much each counts.
ConfidenceWeight: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.float64]]"


def as_it_is(confidences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the detector's confidences as weights: the flag without a file."""
    return confidences


def by_confidence(
    confidences: NDArray[np.float64],
    drawn: NDArray[np.bool_],
    weigh: ConfidenceWeight,
) -> NDArray[np.float64]:
    """Returns a weight for each box.

    Args:
        confidences: in [0, 1].
        drawn: whether a person drew the box; it weighs 1, since no detector was unsure
            of it and a calibration of a detector says nothing about it.
        weigh: for the others.

    Returns:
        Not negative; 0 for an example that is never drawn.
    """
    weights = np.ones(len(confidences))
    weights[~drawn] = weigh(confidences[~drawn])
    return weights


def by_label(
    weights: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns weights whose sum is the same for each label that occurs.

    Args:
        weights: not negative.
        labels: the label of each, from 0 on.

    Returns:
        weight * (sum of all weights / number of labels that occur) / sum of its label.
        The examples of a label whose weights are all 0 count alike.
    """
    if not len(weights):
        return weights
    sums = np.bincount(labels, weights)
    weights = np.where(sums[labels] > 0, weights, 1.0)
    total = sums.sum() or float(len(weights))
    sums = np.bincount(labels, weights)
    present = np.count_nonzero(np.bincount(labels))
    return weights * (total / present) / sums[labels]
