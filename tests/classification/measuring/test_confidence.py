"""What probabilities are worth: scikit-learn's curve, and counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from classification.measuring import confidence, metrics


@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_the_curve_is_that_of_scikit_learn(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    sure = rng.random(100).astype(np.float32)
    right = rng.random(100) < sure
    found = confidence.reliability(sure, right, bins)
    shares, means = calibration_curve(right, sure.astype(np.float64), n_bins=bins)
    np.testing.assert_allclose([one.right for one in found.bins], shares)
    np.testing.assert_allclose([one.confidence for one in found.bins], means)
    crops = [one.crops for one in found.bins]
    assert sum(crops) == 100
    error = np.average(np.abs(shares - means), weights=crops)
    assert found.error == pytest.approx(error)
    assert found.bins[0].interval == metrics.wilson(
        round(found.bins[0].right * crops[0]), crops[0]
    )


def test_no_crop_has_no_error() -> None:
    nothing = np.empty(0, np.float32)
    assert confidence.reliability(nothing, nothing > 0) == (
        confidence.Reliability((), None)
    )
    assert confidence.coverage_line(nothing, nothing > 0) == ()
    assert confidence.kept(nothing, nothing > 0)[0].right is None


def test_what_is_kept_at_a_border() -> None:
    sure = np.array([0.5, 0.9, 0.99, 0.95], np.float32)
    right = np.array([False, True, True, False])
    half, nine, most = confidence.kept(sure, right, (0.5, 0.9, 0.999))
    assert (half.crops, half.coverage, half.right) == (4, 1.0, 0.5)
    assert (nine.crops, nine.coverage, nine.right) == (3, 0.75, 2 / 3)
    assert nine.interval == metrics.wilson(2, 3)
    assert (most.crops, most.coverage, most.right, most.interval) == (0, 0, None, None)


def test_the_line_of_coverage_goes_from_the_surest_to_all() -> None:
    sure = np.array([0.9, 0.5, 0.9, 0.4], np.float32)
    right = np.array([True, False, False, True])
    assert confidence.coverage_line(sure, right) == (
        (0.5, 0.5),
        (0.75, 1 / 3),
        (1.0, 0.5),
    )


@given(st.integers(1, 300), st.integers(2, 50))
def test_the_line_has_no_more_points_than_asked(count: int, points: int) -> None:
    rng = np.random.default_rng(count)
    line = confidence.coverage_line(
        rng.random(count).astype(np.float32), rng.random(count) < 0.5, points
    )
    assert 1 <= len(line) <= points
    assert line[-1][0] == 1.0
    assert [kept for kept, _ in line] == sorted(kept for kept, _ in line)
