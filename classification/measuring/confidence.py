"""What the probability of the most probable label is worth.

A **reliability curve** compares it with the share of crops that are right, bin by bin; the
expected calibration error averages the differences (``metrics.calibration_error``).

**Coverage**: whoever believes only answers of at least some probability keeps a share of
the crops, its coverage, of which a larger share is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.measuring import metrics
from classification.measuring.metrics import BINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from classification.measuring.metrics import Interval

LEAST = (0.5, 0.65, 0.8, 0.9, 0.95, 0.99)  # probabilities that people ask of an answer
POINTS = 100  # of the line of coverage, at most


@dataclass(frozen=True, slots=True)
class Bin:
    """Crops of about the same confidence.

    Attributes:
        crops: number of them, at least 1.
        confidence: their mean probability.
        right: share of them that is right.
        interval: of that share, by Wilson's score.
    """

    crops: int
    confidence: float
    right: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """How confidence and the share that is right agree.

    Attributes:
        bins: those with a crop, from the lowest confidence on.
        error: expected calibration error, or None without a crop.
    """

    bins: tuple[Bin, ...]
    error: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The crops of at least some confidence.

    Attributes:
        least: the confidence.
        crops: number of them.
        coverage: share of all crops.
        right: share of them that is right; None where there is none.
        interval: of that share, by Wilson's score.
    """

    least: float
    crops: int
    coverage: float
    right: float | None
    interval: Interval | None


def reliability(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], bins: int = BINS
) -> Reliability:
    """Returns the reliability curve of crops.

    Args:
        confidence: probability of the most probable label, [N].
        right: says which of the crops are of it, [N].
        bins: number of bins of equal width.
    """
    crops, sums, hits = metrics.bin_sums(confidence, right, bins)
    error = float(metrics.calibration_of_counts(crops, sums, hits))
    return Reliability(
        tuple(
            _bin(int(crops[i]), float(sums[i]), int(hits[i]))
            for i in np.flatnonzero(crops)
        ),
        None if np.isnan(error) else error,
    )


def _bin(crops: int, confidence: float, right: int) -> Bin:
    return Bin(crops, confidence / crops, right / crops, metrics.wilson(right, crops))


def kept(
    confidence: NDArray[np.float32],
    right: NDArray[np.bool_],
    least: Sequence[float] = LEAST,
) -> tuple[Kept, ...]:
    """Returns what is left at each of some least confidences."""
    found = []
    for border in least:
        sure = confidence >= np.float32(border)
        crops, hits = int(sure.sum()), int(right[sure].sum())
        found.append(
            Kept(
                border,
                crops,
                crops / len(right) if len(right) else 0.0,
                hits / crops if crops else None,
                metrics.wilson(hits, crops),
            )
        )
    return tuple(found)


def coverage_line(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], points: int = POINTS
) -> tuple[tuple[float, float], ...]:
    """Returns points (coverage, share that is right), from the surest crops on.

    Crops of equal confidence are kept, or not, together.
    """
    if not len(right):
        return ()
    order = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(right[order])
    ends = np.flatnonzero(np.diff(confidence[order], append=-1))
    wanted = np.linspace(0, len(ends) - 1, min(points, len(ends))).round()
    chosen = ends[np.unique(wanted.astype(np.int64))]
    return tuple(
        (float((end + 1) / len(right)), float(hits[end] / (end + 1))) for end in chosen
    )
