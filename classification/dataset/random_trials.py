"""Of many random splits, the one with the lowest score: the original's method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classification.dataset.counts import FREE, TEST, TRAIN, VAL
from classification.dataset.scoring import costs_of_strangers, scores, shares_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

    from classification.dataset.counts import Counts, Fractions

_JITTER = 0.03
# A trial must be better by more than this to win over an earlier one, so that equal
# splits are equal, however their scores were rounded.
_TIE = 1e-9
# How many numbers one batch of trials may hold: 16 MB of float64.
_BATCH_NUMBERS = 2_000_000


def best_trial(
    counts: Counts, fractions: Fractions, *, seed: int, trials: int
) -> NDArray[np.int8]:
    """Returns the best of ``trials`` random splits, int8 [places].

    Where the label specification prioritises datasets, crops from others cost a little
    in val and test (`scoring.costs_of_strangers`); without, the score alone decides.
    Of equal trials the first wins. Takes about 50 MB of memory, and what the counts
    themselves take.
    """
    shares = shares_of(counts, fractions)
    best, lowest = counts.pinned, np.inf
    for splits in _batches(counts, fractions, seed=seed, trials=trials):
        found = scores(splits, shares) + costs_of_strangers(splits, shares)
        while len(better := np.flatnonzero(found < lowest - _TIE)):
            best, lowest = splits[better[0]].copy(), found[better[0]]
    return best


def _batches(
    counts: Counts, fractions: Fractions, *, seed: int, trials: int
) -> Iterator[NDArray[np.int8]]:
    """Yields all trials, in order, int8 [at most a batch, places]."""
    places, labels = counts.crops.shape
    batch = max(1, _BATCH_NUMBERS // (2 * places + 8 * labels + 1))
    free = np.flatnonzero(counts.pinned == FREE)
    sizes_from, orders_from = np.random.default_rng(seed).spawn(2)
    for start in range(0, trials, batch):
        count = min(batch, trials - start)
        splits = np.repeat(counts.pinned[None, :], count, axis=0)
        sizes = draw_sizes(len(free), fractions, count, rng=sizes_from)
        splits[:, free] = draw_orders(len(free), sizes, rng=orders_from)
        yield splits


def draw_sizes(
    places: int, fractions: Fractions, trials: int, *, rng: Generator
) -> NDArray[np.int64]:
    """Draws how many places go to train and to val, int64 [trials, 2].

    Both are the whole part of ``places`` times their fraction, moved by up to 0.03 at
    random; where test has no fraction, val is all that train leaves, and where val has
    none, it is empty.
    """
    moved = np.array([fractions.train, fractions.val]) + rng.uniform(
        -_JITTER, _JITTER, (trials, 2)
    )
    sizes = np.clip((places * moved).astype(np.int64), 0, places)
    if not fractions.val:
        sizes[:, 1] = 0
    elif not fractions.test:
        sizes[:, 1] = places - sizes[:, 0]
    return sizes


def draw_orders(
    places: int, sizes: NDArray[np.int64], *, rng: Generator
) -> NDArray[np.int8]:
    """Puts the places of each trial in a random order and deals them out.

    Dealing out places in random order, the first to train and so on, is the same as
    putting the splits they are dealt to in random order.

    Returns:
        int8 [trials, places].
    """
    train_ends, val_ends = sizes[:, :1], sizes.sum(axis=1, keepdims=True)
    number = np.arange(places)
    dealt = np.where(
        number < train_ends, TRAIN, np.where(number < val_ends, VAL, TEST)
    ).astype(np.int8)
    return rng.permuted(dealt, axis=1, out=dealt)
