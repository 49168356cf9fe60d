from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.dataset import coverage
from classification.dataset.balanced import _descend, balance
from classification.dataset.counts import FREE, TEST, Fractions
from classification.dataset.random_trials import best_trial
from classification.dataset.scoring import missing_pairs, score, shares_of
from tests.classification.dataset.worlds import planted, scattered

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from classification.dataset.counts import Counts
    from classification.dataset.scoring import Shares

FRACTIONS = Fractions(0.2, 0.2)


@pytest.mark.parametrize("seed", range(50))
def test_d58_it_loses_as_few_labels_as_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places, labels = int(rng.integers(3, 10)), int(rng.integers(2, 9))
    counts = scattered(seed, places, labels, rng.uniform(0.2, 0.7))
    problem = coverage.problem_of(counts, FRACTIONS)
    split, proven = balance(counts, FRACTIONS, seed=0)
    assert proven
    assert problem.cost(split) == _least(problem)


def _least(problem: coverage.Problem) -> int:
    """Returns the least cost of all splits there are."""
    every = np.indices((3,) * len(problem.fixed)).reshape(len(problem.fixed), -1)
    held = [(every == s).T.astype(int) @ problem.holds > 0 for s in problem.used]
    return int((~np.stack(held) * problem.weights).sum(axis=(0, 2)).min())


@pytest.mark.parametrize("seed", range(3))
def test_it_loses_no_label_where_a_solution_was_planted(seed: int) -> None:
    counts = planted(seed)
    split, proven = balance(counts, FRACTIONS, seed=seed)
    assert proven
    assert missing_pairs(counts, FRACTIONS, split) == ()


@pytest.mark.parametrize("make", [planted, lambda seed: scattered(seed, 120, 10, 0.5)])
@pytest.mark.parametrize("seed", range(4))
def test_its_score_is_no_worse_than_that_of_random_trials(
    make: Callable[[int], Counts], seed: int
) -> None:
    counts = make(seed)
    shares = shares_of(counts, FRACTIONS)
    split, _ = balance(counts, FRACTIONS, seed=seed)
    trial = best_trial(counts, FRACTIONS, seed=seed, trials=10_000)
    assert score(split, shares) <= score(trial, shares)


@pytest.mark.parametrize("seed", range(6))
def test_a_descent_ends_where_neither_a_move_nor_a_swap_helps(seed: int) -> None:
    counts = scattered(seed, 12, 4, 0.6)
    problem = coverage.problem_of(counts, FRACTIONS)
    shares = shares_of(counts, FRACTIONS)
    start = np.random.default_rng(seed).integers(0, 3, 12).astype(np.int8)
    found = _descend(start, problem, shares, [(1.0, 1e-9)])
    here = _priced(found, problem, shares)
    for place, s in itertools.product(range(12), range(3)):
        moved = found.copy()
        moved[place] = s
        assert _priced(moved, problem, shares) > here - 1e-6
    for one, other in itertools.combinations(range(12), 2):
        swapped = found.copy()
        swapped[[one, other]] = swapped[[other, one]]
        assert _priced(swapped, problem, shares) > here - 1e-6


def _priced(
    split: NDArray[np.int8], problem: coverage.Problem, shares: Shares
) -> float:
    """Returns what a descent at price 1 lowers."""
    return score(split, shares) + problem.cost(split) / int(problem.weights.max())


def test_pinned_places_stay_and_the_seed_decides() -> None:
    counts = scattered(1, 30, 5, 0.5)
    counts.pinned[:4] = TEST
    split, _ = balance(counts, Fractions(0.3, 0), seed=1)
    again, _ = balance(counts, Fractions(0.3, 0), seed=1)
    assert (split == again).all()
    assert (split[:4] == TEST).all()
    assert not (split[4:] == TEST).any()
    assert not (split == FREE).any()
