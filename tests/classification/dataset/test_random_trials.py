from __future__ import annotations

import numpy as np
import pytest

from classification.dataset.counts import TEST, Fractions
from classification.dataset.random_trials import best_trial, draw_sizes
from classification.dataset.scoring import score, shares_of
from tests.classification.dataset.worlds import scattered


def test_d59_the_seed_decides_and_more_trials_are_no_worse() -> None:
    counts, fractions = scattered(0, 40, 6, 0.4), Fractions(0.2, 0.2)
    shares = shares_of(counts, fractions)
    few = best_trial(counts, fractions, seed=1, trials=10)
    many = best_trial(counts, fractions, seed=1, trials=2000)
    assert (best_trial(counts, fractions, seed=1, trials=10) == few).all()
    assert score(many, shares) <= score(few, shares)


def test_d6_pinned_places_are_not_in_the_pool() -> None:
    counts = scattered(0, 20, 4, 0.5)
    counts.pinned[:5] = TEST
    split = best_trial(counts, Fractions(0.3, 0), seed=0, trials=50)
    assert np.flatnonzero(split == TEST).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("val", "test"), [(0.2, 0.2), (0.3, 0.0), (0.0, 0.3)])
def test_sizes_keep_to_the_fractions(val: float, test: float) -> None:
    rng = np.random.default_rng(0)
    sizes = draw_sizes(100, Fractions(val, test), 500, rng=rng)
    assert (abs(sizes[:, 0] - 100 * (1 - val - test)) <= 4).all()
    assert (sizes.sum(axis=1) <= 100).all()
    assert ((sizes[:, 1] > 0) == (val > 0)).all()
