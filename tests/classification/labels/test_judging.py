"""Categories become labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.labels import judging
from classification.modeling.inference import softmax
from classification.runtime.errors import ConfigurationError

ROWS = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32)


def test_categories_that_are_the_labels_go_through_as_they_are() -> None:
    judged = judging.as_labels(("a", "b", "c"), ("a", "b", "c"))
    assert judged.probabilities(ROWS) is ROWS


def test_another_order_is_put_right() -> None:
    judged = judging.as_labels(("c", "a", "b"), ("a", "b", "c"))
    np.testing.assert_allclose(
        judged.probabilities(ROWS), ROWS[:, [1, 2, 0]], rtol=1e-6
    )
    assert judged.silent == judged.ignored == ()


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (("a", "b"), "has no 'c'"),
        (("a", "b", "c", "d"), "also has 'd'"),
        (("0", "1", "2"), "has no 'a', 'b', 'c'"),
    ],
)
def test_other_categories_are_refused(
    categories: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        judging.as_labels(categories, ("a", "b", "c"))


@given(st.integers(0, 2**32 - 1))
def test_sums_are_the_softmax_of_the_log_sum_exp_of_logits(seed: int) -> None:
    """The original's definition: with categories left out, too."""
    logits = np.random.default_rng(seed).normal(0, 4, (6, 5))
    mapping = {"x": ("0", "3"), "y": ("2",), "other": ("4",)}  # 1 stands for nothing
    judged = judging.as_targets("01234", ("x", "y"), mapping)
    assert judged.labels == ("x", "y", "other")
    assert judged.ignored == ("1",)
    raised = [
        np.log(np.exp(logits[:, [int(name) for name in names]]).sum(axis=1))
        for names in mapping.values()
    ]
    expected = softmax(np.stack(raised, axis=1))
    found = judged.probabilities(softmax(logits))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("mapping", [{"x": "ab"}, {"x": "ab", "y": ()}])
def test_d28_a_target_that_matched_nothing_is_never_predicted(
    mapping: dict[str, tuple[str, ...]],
) -> None:
    judged = judging.as_targets("ab", ("x", "y"), mapping)
    assert judged.labels == ("x", "y")
    assert judged.silent == ("y",)
    found = judged.probabilities(np.array([[0.4, 0.6]], np.float32))
    np.testing.assert_allclose(found, [[1, 0]])


def test_a_label_called_other_keeps_its_place() -> None:
    judged = judging.as_targets("ab", ("other", "x"), {"x": "a", "other": "b"})
    assert judged.labels == ("other", "x")
    np.testing.assert_allclose(
        judged.probabilities(np.array([[0.25, 0.75]], np.float32)), [[0.75, 0.25]]
    )


def test_probabilities_that_stand_for_nothing_at_all_give_zeros() -> None:
    judged = judging.as_targets("ab", ("x",), {"x": "a"})
    assert judged.probabilities(np.array([[0, 1]], np.float32)).tolist() == [[0]]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"z": "a"}, "the dataset has no label 'z'"),
        ({"x": ("q",)}, "the classifier has no category 'q'"),
    ],
)
def test_a_mapping_of_something_else_is_refused(
    mapping: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        judging.as_targets("ab", ("x", "y"), mapping)
