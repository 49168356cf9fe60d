from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.labels.aggregation import Aggregation
from classification.runtime.errors import ConfigurationError


@given(
    targets=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    seed=st.integers(0, 99),
    rows=st.integers(0, 5),
)
def test_sums_are_those_of_a_plain_loop(
    targets: list[int], seed: int, rows: int
) -> None:
    categories = [f"c{index}" for index in range(len(targets))]
    labels_by_target: dict[str, list[str]] = {"empty": []}
    for name, target in zip(categories, targets, strict=True):
        labels_by_target.setdefault(f"t{target}", []).insert(0, name)
    probabilities = np.random.default_rng(seed).random((rows, len(categories)))
    plan = Aggregation.plan(categories, labels_by_target)
    assert list(plan.targets) == sorted(set(labels_by_target) - {"empty"})
    sums = plan.sums(probabilities)
    assert sums.shape == (rows, len(plan.targets))
    for row, summed in zip(probabilities, sums, strict=True):
        value_by_name = dict(zip(categories, row, strict=True))
        for target, value in zip(plan.targets, summed, strict=True):
            exact = math.fsum(value_by_name[name] for name in labels_by_target[target])
            assert math.isclose(value, exact, rel_tol=1e-15, abs_tol=1e-16)


def test_a_row_sums_to_the_same_bits_whatever_stands_beside_it() -> None:
    categories = [f"c{index}" for index in range(169)]
    plan = Aggregation.plan(categories, {"all": categories})
    probabilities = np.random.default_rng(0).random((500, 169))
    whole = plan.sums(probabilities)
    for start, stop in ((0, 1), (1, 8), (8, 500)):
        part = plan.sums(probabilities[start:stop])
        np.testing.assert_array_equal(part, whole[start:stop])


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (
            "ab",
            (
                "the classifier output has no column 'c', 'd', 'e' and 1 more; the mapping "
                "was made for another classifier"
            ),
        ),
        (
            "abcdefg",
            (
                "no target takes the column 'g'; map_classification_categories puts such "
                "labels under other"
            ),
        ),
    ],
)
def test_the_mapping_must_name_each_column_and_no_other(
    categories: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Aggregation.plan(categories, {"x": ["a", "b", "f"], "y": ["e", "d", "c"]})
    assert str(refused.value) == message
