"""Losing as few labels as possible, then a local search on the score: our method.

The start is a split that loses the fewest (label, split) pairs (`coverage`), or a quick
one where that loses no more than any split must. Then single places move, and pairs of
places change sides, as long as that lowers the score and loses no further pair; after
each stop a few places are moved at random, and what comes of it is kept if it is better.
How often is fixed, so that the result does not depend on the machine's speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.dataset import coverage
from classification.dataset.counts import FREE, TRAIN
from classification.dataset.scoring import costs_of_strangers, scores, shares_of

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from classification.dataset.counts import Counts, Fractions
    from classification.dataset.coverage import Problem
    from classification.dataset.scoring import Shares

_SHAKES = 5
_SHAKEN = 4
_LEAST_GAIN = 1e-12
# How many numbers the table of all swaps may hold.
_SWAP_NUMBERS = 1_000_000
_TRIED_SWAPS = 20


def balance(
    counts: Counts, fractions: Fractions, *, seed: int
) -> tuple[NDArray[np.int8], bool]:
    """Returns a split, int8 [places], and whether none loses fewer labels."""
    problem = coverage.problem_of(counts, fractions)
    shares = shares_of(counts, fractions)
    split = _fill(_deal_out(problem), shares, problem)
    proven = problem.cost(split) <= problem.least()
    if not proven:
        covering, proven = coverage.solve(problem)
        covering = _fill(covering, shares, problem)
        if problem.cost(covering) < problem.cost(split):
            split = covering
    search = _Search(problem, shares, split)
    search.descend()
    search.shake(np.random.default_rng(seed))
    return search.split, proven


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


@dataclass(slots=True)
class _Moves:
    """What moving each place to each split in use would change.

    Attributes:
        score: change of the score, float64 [places, splits in use].
        lost: change of the cost of missing pairs, int64 of the same shape.
    """

    score: NDArray[np.float64]
    lost: NDArray[np.int64]


class _Search:
    """A split, and its way down.

    Attributes:
        split: where it is, int8 [places].
    """

    def __init__(
        self, problem: Problem, shares: Shares, split: NDArray[np.int8]
    ) -> None:
        self.split = split
        self._problem = problem
        self._shares = shares
        self._used = np.array(problem.used)
        self._free = problem.fixed == FREE
        self._weighted = shares.terms * shares.weights
        self._squares = (self._weighted * shares.terms).sum(axis=1)
        self._holds = problem.holds.astype(np.int64) * problem.weights

    def value(self) -> tuple[int, float]:
        """Returns the cost of missing pairs, then the score; the lower the better."""
        one = self.split[None, :]
        total = scores(one, self._shares) + costs_of_strangers(one, self._shares)
        return self._problem.cost(self.split), float(total[0])

    def shake(self, rng: Generator) -> None:
        """Moves a few places at random and goes down again, a fixed number of times."""
        free = np.flatnonzero(self._free)
        if len(free) < 2 or len(self._used) < 2:  # noqa: PLR2004 - nothing could move
            return
        best, lowest = self.split.copy(), self.value()
        for _ in range(_SHAKES):
            self.split = best.copy()
            chosen = rng.choice(free, min(_SHAKEN, len(free)), replace=False)
            self.split[chosen] = rng.choice(self._used, len(chosen))
            self.descend()
            if (value := self.value()) < lowest:
                best, lowest = self.split.copy(), value
        self.split = best

    def descend(self) -> None:
        """Goes down until neither a move nor a swap helps."""
        while self._move() or self._swap():
            pass

    def _moves(self) -> _Moves:
        split, used, shares = self.split, self._used, self._shares
        held = np.stack([shares.terms[split == s].sum(axis=0) for s in range(3)])
        away = held - np.array(shares.targets)[:, None] * (shares.weights > 0)
        pull = self._weighted @ away.T
        places = np.arange(len(split))
        score = 2 * (pull[:, used] - pull[places, split][:, None])
        score += 2 * self._squares[:, None]
        strange = shares.strangeness[:, None] * (used != TRAIN)
        score += strange - (shares.strangeness * (split != TRAIN))[:, None]
        count = np.stack(
            [self._problem.holds[split == s].sum(axis=0) for s in range(3)]
        )
        gained = self._holds @ (count[used] == 0).T.astype(np.int64)
        only = self._holds @ (count == 1).T.astype(np.int64)
        lost = only[places, split][:, None] - gained
        stays = (split[:, None] == used) | ~self._free[:, None]
        score[stays], lost[stays] = np.inf, 0
        return _Moves(score, lost)

    def _move(self) -> bool:
        """Makes the best move of one place, if any is better than none."""
        moves = self._moves()
        if not np.isfinite(moves.score).any():
            return False
        fewest = int(moves.lost[np.isfinite(moves.score)].min())
        wanted = moves.lost == min(fewest, 0)
        score = np.where(wanted, moves.score, np.inf)
        place, column = np.unravel_index(int(np.argmin(score)), score.shape)
        if fewest >= 0 and score[place, column] > -_LEAST_GAIN:
            return False
        if not np.isfinite(score[place, column]):
            return False
        self.split[place] = self._used[column]
        return True

    def _swap(self) -> bool:
        """Lets two places change sides, the first of the best pairs that helps."""
        if len(self.split) ** 2 > _SWAP_NUMBERS:
            return False
        moves, now = self._moves(), self.value()
        column = np.full(3, -1)
        column[self._used] = np.arange(len(self._used))
        to = moves.score[:, column[self.split]]
        pairs = to + to.T - 4 * self._weighted @ self._shares.terms.T
        pairs[np.isnan(pairs)] = np.inf
        few = np.flatnonzero(np.triu(pairs < -_LEAST_GAIN))
        best = few[np.argsort(pairs.ravel()[few], kind="stable")][:_TRIED_SWAPS]
        for one, other in zip(*np.unravel_index(best, pairs.shape), strict=True):
            if pairs[one, other] > -_LEAST_GAIN:
                return False
            pair = [one, other]
            self.split[pair] = self.split[pair[::-1]]
            value = self.value()
            if value[0] <= now[0] and value < (now[0], now[1] - _LEAST_GAIN):
                return True
            self.split[pair] = self.split[pair[::-1]]
        return False
