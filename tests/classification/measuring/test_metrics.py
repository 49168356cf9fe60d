"""The metrics say what scikit-learn says, wherever it has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as oracle

from classification.measuring import metrics
from classification.measuring.metrics import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns probabilities and true labels, some of which do not occur."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 8))
    count = int(rng.integers(1, 60))
    logits = rng.normal(size=(count, classes)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    highest = int(rng.integers(1, classes + 1))
    return probabilities.astype(np.float32), rng.integers(0, highest, count)


@given(SEEDS)
def test_counts_what_is_taken_for_what(seed: int) -> None:
    probabilities, true = draw(seed)
    classes = probabilities.shape[1]
    predicted = metrics.predict(probabilities)
    found = metrics.confusion_matrix(true, predicted, classes)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(
        found, oracle.confusion_matrix(true, predicted, labels=range(classes))
    )


@given(SEEDS, st.integers(1, 4))
def test_top_k_accuracy_is_that_of_scikit_learn(seed: int, k: int) -> None:
    probabilities, true = draw(seed)
    classes = probabilities.shape[1]
    if k >= classes:
        assert metrics.hits(probabilities, true, k).all()
        return
    scores = probabilities[:, 1] if classes == 2 else probabilities
    expected = oracle.top_k_accuracy_score(
        true, scores, k=k, normalize=False, labels=range(classes)
    )
    assert metrics.hits(probabilities, true, k).sum() == expected


def test_of_labels_that_are_equally_probable_the_first_goes_first() -> None:
    even = np.full((4, 4), 0.25, np.float32)
    true = np.arange(4)
    assert metrics.hits(even, true, 1).tolist() == [True, False, False, False]
    assert metrics.hits(even, true, 3).tolist() == [True, True, True, False]
    assert metrics.predict(even).tolist() == [0, 0, 0, 0]


@given(SEEDS)
def test_losses_are_those_of_scikit_learn(seed: int) -> None:
    probabilities, true = draw(seed)
    expected = oracle.log_loss(
        true,
        probabilities.astype(np.float64)
        / probabilities.astype(np.float64).sum(axis=1, keepdims=True),
        labels=range(probabilities.shape[1]),
    )
    assert metrics.losses(probabilities, true).mean() == pytest.approx(
        expected, abs=1e-6
    )


def test_no_crop_costs_an_infinite_loss() -> None:
    nothing = np.array([[1, 0]], np.float32)
    loss = metrics.losses(nothing, np.array([1]))
    assert loss[0] == pytest.approx(87.3, abs=0.1)
    above = np.array([[1.0000001, 0]], np.float32)
    assert metrics.losses(above, np.array([0]))[0] == 0


@given(SEEDS)
def test_precision_and_recall_are_those_of_scikit_learn(seed: int) -> None:
    probabilities, true = draw(seed)
    predicted = metrics.predict(probabilities)
    classes = probabilities.shape[1]
    precision, recall = metrics.precision_recall(
        metrics.confusion_matrix(true, predicted, classes)
    )
    expected = oracle.precision_recall_fscore_support(
        true, predicted, labels=range(classes), zero_division=0
    )
    there = np.isin(np.arange(classes), true)
    np.testing.assert_allclose(precision, expected[0])
    np.testing.assert_allclose(recall[there], expected[1][there])
    assert np.isnan(recall[~there]).all()


@given(SEEDS)
def test_means_over_labels_are_those_of_scikit_learn(seed: int) -> None:
    probabilities, true = draw(seed)
    predicted = metrics.predict(probabilities)
    matrix = metrics.confusion_matrix(true, predicted, probabilities.shape[1])
    there = np.unique(true)
    assert metrics.macro_f1(matrix) == pytest.approx(
        oracle.f1_score(true, predicted, labels=there, average="macro", zero_division=0)
    )
    assert metrics.balanced_accuracy(matrix) == pytest.approx(
        oracle.recall_score(true, predicted, labels=there, average="macro")
    )


def test_without_examples_there_is_no_number() -> None:
    nothing = np.zeros((3, 3), np.int64)
    assert np.isnan(metrics.macro_f1(nothing))
    assert np.isnan(metrics.balanced_accuracy(nothing))
    none = np.zeros((0, 3), np.float32)
    assert np.isnan(metrics.calibration_error(none, np.zeros(0, np.int64)))


@given(SEEDS, st.integers(2, 20))
def test_calibration_error_is_what_its_definition_says(seed: int, bins: int) -> None:
    probabilities, true = draw(seed)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == true
    expected = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean())
            expected += gap * inside.mean()
    found = metrics.calibration_error(probabilities, true, bins)
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_border_is_of_the_lower_bin() -> None:
    borders = np.array([[0.0], [0.25], [0.26], [0.5], [1.0]])
    assert metrics.confidence_bins(borders, 4).tolist() == [0, 0, 1, 1, 3]


def test_a_sure_classifier_that_is_always_right_has_no_calibration_error() -> None:
    sure = np.eye(3, dtype=np.float32)
    assert metrics.calibration_error(sure, np.arange(3)) == 0
    assert metrics.calibration_error(sure, np.array([1, 2, 0])) == 1


def test_the_interval_of_a_mean_is_as_wide_as_theory_has_it() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = metrics.location_bootstrap(
        lambda counts: counts @ values / counts.sum(axis=1), 400, replicates=4000
    )
    assert found is not None
    error = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - error, abs=0.01)
    assert found.high == pytest.approx(values.mean() + error, abs=0.01)


def test_the_same_seed_gives_the_same_interval() -> None:
    def share(counts: Floats) -> Floats:
        return counts @ np.sqrt(np.arange(50))

    one, two, other = (
        metrics.location_bootstrap(share, 50, replicates=100, seed=s) for s in (1, 1, 2)
    )
    assert one == two
    assert one != other


def test_draws_without_a_number_do_not_count() -> None:
    def only_with_the_first(counts: Floats) -> Floats:
        return np.where(counts[:, 0] > 0, 0.5, np.nan)

    assert metrics.location_bootstrap(only_with_the_first, 3) == Interval(0.5, 0.5)


@pytest.mark.parametrize(("locations", "replicates"), [(0, 10), (1, 10), (5, 0)])
def test_too_few_locations_or_draws_give_no_interval(
    locations: int, replicates: int
) -> None:
    found = metrics.location_bootstrap(
        lambda counts: counts[:, 0], locations, replicates=replicates
    )
    assert found is None
    nan = metrics.location_bootstrap(
        lambda counts: np.full(len(counts), np.nan), 3, replicates=10
    )
    assert nan is None


@given(st.integers(1, 1000), st.data())
def test_wilson_is_that_of_scipy(total: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, total))
    found = metrics.wilson(right, total)
    expected = binomtest(right, total).proportion_ci(method="wilson")
    assert found is not None
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


@given(st.integers(1, 1000), st.data())
def test_wilson_holds_the_share_and_stays_within_bounds(
    total: int, data: st.DataObject
) -> None:
    right = data.draw(st.integers(0, total))
    found = metrics.wilson(right, total)
    assert found is not None
    assert 0 <= found.low <= right / total <= found.high <= 1


def test_wilson_of_nothing_is_nothing() -> None:
    assert metrics.wilson(0, 0) is None


def test_several_numbers_are_drawn_together() -> None:
    values = np.random.default_rng(2).random((3, 30))

    def shares(counts: Floats) -> Floats:
        return counts @ values.T / 30

    alone = [
        metrics.location_bootstrap(lambda counts, i=i: shares(counts)[:, i], 30)  # type: ignore[misc]  # i is bound early
        for i in range(3)
    ]
    assert metrics.location_bootstraps(shares, 30) == alone


def test_sums_of_bins_give_the_calibration_error() -> None:
    probabilities, true = draw(5)
    sums = metrics.bin_sums(
        probabilities.max(axis=1), metrics.predict(probabilities) == true, 7
    )
    found = float(metrics.calibration_of_counts(*sums))
    assert found == metrics.calibration_error(probabilities, true, 7)
