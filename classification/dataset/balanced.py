"""Losing as few labels as possible, then a local search on the score: our method.

Single places move, and pairs of places change sides, always the best of all such steps,
while that lowers

    score + price * cost of the missing (label, split) pairs

The price of a pair is low at first, so that a label may be lost on the way to a better
split, and rises until no pair is given up for any score. Where the search alone does not
find a split that loses the fewest labels, integer programming does (`coverage`), and the
search begins from there again.

How often it begins again is fixed, so that the result does not depend on the machine's
speed; nor does it depend on its arithmetic, because matrix products are of multiples of
2^-20, so that they are exact in whatever order they are added up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classification.dataset import coverage
from classification.dataset.counts import FREE, TRAIN
from classification.dataset.scoring import costs_of_strangers, scores, shares_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from classification.dataset.counts import Counts, Fractions
    from classification.dataset.coverage import Problem
    from classification.dataset.scoring import Shares

# The stages of a descent: the price of a pair in units of the score, at last more than
# any score; and what a step must gain at least.
_NEVER = 2.0**12
_STRICT = ((_NEVER, 2.0**-6),)
_STAGES = ((0.25, 2.0**-7), (1.0, 2.0**-7), (_NEVER, 2.0**-20))
# How many descents there are, and at most until one ends without a further missing pair.
_ENOUGH, _MOST = 2, 6
_GRAIN = 2.0**-20
# Swaps that are looked at at a time: of the most promising places with all others.
_SWAPS = 2**16


def balance(
    counts: Counts, fractions: Fractions, *, seed: int
) -> tuple[NDArray[np.int8], bool]:
    """Returns a split, int8 [places], and whether none loses fewer labels."""
    problem = coverage.problem_of(counts, fractions)
    shares = shares_of(counts, fractions)
    rng = np.random.default_rng(seed)
    split = _improve(_fill(_deal_out(problem), shares, problem), problem, shares, rng)
    if problem.cost(split) <= problem.least():
        return split, True
    covering, proven = coverage.solve(problem)
    covering = _fill(covering, shares, problem)
    if problem.cost(covering) < problem.cost(split):
        split = _improve(covering, problem, shares, rng)
    return split, proven


def _deal_out(problem: Problem) -> NDArray[np.int8]:
    """Gives each label, rarest first, a place in every split that lacks it.

    Of the label's places that are left, the one goes first that holds the most labels
    which the split lacks as well.
    """
    split = problem.fixed.copy()
    held = np.stack([problem.holds[split == s].any(axis=0) for s in range(3)])
    for label in np.argsort(problem.holds.sum(axis=0), kind="stable"):
        for s in problem.used:
            left = np.flatnonzero(problem.holds[:, label] & (split == FREE))
            if held[s, label] or not len(left):
                continue
            place = left[np.argmax((problem.holds[left] & ~held[s]).sum(axis=1))]
            split[place] = s
            held[s] |= problem.holds[place]
    return split


def _fill(
    split: NDArray[np.int8], shares: Shares, problem: Problem
) -> NDArray[np.int8]:
    """Puts each place that is left, largest first, where it lowers the score most."""
    split = split.copy()
    held = np.stack([shares.terms[split == s].sum(axis=0) for s in range(3)])
    goals = np.array(shares.targets)[:, None] * (shares.weights > 0)
    left = np.flatnonzero(split == FREE)
    for place in left[np.argsort(-shares.terms[left].sum(axis=1), kind="stable")]:
        used = list(problem.used)
        short = ((goals - held)[used] * shares.weights) @ shares.terms[place]
        split[place] = used[int(np.argmax(short))] if short.any() else TRAIN
        held[split[place]] += shares.terms[place]
    return split


def _improve(
    split: NDArray[np.int8], problem: Problem, shares: Shares, rng: Generator
) -> NDArray[np.int8]:
    """Returns the best of some ways down; none of its pairs is missing but in ``split``.

    The first way gives up no pair. The others begin from the best split so far, from
    the second on with half of its places given out at random.
    """
    if not (problem.fixed == FREE).any() or len(problem.used) == 1:
        return split
    best = _descend(split, problem, shares, _STRICT)
    lowest, start, sound = _value(best, problem, shares), best, False
    for descents in range(1, _MOST + 1):
        found = _descend(start, problem, shares, _STAGES)
        value = _value(found, problem, shares)
        sound |= value[0] <= lowest[0]
        if value < lowest:
            best, lowest = found, value
        if sound and descents >= _ENOUGH:
            break
        start = _shake(best, problem, rng)
    return best


def _value(
    split: NDArray[np.int8], problem: Problem, shares: Shares
) -> tuple[int, float]:
    """Returns the cost of missing pairs, then the score; the lower the better."""
    one = split[None, :]
    total = scores(one, shares) + costs_of_strangers(one, shares)
    return problem.cost(split), float(total[0])


def _shake(
    split: NDArray[np.int8], problem: Problem, rng: Generator
) -> NDArray[np.int8]:
    """Returns the split with half of its free places given out at random."""
    free = np.flatnonzero(problem.fixed == FREE)
    chosen = rng.choice(free, -(-len(free) // 2), replace=False)
    shaken = split.copy()
    shaken[chosen] = rng.choice(problem.used, len(chosen))
    return shaken


def _descend(
    split: NDArray[np.int8],
    problem: Problem,
    shares: Shares,
    stages: Sequence[tuple[float, float]],
) -> NDArray[np.int8]:
    """Goes down from a split, stage by stage, until neither a move nor a swap helps."""
    search = _Search(problem, shares, split)
    for price, gain in stages:
        while search.move(price, gain) or search.swap(price, gain):
            pass
    found = split.copy()
    found[search.free] = np.array(problem.used, np.int8)[search.columns]
    return found


class _Search:
    """A split on its way down.

    All arrays have a row for each free place, and a column for each split in use.

    Attributes:
        free: which places are free.
        columns: the column that each is in.
    """

    def __init__(
        self, problem: Problem, shares: Shares, split: NDArray[np.int8]
    ) -> None:
        used = np.array(problem.used)
        free = self.free = np.flatnonzero(problem.fixed == FREE)
        self.columns = np.searchsorted(used, split[free])
        self._firsts = np.arange(len(free)) * len(used)
        terms, targets = _rounded(shares.terms), _rounded(np.array(shares.targets))
        held = np.stack([terms[split == s].sum(axis=0) for s in used])
        away = held - targets[used, None] * (shares.weights > 0)
        self._terms = terms[free]
        self._weighted = self._terms * shares.weights
        self._squares = 2 * (self._weighted * self._terms).sum(axis=1)
        # The score changes by the pull of where a place goes, less that of where it is,
        # plus its squares.
        self._pull = 2 * (self._weighted @ away.T)
        self._pull += shares.strangeness[free][:, None] * (used != TRAIN)
        self._holds = problem.holds[free].astype(np.float64)
        self._costs = self._holds * problem.weights
        self._count = np.stack([problem.holds[split == s].sum(axis=0) for s in used])
        self._dearest = float(problem.weights.max(initial=1))

    def move(self, price: float, gain: float) -> bool:
        """Makes the best move of one place; False where none gains enough."""
        changes, _ = self._changes(price)
        place, column = divmod(int(changes.argmin()), changes.shape[1])
        if not changes[place, column] < -gain:
            return False
        self._put(place, column)
        return True

    def swap(self, price: float, gain: float) -> bool:
        """Lets the best pair of places change sides; False where none gains enough."""
        changes, lone = self._changes(price)
        some = self._promising(changes)
        pairs = changes[some][:, self.columns] + changes[:, self.columns[some]].T
        pairs -= 4 * (self._weighted[some] @ self._terms.T)
        # Where both hold a label, neither side loses it.
        both = lone[some] @ self._holds.T + self._holds[some] @ lone.T
        pairs -= price / self._dearest * both
        at, other = divmod(int(pairs.argmin()), pairs.shape[1])
        if not pairs[at, other] < -gain:
            return False
        one = int(some[at])
        there, here = int(self.columns[other]), int(self.columns[one])
        self._put(one, there)
        self._put(other, here)
        return True

    def _changes(self, price: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns what each move would change, and what labels places hold alone.

        Returns:
            The change of score and cost, float64 [free places, splits in use], infinite
            where a place is; and the cost of each label that no other place of the same
            split holds, float64 [free places, labels].
        """
        here = self._firsts + self.columns
        lone = self._costs * (self._count == 1)[self.columns]
        price /= self._dearest
        changes = self._pull - price * (self._costs @ (self._count == 0).T)
        stays = self._pull.ravel()[here] - price * lone.sum(axis=1)
        changes += (self._squares - stays)[:, None]
        changes.ravel()[here] = np.inf
        return changes, lone

    def _promising(self, changes: NDArray[np.float64]) -> NDArray[np.intp]:
        """Returns the places whose best move is best, in order."""
        many = max(1, _SWAPS // len(changes))
        if many >= len(changes):
            return np.arange(len(changes))
        return np.sort(np.argsort(changes.min(axis=1), kind="stable")[:many])

    def _put(self, place: int, column: int) -> None:
        left = self.columns[place]
        pull = 2 * (self._weighted @ self._terms[place])
        self._pull[:, left] -= pull
        self._pull[:, column] += pull
        holds = self._holds[place].astype(np.int64)
        self._count[left] -= holds
        self._count[column] += holds
        self.columns[place] = column


def _rounded(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded: NDArray[np.float64] = np.rint(shares / _GRAIN) * _GRAIN
    return rounded
