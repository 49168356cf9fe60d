from __future__ import annotations

import itertools

import numpy as np
import pytest

from classification.dataset import coverage
from classification.dataset.counts import SPLITS, Fractions
from tests.classification.dataset.worlds import scattered, to_counts

FRACTIONS = Fractions(0.2, 0.2)


def brute(problem: coverage.Problem) -> int:
    places = len(problem.fixed)
    splits = itertools.product(range(len(SPLITS)), repeat=places)
    return min(problem.cost(np.array(split, np.int8)) for split in splits)


@pytest.mark.parametrize("seed", range(12))
def test_no_split_loses_less(seed: int) -> None:
    problem = coverage.problem_of(scattered(seed, 6, 5, 0.5), FRACTIONS)
    split, proven = coverage.solve(problem)
    assert proven
    assert problem.cost(split) == brute(problem)


def test_labels_that_can_all_be_everywhere_block_nothing() -> None:
    tight = to_counts(np.array([[1, 1], [1, 1], [1, 0]]))
    assert coverage.blocking_labels(coverage.problem_of(tight, FRACTIONS)) == ()


@pytest.mark.parametrize("seed", range(30))
def test_a_group_blocks_and_would_fit_without_any_one_of_it(seed: int) -> None:
    problem = coverage.problem_of(scattered(seed, 5, 6, 0.6), FRACTIONS)
    for group in coverage.blocking_labels(problem):
        assert not coverage._fit(problem, group)
        for label in group:
            assert coverage._fit(problem, [other for other in group if other != label])
