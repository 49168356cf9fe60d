"""Which labels look wrong, by what a classifier says of the crops that have them.

Two ways, both for crops that the classifier was not taught:

``margin``
    Another label is more probable than the crop's own, by a margin.
``confident learning``
    As many crops of each label as are probably wrong, those with the least probable label
    first: Northcutt, Jiang, Chuang, *Confident Learning: Estimating Uncertainty in Dataset
    Labels*, JAIR 70 (2021), method "prune by class". How sure the classifier normally is of
    a label is measured, so that a label it is never sure of is not suspected as a whole.
    Crops are held as two numbers each: their labels, and the probability of these.

A score is in [0, 1]: 0 is unsuspicious. A crop whose label is the most probable one, be it
together with others, is right and has no score (NaN).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    # Probabilities [N, C] of some crops, and the ids of their labels, [N].
    Batches = Callable[[], Iterable[tuple[NDArray[np.float64], NDArray[np.int64]]]]

_DIGITS = 6


class Judge(Protocol):
    """Says how suspicious labels are."""

    def __call__(
        self, probabilities: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Returns the score of each crop, [N]; NaN where it is no candidate.

        Args:
            probabilities: [N, C].
            labels: ids, [N].
        """
        ...


def predicted(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns the most probable label of each crop; of equal ones its own, or the first."""
    best = np.argmax(probabilities, axis=1)
    own = own_of(probabilities, labels)
    return np.where(own == probabilities.max(axis=1, initial=0), labels, best)


def own_of(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns the probability of each crop's label."""
    return probabilities[np.arange(len(labels)), labels]


@dataclass(frozen=True)
class ByMargin:
    """Suspects a label where another one is more probable by ``margin``, in [0, 1].

    The score is the difference.
    """

    margin: float

    def __call__(
        self, probabilities: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """See ``Judge``."""
        own = own_of(probabilities, labels)
        best = probabilities.max(axis=1, initial=0)
        wrong = predicted(probabilities, labels) != labels
        suspected = wrong & (best >= own + self.margin)
        return np.where(suspected, (best - own).round(_DIGITS), np.nan)


@dataclass(frozen=True)
class ByConfidence:
    """Suspects what confident learning does; made by ``learn_confidence``.

    The score says how far the probability of the crop's label falls short of what is normal
    for the label, as a share of that.

    Attributes:
        normal: mean probability of each label over its crops, [C]; infinite where it has
            none.
        cutoffs: up to which probability a label is suspected, [C]; -1 for never.
    """

    normal: NDArray[np.float64]
    cutoffs: NDArray[np.float64]

    def __call__(
        self, probabilities: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """See ``Judge``."""
        own = own_of(probabilities, labels)
        wrong = predicted(probabilities, labels) != labels
        suspected = wrong & (own <= self.cutoffs[labels])
        normal = self.normal[labels]
        share = np.divide(own, normal, out=np.ones_like(own), where=normal > 0)
        score = np.clip(1 - share, 0, 1).round(_DIGITS)
        return np.where(suspected, score, np.nan)


def learn_confidence(batches: Batches, count: int) -> ByConfidence:
    """Learns what is normal for each label, and how many of its crops are wrong.

    Args:
        batches: gives all crops, from the beginning each time it is called.
        count: number of labels, C.
    """
    parts = [(own_of(some, labels), labels) for some, labels in batches()]
    own = np.concatenate([np.zeros(0), *(one for one, _ in parts)])
    labels = np.concatenate([np.zeros(0, np.int64), *(one for _, one in parts)])
    normal = normal_confidence(own, labels, count)
    joint = np.zeros((count, count), np.int64)
    for some, of in batches():
        joint += confident_joint(some, of, normal)
    wrong = wrong_counts(joint, np.bincount(labels, minlength=count))
    return ByConfidence(normal, cut_off(own, labels, wrong))


def normal_confidence(
    own: NDArray[np.float64], labels: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Returns the mean probability of each label over its crops, [C]; inf without crops.

    Args:
        own: probability of each crop's label, [N].
        labels: ids, [N].
        count: number of labels, C.
    """
    crops = np.bincount(labels, minlength=count)
    sums = np.bincount(labels, own, minlength=count)
    normal: NDArray[np.float64] = np.full(count, np.inf)
    np.divide(sums, crops, out=normal, where=crops > 0)
    return normal


def confident_joint(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    normal: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Counts crops by their label and the one they are surely of, [C, C].

    A crop is surely of a label that is at least as probable as is normal for it; of
    several, of the most probable one. Crops that are surely of none do not count.

    Args:
        probabilities: [N, C].
        labels: ids, [N].
        normal: of ``normal_confidence``, [C].
    """
    is_sure = probabilities >= normal
    sure = np.where(is_sure, probabilities, -1).argmax(axis=1)
    counted = is_sure.any(axis=1)
    joint = np.zeros((len(normal), len(normal)), np.int64)
    np.add.at(joint, (labels[counted], sure[counted]), 1)
    return joint


def wrong_counts(
    joint: NDArray[np.int64], crops: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns how many crops of each label are probably wrong, [C].

    Args:
        joint: of ``confident_joint``, over all crops.
        crops: number of crops of each label, [C].
    """
    sure = joint.sum(axis=1)
    share = 1 - np.diag(joint) / np.maximum(sure, 1)
    return np.where(sure > 0, np.rint(share * crops), 0).astype(np.int64)


def cut_off(
    own: NDArray[np.float64], labels: NDArray[np.int64], wrong: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns the probability up to which so many crops of each label are, [C].

    Crops that are as probable as the last of them are among them, whatever their order.

    Args:
        own: probability of each crop's label, [N].
        labels: ids, [N].
        wrong: of ``wrong_counts``, [C].
    """
    cutoffs = np.full(len(wrong), -1.0)
    for label in np.flatnonzero(wrong):
        of_label = np.sort(own[labels == label])
        cutoffs[label] = of_label[min(wrong[label], len(of_label)) - 1]
    return cutoffs
