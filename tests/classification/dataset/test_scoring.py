from __future__ import annotations

import numpy as np
import pytest

from classification.dataset import scoring
from classification.dataset.counts import Counts, Fractions
from tests.classification.dataset.worlds import scattered

FRACTIONS = Fractions(0.2, 0.1)


def plain_score(counts: Counts, fractions: Fractions, split: np.ndarray) -> float:
    total = 0.0
    for s, target in enumerate(fractions.targets):
        for label in range(len(counts.labels)):
            for weight, table in ((2, counts.crops), (1, counts.locations)):
                column = table[:, label]
                if column.sum():
                    part = column[split == s].sum() / column.sum()
                    total += weight * (part - target) ** 2
    return total


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_the_formula(seed: int) -> None:
    counts = scattered(seed, 20, 6, 0.4)
    split = np.random.default_rng(seed).integers(0, 3, 20).astype(np.int8)
    found = scoring.score(split, scoring.shares_of(counts, FRACTIONS))
    assert found == pytest.approx(plain_score(counts, FRACTIONS, split), abs=1e-9)


def test_missing_pairs_are_of_splits_in_use() -> None:
    counts = scattered(0, 4, 2, 1.0)
    split = np.zeros(4, np.int8)
    assert scoring.missing_pairs(counts, Fractions(0.2, 0), split) == (
        ("label000", "val"),
        ("label001", "val"),
    )
