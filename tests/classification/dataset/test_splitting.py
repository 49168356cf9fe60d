from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from classification.dataset.counts import FREE, Fractions
from classification.dataset.splitting import Method, choose
from tests.classification.dataset.worlds import scattered

FRACTIONS = Fractions(0.2, 0.2)


@pytest.mark.parametrize("method", Method)
def test_the_order_of_places_does_not_matter(method: Method) -> None:
    counts = scattered(2, 25, 5, 0.4)
    order = np.random.default_rng(0).permutation(25)
    shuffled = replace(
        counts,
        places=tuple(counts.places[i] for i in order),
        crops=counts.crops[order],
        locations=counts.locations[order],
    )
    one = choose(counts, FRACTIONS, method=method, seed=3, trials=200)
    other = choose(shuffled, FRACTIONS, method=method, seed=3, trials=200)
    assert (one.split[order] == other.split).all()
    assert one.score == other.score
    assert not (one.split == FREE).any()


def test_balanced_names_what_blocks() -> None:
    counts = scattered(0, 3, 1, 1.0)
    crops = np.array([[1, 1], [1, 0], [1, 1], [0, 1]])
    counts = replace(scattered(0, 4, 2, 1.0), crops=crops, locations=crops)
    choice = choose(counts, FRACTIONS, method=Method.BALANCED, seed=0)
    assert choice.proven
    assert bool(choice.missing) == bool(choice.blocking)
