"""Figures of labels are scikit-learn's; intervals know of locations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from classification.measuring import by_label, metrics
from classification.measuring.by_label import Places

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = ("bear", "deer", "elk", "other")


def draw(seed: int, count: int = 80) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, rng.integers(1, 5), count)
    return true, np.where(rng.random(count) < 0.6, true, rng.integers(0, 4, count))


@given(st.integers(0, 2**32 - 1))
def test_precision_recall_and_f1_are_those_of_scikit_learn(seed: int) -> None:
    true, predicted = draw(seed)
    found = by_label.figures(metrics.confusion_matrix(true, predicted, 4))
    precision, recall, f1, support = oracle.precision_recall_fscore_support(
        true, predicted, labels=range(4), zero_division=0
    )
    assert [one.crops for one in found] == support.tolist()
    for i, one in enumerate(found):
        assert one.precision.value == pytest.approx(precision[i])
        if support[i]:
            assert one.recall.value == pytest.approx(recall[i])
            assert one.f1.value == pytest.approx(f1[i])
        else:
            assert one.recall.value is one.f1.value is None
    present = [i for i in range(4) if support[i]]
    means = by_label.means(NAMES, found)
    assert means.labels == len(present)
    assert means.precision == pytest.approx(np.mean(precision[present]))
    assert means.recall == pytest.approx(
        oracle.balanced_accuracy_score(true[:], predicted)
        if set(predicted) <= set(true)
        else np.mean(recall[present])
    )
    assert means.f1 == pytest.approx(np.mean(f1[present]))


def test_means_leave_out_what_is_not_wanted() -> None:
    matrix = np.diag([4, 4, 4, 0])
    matrix[3, 0] = 6
    found = by_label.figures(matrix)
    assert by_label.means(NAMES, found).recall == pytest.approx(0.75)
    without = by_label.means(NAMES, found, {"other"})
    assert (without.labels, without.recall) == (3, 1.0)
    assert by_label.means(NAMES, by_label.figures(np.zeros((4, 4), np.int64))) == (
        by_label.Means(0, None, None, None)
    )


def test_shares_have_wilsons_interval() -> None:
    [one, _] = by_label.figures(np.array([[3, 7], [1, 0]]))
    assert one.recall.interval == metrics.wilson(3, 10)
    assert one.precision.interval == metrics.wilson(3, 4)
    assert one.f1.interval is None


def test_the_interval_of_f1_comes_from_locations() -> None:
    rng = np.random.default_rng(3)
    true = rng.integers(0, 2, 400)
    place = np.arange(400) % 20
    # At half of the locations everything is wrong.
    predicted = np.where(place % 2, true, 1 - true)
    places = Places(codes=place.astype(np.int32), names=tuple(map(str, range(20))))
    found = by_label.f1_intervals(true, predicted, 3, places)
    assert found[0] is not None
    assert found[0].high - found[0].low > 0.3
    assert found[2] is None


def test_a_label_at_one_location_has_no_interval() -> None:
    true = np.array([0, 0, 1, 1])
    places = Places(codes=np.array([0, 0, 0, 1], np.int32), names=("a", "b"))
    one, other = by_label.f1_intervals(true, true, 2, places)
    assert one is None
    assert other is not None
    assert by_label.locations_of(true, 2, places) == [1, 2]
