from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from classification.dataset.counts import FREE, Fractions
from classification.dataset.splitting import Method, choose
from tests.classification.dataset.worlds import scattered, to_counts

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


# Each label is at three of the places, and any two labels can be in all three splits; for
# all of them, places 1, 2 and 3 would have to be in one split and in three.
BLOCKED = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]])


def test_balanced_names_what_blocks() -> None:
    counts = to_counts(BLOCKED)
    choice = choose(counts, FRACTIONS, method=Method.BALANCED, seed=0)
    assert choice.proven
    assert len(choice.missing) == 1
    assert choice.blocking == (counts.labels,)


def test_balanced_names_nothing_where_each_label_is_everywhere() -> None:
    counts = to_counts(BLOCKED[:, :2])
    choice = choose(counts, FRACTIONS, method=Method.BALANCED, seed=0)
    assert choice.missing == ()
    assert choice.blocking == ()
