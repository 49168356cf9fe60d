"""Choosing which split each place is in.

All methods leave pinned places where they are, and give the same split for the same
counts and seed, in whatever order the places come.

``random``
    The best by score of many random trials, as the original does.
``smallest_first``
    The labels of fewest crops are dealt out first.
``balanced``
    As few labels as possible are missing from a split; within that, the lowest score
    that a local search finds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from classification.dataset import (
    balanced,
    coverage,
    random_trials,
    smallest_first,
)
from classification.dataset.scoring import missing_pairs, score, shares_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from classification.dataset.counts import Counts, Fractions


class Method(StrEnum):
    """How places are given to splits; see the module."""

    RANDOM = "random"
    SMALLEST_FIRST = "smallest_first"
    BALANCED = "balanced"


@dataclass(frozen=True, slots=True)
class Choice:
    """A split, and how good it is.

    Attributes:
        split: ``TRAIN``, ``VAL`` or ``TEST`` of each place, int8 [places].
        score: distance from the fractions, 0 or more; see `scoring`.
        missing: the (label, split) pairs without a crop, of labels that have crops and
            splits whose fraction is not 0; by label, then in the order of ``SPLITS``.
        blocking: groups of two or more labels that cannot all be in as many splits as
            each could be alone, but could if any one of the group were left out; no
            label is in two groups. Only ``balanced`` names them.
        proven: no split has fewer missing pairs than this one. Where False, that is
            not known (``balanced`` gave up the search) or was not asked (the others).
    """

    split: NDArray[np.int8]
    score: float
    missing: tuple[tuple[str, str], ...]
    blocking: tuple[tuple[str, ...], ...]
    proven: bool


def choose(
    counts: Counts,
    fractions: Fractions,
    *,
    method: Method,
    seed: int,
    trials: int = 10_000,
) -> Choice:
    """Gives each place a split.

    Args:
        counts: what each place holds.
        fractions: what each split is to hold; ``val + test`` < 1. A split of fraction
            0 gets no place but those pinned to it.
        method: how.
        seed: of the random numbers that ``random`` and ``balanced`` draw.
        trials: how many splits ``random`` draws, at least 1.
    """
    order = np.array(
        sorted(range(len(counts.places)), key=counts.places.__getitem__), dtype=np.intp
    )
    in_order = _take(counts, order)
    found, proven = _split(in_order, fractions, method=method, seed=seed, trials=trials)
    blocking = (
        _blocking(in_order, fractions, found) if method is Method.BALANCED else ()
    )
    split = np.empty_like(found)
    split[order] = found
    return Choice(
        split=split,
        score=score(found, shares_of(in_order, fractions)),
        missing=missing_pairs(in_order, fractions, found),
        blocking=blocking,
        proven=proven,
    )


def _split(
    counts: Counts, fractions: Fractions, *, method: Method, seed: int, trials: int
) -> tuple[NDArray[np.int8], bool]:
    """Returns the split of places that are in order, and whether none loses fewer."""
    match method:
        case Method.BALANCED:
            return balanced.balance(counts, fractions, seed=seed)
        case Method.SMALLEST_FIRST:
            return smallest_first.deal(counts, fractions), False
        case Method.RANDOM:
            found = random_trials.best_trial(
                counts, fractions, seed=seed, trials=trials
            )
            return found, False


def _blocking(
    counts: Counts, fractions: Fractions, split: NDArray[np.int8]
) -> tuple[tuple[str, ...], ...]:
    problem = coverage.problem_of(counts, fractions)
    if problem.cost(split) <= problem.least():
        return ()  # each label is wherever it could be alone
    groups = coverage.blocking_labels(problem)
    return tuple(tuple(counts.labels[i] for i in group) for group in groups)


def _take(counts: Counts, order: NDArray[np.intp]) -> Counts:
    """Returns the counts with their places in another order."""
    return replace(
        counts,
        places=tuple(counts.places[i] for i in order),
        crops=counts.crops[order],
        locations=counts.locations[order],
        pinned=counts.pinned[order],
        preferred=counts.preferred[order],
    )
