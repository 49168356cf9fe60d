"""What is random about an epoch, as a function of its number: order, and every draw.

Nothing here has a state. The order of an epoch follows from (seed, epoch), a number
drawn for an example from (seed, epoch, position in the order); so a run that is taken up
in the middle of an epoch sees what an undisturbed one sees, whatever workers there are.

The numbers of an example are SplitMix64's (Steele, Lea and Flood: Fast splittable
pseudorandom number generators, OOPSLA 2014), whose n-th output is a function of n, so
that those of a whole batch are computed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORDER, _DRAWS = range(2)  # purposes, so that their numbers have nothing in common
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_STEPS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST = np.uint64(31)
_TO_53_BITS = np.uint64(11)


def epoch_order(  # noqa: PLR0913 - what an order is a function of
    count: int,
    weights: NDArray[np.float64] | None = None,
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
) -> NDArray[np.int64]:
    """Returns the rows that one process sees in an epoch, in order.

    Process ``rank`` has each ``world``-th of the order of all, so that what all of them
    see in a step is what a single one would see with batches ``world`` times as large.
    All have equally many: the first of the order come again where the last are lacking.

    Args:
        count: number of rows.
        weights: draw each with a chance in proportion to this, with replacement,
            ``count`` times; None for every row once.
        seed: of the run, not negative.
        epoch: its number, from 0.
        rank: of this process, from 0.
        world: number of processes.

    Raises:
        ConfigurationError: no weight is above 0.
    """
    rng = np.random.default_rng([seed, epoch, _ORDER])
    if weights is None or not count:
        order = rng.permutation(count)
    else:
        order = _draw(weights, rng)
    return np.resize(order, -(-count // world) * world)[rank::world]


def uniforms(
    places: NDArray[np.int64], count: int, *, seed: int, epoch: int
) -> NDArray[np.float64]:
    """Returns so many numbers in [0, 1) for each place of an epoch's order.

    Args:
        places: in the order of all, from 0.
        count: numbers per place; the same in each call of a run.
        seed: of the run, not negative.
        epoch: its number, from 0.

    Returns:
        Shape [places, count].
    """
    start = np.random.SeedSequence([seed, epoch, _DRAWS]).generate_state(1, np.uint64)
    numbers = places[:, None] * count + np.arange(1, count + 1)
    mixed = start + numbers.astype(np.uint64) * _GOLDEN  # wraps, as it has to
    for shift, factor in _STEPS:
        mixed = (mixed ^ (mixed >> shift)) * factor
    mixed ^= mixed >> _LAST
    return (mixed >> _TO_53_BITS).astype(np.float64) * 2.0**-53


def _draw(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    possible = np.flatnonzero(weights > 0)
    if not len(possible):
        raise ConfigurationError("no example of train has a weight above 0")
    sums = weights[possible].cumsum()
    drawn = sums.searchsorted(rng.random(len(weights)) * sums[-1], side="right")
    # A product just below the last sum may be rounded up to it.
    return np.asarray(possible[np.minimum(drawn, len(possible) - 1)], np.int64)
