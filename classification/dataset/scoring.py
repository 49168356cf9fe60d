"""How far a split is from the shares it is to hold: the original's formula.

A split is an array that gives each place ``TRAIN``, ``VAL`` or ``TEST``. Its score is

    sum over splits of  2 * sum over labels of (crop share - target)^2
                          + sum over labels of (location share - target)^2

where a label's crop share is the part of its crops that lies in the split, and its
location share the part of the locations that hold it. 0 is perfect. A label without
crops has no term.

A place that is pinned to a split of fraction 0, as the test locations of
``--match-test`` are, is outside: nothing is decided about it, its crops count for
nothing, and shares are parts of what is left. So ``val`` is always a part of what
there is to choose from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.dataset.counts import FREE, SPLITS, TRAIN, VAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from classification.dataset.counts import Counts, Fractions

# Shares are kept as multiples of this, so that sums of them are exact, in whatever
# order they are taken: the same trial wins in batches of any size, on any machine.
_GRAIN = 2.0**-40
_CROPS, _LOCATIONS = 2, 1
# What 1 - val - test may come to, in floating point, where it should be 0.
_NOTHING = 1e-9
# What it costs to have all crops of a label outside its prioritised datasets in val
# and test. To lower it, a label's val share may fall 1 % (an eighth of this) short of
# its target, for there the score, 4 times its square, rises as fast as the cost falls.
_OUTSIDE_PREFERRED = 0.08


@dataclass(frozen=True, slots=True)
class Shares:
    """What the score of a split is made of.

    Attributes:
        terms: shares of crops, then of locations, that each place has of each label;
            float64 [places, 2 x labels], multiples of 2^-40, each column's sum 1 (or 0
            where the label has no crops).
        weights: of each column's squared deviation: 2, 1, or 0 where the label has no
            crops; float64 [2 x labels].
        targets: the part that each split is to hold, in the order of ``SPLITS``.
        strangeness: cost of having the place in val or test, in units of the score:
            0.08 times the crop shares of labels whose prioritised datasets are others;
            float64 [places].
    """

    terms: NDArray[np.float64]
    weights: NDArray[np.float64]
    targets: tuple[float, float, float]
    strangeness: NDArray[np.float64]


def splits_in_use(fractions: Fractions) -> list[int]:
    """Returns the splits that are to hold something, in the order of ``SPLITS``."""
    return [s for s, target in enumerate(fractions.targets) if target > _NOTHING]


def counted_places(counts: Counts, fractions: Fractions) -> NDArray[np.bool_]:
    """Returns which places are not outside, bool [places]."""
    used = [FREE, *splits_in_use(fractions)]
    return np.isin(counts.pinned, used)


def shares_of(counts: Counts, fractions: Fractions) -> Shares:
    """Divides the counts by their sums over the places that are not outside."""
    inside = counted_places(counts, fractions)[:, None]
    crops = _parts(np.where(inside, counts.crops, 0))
    locations = _parts(np.where(inside, counts.locations, 0))
    alive = crops.any(axis=0)
    prioritised = (counts.preferred & (crops > 0)).any(axis=0)
    stranger = prioritised & ~counts.preferred
    return Shares(
        terms=np.hstack([crops, locations]),
        weights=np.concatenate([_CROPS * alive, _LOCATIONS * alive]).astype(np.float64),
        targets=fractions.targets,
        strangeness=_OUTSIDE_PREFERRED * (crops * stranger).sum(axis=1),
    )


def _parts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns each count as part of its column's sum."""
    parts = counts / np.maximum(counts.sum(axis=0), 1)
    rounded: NDArray[np.float64] = np.rint(parts / _GRAIN) * _GRAIN
    return rounded


def score(split: NDArray[np.int8], shares: Shares) -> float:
    """Returns the score of one split, int8 [places]; see the module's formula."""
    return float(scores(split[None, :], shares)[0])


def scores(splits: NDArray[np.int8], shares: Shares) -> NDArray[np.float64]:
    """Returns the scores of many splits.

    Args:
        splits: int8 [trials, places].
        shares: what the places hold.

    Returns:
        float64 [trials]. Within 1e-9 of the formula; the same for a trial whatever
        trials are scored with it.
    """
    train, val = ((splits == s).astype(np.float64) @ shares.terms for s in (TRAIN, VAL))
    test = shares.terms.sum(axis=0) - train - val
    alive = shares.weights > 0
    total = np.zeros(len(splits))
    for held, target in zip((train, val, test), shares.targets, strict=True):
        total += ((held - target * alive) ** 2 * shares.weights).sum(axis=1)
    return total


def costs_of_strangers(splits: NDArray[np.int8], shares: Shares) -> NDArray[np.float64]:
    """Returns what ``prioritize`` adds to the scores, float64 [trials].

    A label that names prioritised datasets is to be validated and tested on them: each
    of its crops from another dataset costs a little in val and test, 0.08 for all of
    them together; nothing where none of its crops is of a prioritised dataset.
    """
    if not shares.strangeness.any():
        return np.zeros(len(splits))
    cost: NDArray[np.float64] = ((splits != TRAIN) * shares.strangeness).sum(axis=1)
    return cost


def missing_pairs(
    counts: Counts, fractions: Fractions, split: NDArray[np.int8]
) -> tuple[tuple[str, str], ...]:
    """Lists the (label, split) pairs without a crop, for the splits in use.

    By label, then in the order of ``SPLITS``. Labels without any crop are left out.
    """
    used = splits_in_use(fractions)
    held = np.stack([counts.crops[split == s].sum(axis=0) for s in used], axis=1)
    return tuple(
        (label, SPLITS[s])
        for label, row in zip(counts.labels, held, strict=True)
        if counts.crops.shape[0] and row.any()
        for s, crops in zip(used, row, strict=True)
        if not crops
    )
