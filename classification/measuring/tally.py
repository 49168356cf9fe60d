"""Counts of how a classifier did, from which every metric of a split follows.

Examples are added batch by batch and forgotten: what is kept grows with the number of
locations and labels, not with that of the examples. Counts are kept by location, so that
any metric can be computed again for locations drawn anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from classification.measuring import metrics
from classification.measuring.metrics import BINS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    # Takes how often each location counts, [draws, locations]; gives a number per draw.
    Statistic: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_TOP = 3


class Tally:
    """Counts of one split.

    Attributes:
        matrix: confusion matrix, int64 [C, C], rows are the truth.
        right: of each location and label, how many are right; [L, C].
        predicted: likewise, how many are taken for the label.
        true: likewise, how many are of it.
        top3: of each location, for how many the label is among the three first.
        loss: of each location, the sum of losses in nats.
        bins: of each bin of confidence and location, [3, L, bins]: number of examples,
            sum of confidence, number right.
        higher: of each location, how many are taken for a label above the true one.
        weighted: sums over weighed examples: loss, right, among the three first, 1.
    """

    def __init__(
        self, labels: int, locations: int, above: NDArray[np.bool_] | None = None
    ) -> None:
        """Begins with nothing.

        Args:
            labels: number of labels.
            locations: number of locations.
            above: whether label j is above label i in a taxonomy, [C, C], or None.
        """
        self._above = np.zeros((labels, labels), np.bool_) if above is None else above
        self.matrix = np.zeros((labels, labels), np.int64)
        self.right, self.predicted, self.true = np.zeros(
            (3, locations, labels), np.int32
        )
        self.top3 = np.zeros(locations, np.int64)
        self.loss = np.zeros(locations)
        self.bins = np.zeros((3, locations, BINS))
        self.higher = np.zeros(locations, np.int64)
        self.weighted = np.zeros(4)

    def add(
        self,
        probabilities: NDArray[np.float32],
        true: NDArray[np.int64],
        weights: NDArray[np.float64],
        places: NDArray[np.int32],
    ) -> None:
        """Counts examples.

        Args:
            probabilities: shape [N, C].
            true: label of each.
            weights: of each.
            places: number of the location of each.
        """
        predicted = metrics.predict(probabilities)
        right = predicted == true
        among = metrics.hits(probabilities, true, _TOP)
        losses = metrics.losses(probabilities, true)
        self.matrix += metrics.confusion_matrix(true, predicted, len(self.matrix))
        np.add.at(self.right, (places[right], true[right]), 1)
        np.add.at(self.predicted, (places, predicted), 1)
        np.add.at(self.true, (places, true), 1)
        np.add.at(self.top3, places, among)
        np.add.at(self.loss, places, losses)
        np.add.at(self.higher, places, self._above[true, predicted])
        where = places, metrics.confidence_bins(probabilities)
        confidence = probabilities.max(axis=1, initial=0)
        for sums, values in zip(self.bins, (1, confidence, right), strict=True):
            np.add.at(sums, where, values)
        for index, values in enumerate((losses, right, among, np.ones(len(true)))):
            self.weighted[index] += weights @ values

    @property
    def crops(self) -> NDArray[np.int64]:
        """Returns the number of examples of each location."""
        return np.asarray(self.true.sum(axis=1), np.int64)

    def statistics(self) -> dict[str, Statistic]:
        """Returns the metrics as functions of how often each location counts.

        Locations without an example change nothing.
        """
        crops = self.crops.astype(np.float64)
        right, predicted, true = (
            counts.astype(np.float64)
            for counts in (self.right, self.predicted, self.true)
        )
        own = np.divide(
            right.sum(axis=1), crops, out=np.zeros_like(crops), where=crops > 0
        )
        return {
            "loss": _ratio(self.loss, crops),
            "acc_top1": _ratio(right.sum(axis=1), crops),
            "acc_top3": _ratio(self.top3, crops),
            "balanced_accuracy": lambda counts: metrics.balanced_of_counts(
                counts @ right, counts @ true
            ),
            "macro_f1": lambda counts: metrics.f1_of_counts(
                counts @ right, counts @ predicted, counts @ true
            ),
            "calibration_error": lambda counts: metrics.calibration_of_counts(
                *(counts @ sums for sums in self.bins)
            ),
            "location_accuracy": _ratio(own, (crops > 0).astype(np.float64)),
        }

    def kinds(self) -> dict[str, Statistic]:
        """Returns the shares that are right, at a higher taxon, and wrong."""
        crops = self.crops
        right = self.right.sum(axis=1)
        counts = {
            "right": right,
            "higher": self.higher,
            "wrong": crops - right - self.higher,
        }
        return {kind: _ratio(count, crops) for kind, count in counts.items()}


def _ratio(
    part: NDArray[np.float64] | NDArray[np.int64],
    whole: NDArray[np.float64] | NDArray[np.int64],
) -> Statistic:
    """Returns the sum of one count over that of another, NaN where that is 0."""

    def statistic(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return metrics.share(counts @ part, counts @ whole, np.nan)

    return statistic
