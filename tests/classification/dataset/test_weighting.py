from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from classification.dataset import weighting

EXAMPLES = st.lists(
    st.tuples(st.floats(0.001, 1), st.integers(0, 4)), min_size=1, max_size=40
)


@given(EXAMPLES)
def test_every_label_that_occurs_counts_the_same(
    examples: list[tuple[float, int]],
) -> None:
    weights, labels = (np.array(column) for column in zip(*examples, strict=True))
    weighed = weighting.by_label(weights, labels)
    sums = np.bincount(labels, weighed)
    present = sums[np.bincount(labels) > 0]
    np.testing.assert_allclose(present, weights.sum() / len(present))


@given(EXAMPLES)
def test_within_a_label_examples_keep_their_ratio(
    examples: list[tuple[float, int]],
) -> None:
    weights, labels = (np.array(column) for column in zip(*examples, strict=True))
    ratio = weighting.by_label(weights, labels) / weights
    for label in set(labels.tolist()):
        np.testing.assert_allclose(ratio[labels == label], ratio[labels == label][0])


def test_is_the_originals_formula() -> None:
    weighed = weighting.by_label(np.array([1.0, 0.5, 0.5]), np.array([0, 0, 1]))
    np.testing.assert_allclose(weighed, [1 * (2 / 2) / 1.5, 0.5 * (2 / 2) / 1.5, 1.0])


def test_a_label_of_which_nothing_is_sure_still_counts() -> None:
    weighed = weighting.by_label(np.array([0.0, 0.0, 2.0]), np.array([0, 0, 1]))
    np.testing.assert_allclose(weighed, [0.5, 0.5, 1])
    weighed = weighting.by_label(np.zeros(3), np.array([0, 0, 1]))
    np.testing.assert_allclose(weighed, [0.75, 0.75, 1.5])


def test_nothing_weighs_nothing() -> None:
    assert len(weighting.by_label(np.zeros(0), np.zeros(0, np.int64))) == 0


def test_d23_a_drawn_box_is_not_calibrated() -> None:
    weighed = weighting.by_confidence(
        np.array([1.0, 1.0, 0.5]), np.array([True, False, False]), lambda c: c / 2
    )
    assert weighed.tolist() == [1, 0.5, 0.25]
