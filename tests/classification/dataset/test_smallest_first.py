from __future__ import annotations

import numpy as np

from classification.dataset.counts import TEST, TRAIN, VAL, Fractions
from classification.dataset.smallest_first import deal
from tests.classification.dataset.worlds import scattered, to_counts


def test_d5_the_rarest_label_is_dealt_out_first() -> None:
    counts = to_counts(np.array([[1, 9], [2, 0], [3, 9], [4, 90], [0, 5]]))
    split = deal(counts, Fractions(0.2, 0.2))
    # label000, 10 crops: 1 and 2 to test (< 2 held), then val, then train.
    assert split.tolist() == [TEST, TEST, VAL, TRAIN, TEST]


def test_prioritised_datasets_go_first() -> None:
    counts = to_counts(np.array([[1], [2], [3]]))
    counts.preferred[2, 0] = True
    assert deal(counts, Fractions(0.2, 0.4))[2] == TEST


def test_every_place_has_a_split() -> None:
    split = deal(scattered(3, 30, 5, 0.3), Fractions(0.2, 0.2))
    assert set(split.tolist()) <= {TRAIN, VAL, TEST}
