"""How good a classifier is label by label, each share with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.measuring import metrics

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from classification.measuring.metrics import Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A share of crops, and its 95 % interval.

    Attributes:
        value: in [0, 1]; None where there is nothing to have a share of.
        interval: by Wilson's score, as if crops were independent; for an F1, from
            locations drawn anew. None where there is none.
    """

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFigures:
    """How a label fares.

    Attributes:
        crops: number that are of it.
        predicted: number that are taken for it.
        right: number that are both.
        precision: share of the crops taken for it that are of it; 0 where none is.
        recall: share of its crops that are taken for it.
        f1: harmonic mean of the two; None where no crop is of the label.
        locations: number with a crop of it, or None where locations are not known.
    """

    crops: int
    predicted: int
    right: int
    precision: Share
    recall: Share
    f1: Share
    locations: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where crops were taken.

    Attributes:
        codes: number of each crop's location, int32 [N].
        names: of the locations.
    """

    codes: NDArray[np.int32]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Means:
    """Means over labels that have crops; None where there is no such label.

    Attributes:
        labels: number of them.
        precision: their mean precision.
        recall: their mean recall.
        f1: their mean F1.
    """

    labels: int
    precision: float | None
    recall: float | None
    f1: float | None


def figures(matrix: NDArray[np.int64]) -> list[LabelFigures]:
    """Returns the figures of each label, rows of the matrix being the truth.

    Intervals of F1 are None: a matrix does not know of locations.
    """
    precision, recall = metrics.precision_recall(matrix)
    right, predicted, true = np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    f1 = metrics.share(2 * right, predicted + true, 0.0)
    return [
        LabelFigures(
            crops=int(true[i]),
            predicted=int(predicted[i]),
            right=int(right[i]),
            precision=_share(precision[i], int(right[i]), int(predicted[i])),
            recall=_share(recall[i], int(right[i]), int(true[i])),
            f1=Share(value=float(f1[i]) if true[i] else None),
        )
        for i in range(len(matrix))
    ]


def _share(value: float, right: int, total: int) -> Share:
    return Share(
        value=None if np.isnan(value) else float(value),
        interval=metrics.wilson(right, total),
    )


def f1_intervals(
    true: NDArray[np.int64], predicted: NDArray[np.int64], labels: int, places: Places
) -> list[Interval | None]:
    """Returns the interval of each label's F1 by drawing locations anew.

    Args:
        true: id of each crop's label.
        predicted: id of the label it is taken for.
        labels: how many there are.
        places: where each crop was taken.

    Returns:
        None for a label that is at fewer than two locations: drawing them anew says
        nothing of it.
    """
    right, said, known = np.zeros((3, len(places.names), labels))
    hit = true == predicted
    np.add.at(right, (places.codes[hit], true[hit]), 1)
    np.add.at(said, (places.codes, predicted), 1)
    np.add.at(known, (places.codes, true), 1)

    def f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        crops = counts @ known
        found = metrics.share(2 * (counts @ right), counts @ said + crops, 0.0)
        return np.where(crops > 0, found, np.nan)

    found = metrics.location_bootstraps(f1, len(places.names)) or [None] * labels
    spread = np.count_nonzero(known, axis=0) > 1
    return [one if spread[i] else None for i, one in enumerate(found)]


def locations_of(true: NDArray[np.int64], labels: int, places: Places) -> list[int]:
    """Returns at how many locations each label is."""
    pairs = np.unique(true * len(places.names) + places.codes) // len(places.names)
    return [int(count) for count in np.bincount(pairs, minlength=labels)]


def means(
    labels: Sequence[str],
    figures: Sequence[LabelFigures],
    without: Collection[str] = (),
) -> Means:
    """Returns the means over labels that have crops.

    Args:
        labels: names.
        figures: of each.
        without: names of labels that do not count.
    """
    kept = [
        one
        for label, one in zip(labels, figures, strict=True)
        if one.crops and label not in without
    ]
    return Means(
        len(kept),
        _mean([one.precision for one in kept]),
        _mean([one.recall for one in kept]),
        _mean([one.f1 for one in kept]),
    )


def _mean(shares: Sequence[Share]) -> float | None:
    values = [one.value for one in shares if one.value is not None]
    return float(np.mean(values)) if values else None
