"""How good probabilities are, as numbers; numpy alone.

All shares are fractions in [0, 1]. Labels are ids from 0 on. A label of which there is no
example counts in no mean: it would say nothing of the classifier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
    Numbers: TypeAlias = Floats | NDArray[np.int64]

BINS = 15  # of confidence; as Guo et al. (2017) have them

# A probability of 0 would cost an infinite loss; it counts as the least float32 that
# keeps all its digits, so that no crop costs more than 87.3.
_LEAST = float(np.finfo(np.float32).tiny)
_DEVIATIONS = 1.959963984540054  # 95 % of a normal distribution are within so many
_SOME = 1 << 20  # draws of a location that are held at a time


def confusion_matrix(
    true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Counts examples by true label (row) and predicted label (column)."""
    places = np.bincount(true * classes + predicted, minlength=classes * classes)
    return np.asarray(places, np.int64).reshape(classes, classes)


def predict(probabilities: Floats) -> NDArray[np.int64]:
    """Returns the most probable label of each row; of equal ones, the first."""
    return np.asarray(np.argmax(probabilities, axis=1), np.int64)


def hits(probabilities: Floats, true: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Says of each row whether the true label is among the k most probable ones.

    Of labels that are equally probable the first goes first, so that there are at most
    k labels that would be a hit, and ``hits(…, 1)`` is what ``predict`` gets right.
    """
    own = probabilities[np.arange(len(true)), true][:, np.newaxis]
    first = np.arange(probabilities.shape[1]) < true[:, np.newaxis]
    before = (probabilities > own) | ((probabilities == own) & first)
    return np.asarray(before.sum(axis=1) < k, np.bool_)


def losses(probabilities: Floats, true: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the cross-entropy of each row in nats, from 0 to 87.3."""
    own = np.asarray(probabilities[np.arange(len(true)), true], np.float64)
    # Rounding leaves a probability above 1 now and then.
    return -np.log(np.clip(own, _LEAST, 1.0))


def precision_recall(
    matrix: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns precision and recall of each label.

    Returns:
        Precision is 0 for a label that is never predicted; recall is NaN for one of
        which there is no example.
    """
    right, predicted, true = _counts(matrix)
    return share(right, predicted, 0.0), share(right, true, np.nan)


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Returns the mean F1 of the labels that have examples; NaN without any."""
    return float(f1_of_counts(*_counts(matrix)))


def balanced_accuracy(matrix: NDArray[np.int64]) -> float:
    """Returns the mean recall of the labels that have examples; NaN without any."""
    right, _, true = _counts(matrix)
    return float(balanced_of_counts(right, true))


def f1_of_counts(right: Floats, predicted: Floats, true: Floats) -> NDArray[np.float64]:
    """Returns macro-F1 given counts of each label along the last axis."""
    return _mean_of_present(share(2 * right, predicted + true, 0.0), true)


def balanced_of_counts(right: Floats, true: Floats) -> NDArray[np.float64]:
    """Returns balanced accuracy given counts of each label along the last axis."""
    return _mean_of_present(share(right, true, 0.0), true)


def calibration_error(
    probabilities: Floats, true: NDArray[np.int64], bins: int = BINS
) -> float:
    """Returns the expected calibration error of the most probable label.

    Rows are put into bins of equal width by the probability of their most probable
    label; in each bin that probability is compared with the share that is right, and the
    differences are averaged, each bin by its rows. NaN without rows.
    """
    if not len(true):
        return float("nan")
    sums = bin_sums(probabilities.max(axis=1), hits(probabilities, true, 1), bins)
    return float(calibration_of_counts(*sums))


def bin_sums(
    confidence: Floats, right: NDArray[np.bool_], bins: int = BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns of each bin what ``calibration_of_counts`` takes.

    Args:
        confidence: largest probability of each row.
        right: whether it is that of the true label.
        bins: number of bins of equal width.
    """
    places = _bins(confidence, bins)
    rows, sums, hit = (
        np.asarray(np.bincount(places, weights, bins), np.float64)
        for weights in (np.ones(len(right)), confidence, right)
    )
    return rows, sums, hit


def confidence_bins(probabilities: Floats, bins: int = BINS) -> NDArray[np.int64]:
    """Returns the bin of each row's largest probability; a border is of the lower bin."""
    return _bins(probabilities.max(axis=1, initial=0), bins)


def _bins(confidence: Floats, bins: int) -> NDArray[np.int64]:
    borders = np.linspace(0, 1, bins + 1)[1:-1]
    return np.asarray(
        np.searchsorted(borders, confidence.astype(np.float64), side="left"), np.int64
    )


def calibration_of_counts(
    rows: NDArray[np.float64],
    confidence: NDArray[np.float64],
    right: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Returns the expected calibration error given sums of each bin.

    Args:
        rows: number of rows, bins along the last axis.
        confidence: sum of their largest probabilities.
        right: how many of them are right.
    """
    return share(np.abs(confidence - right).sum(axis=-1), rows.sum(axis=-1), np.nan)


def share(part: Numbers, whole: Numbers, without: float) -> NDArray[np.float64]:
    """Returns ``part / whole``, and ``without`` where the whole is 0."""
    shares = np.full(np.shape(whole), without)
    return np.divide(part, whole, out=shares, where=np.greater(whole, 0))


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a number mostly lies, at 95 %.

    Attributes:
        low: its lower end.
        high: its upper end.
    """

    low: float
    high: float


def wilson(right: int, total: int) -> Interval | None:
    """Returns the 95 % interval of a share by its score (Wilson, 1927).

    It takes examples for independent of each other. Crops of one location are not, so
    that the truth is wider; ``location_bootstrap`` needs no such belief.

    Args:
        right: how many of them, from 0 on.
        total: of how many.

    Returns:
        None where there is no example.
    """
    if not total:
        return None
    found, square = right / total, _DEVIATIONS**2 / total
    centre = found + square / 2
    half = math.sqrt(square * (found * (1 - found) + square / 4))
    # Rounding leaves the share outside by a hair where all or none are right.
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    return Interval(low if right else 0.0, high if right < total else 1.0)


def location_bootstrap(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    locations: int,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """Returns the 95 % interval of a number by drawing locations anew.

    Images of one location look alike, so that crops are no independent witnesses of a
    classifier; locations are. With fewer than some ten of them the interval is too
    narrow, as that of any percentile bootstrap. It goes from the 2.5th to the 97.5th
    percentile of the draws.

    Args:
        statistic: takes how often each location counts, shape [draws, locations], and
            returns the number for each draw; NaN where there is none.
        locations: how many there are.
        replicates: number of draws.
        seed: of the draws.

    Returns:
        None where there are fewer than two locations or no draw has a number.
    """
    found = location_bootstraps(
        lambda counts: statistic(counts)[:, np.newaxis],
        locations,
        replicates=replicates,
        seed=seed,
    )
    return found[0] if found else None


def location_bootstraps(
    statistics: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    locations: int,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> list[Interval | None]:
    """Returns the interval of several numbers by the same draws.

    Args:
        statistics: as in ``location_bootstrap``, but returns shape [draws, numbers].
        locations: how many there are.
        replicates: number of draws.
        seed: of the draws.

    Returns:
        One for each number, None where no draw has it; empty where there are fewer
        than two locations.
    """
    if locations < 2 or replicates < 1:  # noqa: PLR2004 - one location has no spread
        return []
    rng = np.random.default_rng(seed)
    even = np.full(locations, 1 / locations)
    at_once = max(1, _SOME // locations)
    found = [
        statistics(rng.multinomial(locations, even, size).astype(np.float64))
        for size in (
            min(at_once, replicates - start) for start in range(0, replicates, at_once)
        )
    ]
    return [_middle(draws) for draws in np.concatenate(found).T]


def _middle(draws: NDArray[np.float64]) -> Interval | None:
    """Returns where 95 % of the draws lie; those without a number do not count."""
    numbers = draws[~np.isnan(draws)]
    if not len(numbers):
        return None
    low, high = np.percentile(numbers, (2.5, 97.5))
    return Interval(float(low), float(high))


def _counts(
    matrix: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns of each label how often it was right, predicted and true."""
    numbers = np.asarray(matrix, np.float64)
    return np.diagonal(numbers), numbers.sum(axis=0), numbers.sum(axis=1)


def _mean_of_present(values: Floats, true: Floats) -> NDArray[np.float64]:
    present = np.greater(true, 0)
    sums = np.where(present, values, 0.0).sum(axis=-1)
    return share(sums, present.sum(axis=-1), np.nan)
