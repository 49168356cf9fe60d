from __future__ import annotations

import itertools

import numpy as np
import pytest

from classification.dataset import coverage
from classification.dataset.balanced import balance
from classification.dataset.counts import FREE, TEST, Fractions
from classification.dataset.random_trials import best_trial
from classification.dataset.scoring import missing_pairs, score, shares_of
from tests.classification.dataset.worlds import planted, scattered

FRACTIONS = Fractions(0.2, 0.2)


@pytest.mark.parametrize("seed", range(50))
def test_d58_it_loses_as_few_labels_as_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places, labels = int(rng.integers(3, 8)), int(rng.integers(2, 9))
    counts = scattered(seed, places, labels, rng.uniform(0.2, 0.7))
    problem = coverage.problem_of(counts, FRACTIONS)
    splits = itertools.product(range(3), repeat=places)
    least = min(problem.cost(np.array(split, np.int8)) for split in splits)
    split, proven = balance(counts, FRACTIONS, seed=0)
    assert proven
    assert problem.cost(split) == least


@pytest.mark.parametrize("seed", range(3))
def test_it_loses_no_label_where_a_solution_was_planted(seed: int) -> None:
    counts = planted(seed)
    split, proven = balance(counts, FRACTIONS, seed=seed)
    assert proven
    assert missing_pairs(counts, FRACTIONS, split) == ()


@pytest.mark.parametrize("seed", range(4))
def test_its_score_is_no_worse_than_that_of_random_trials(seed: int) -> None:
    counts = scattered(seed, 120, 10, 0.5)
    shares = shares_of(counts, FRACTIONS)
    split, _ = balance(counts, FRACTIONS, seed=seed)
    trial = best_trial(counts, FRACTIONS, seed=seed, trials=1000)
    assert score(split, shares) <= score(trial, shares)


def test_pinned_places_stay_and_the_seed_decides() -> None:
    counts = scattered(1, 30, 5, 0.5)
    counts.pinned[:4] = TEST
    split, _ = balance(counts, Fractions(0.3, 0), seed=1)
    again, _ = balance(counts, Fractions(0.3, 0), seed=1)
    assert (split == again).all()
    assert (split[:4] == TEST).all()
    assert not (split[4:] == TEST).any()
    assert not (split == FREE).any()
