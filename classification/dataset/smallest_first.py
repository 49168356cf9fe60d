"""Dealing out the labels of fewest crops first: the original's second method, working.

Labels come by ascending number of crops. Each label's places that have no split yet
come by ascending number of its crops, those of its prioritised datasets before all
others. A place goes to test while test holds less of the label's crops than its
fraction, else to val while val does, else to train; all labels of the place count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classification.dataset.counts import FREE, TEST, TRAIN, VAL
from classification.dataset.scoring import counted_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from classification.dataset.counts import Counts, Fractions


def deal(counts: Counts, fractions: Fractions) -> NDArray[np.int8]:
    """Gives each place a split, int8 [places]; nothing is drawn at random.

    Labels with equally many crops, and places with equally many, keep their order.
    Places pinned to a split of fraction 0 count for nothing. A place without any crop
    goes to train.
    """
    inside = counted_places(counts, fractions)[:, None]
    crops = np.where(inside, counts.crops, 0)
    totals = crops.sum(axis=0)
    split = counts.pinned.copy()
    held = np.stack([crops[split == s].sum(axis=0) for s in (TRAIN, VAL, TEST)])
    for label in np.argsort(totals, kind="stable"):
        for place in _in_turn(counts, split, label):
            wanted = np.array(fractions.targets) * totals[label] > held[:, label]
            split[place] = TEST if wanted[TEST] else VAL if wanted[VAL] else TRAIN
            held[split[place]] += crops[place]
    split[split == FREE] = TRAIN
    return split


def _in_turn(
    counts: Counts, split: NDArray[np.int8], label: np.intp
) -> NDArray[np.intp]:
    """Returns the label's places without a split, in the order they are dealt out."""
    crops = counts.crops[:, label]
    places = np.flatnonzero((split == FREE) & (crops > 0))
    order = np.lexsort((crops[places], ~counts.preferred[places, label]))
    return places[order]
