"""Scalings fitted to what a classifier said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn.metrics import log_loss

from classification.modeling import calibration
from classification.modeling.calibration import Method, Outputs
from classification.modeling.inference import softmax
from classification.modeling.scaling import Temperature, Vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = tuple("abcd")


def drawn(
    crops: int = 4000, temperature: float = 2.0, columns: int = 4, seed: int = 0
) -> Outputs:
    """Makes outputs whose logits are ``temperature`` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (crops, columns)).astype(np.float32)
    truth = np.cumsum(softmax(logits).astype(np.float64), axis=1)
    true = (rng.random((crops, 1)) * truth[:, -1:] > truth).sum(axis=1)
    return Outputs(softmax(logits * np.float32(temperature)), true)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_the_temperature_is_found(temperature: float) -> None:
    found = calibration.fit("temperature", drawn(20_000, temperature))
    assert isinstance(found, Temperature)
    assert found.temperature == pytest.approx(temperature, rel=0.05)


def test_the_temperature_is_that_of_least_loss() -> None:
    outputs = drawn(1500, 3.0)
    logs = np.log(outputs.probabilities.astype(np.float64))

    def penalised(slope: float) -> float:
        loss = log_loss(outputs.true, softmax(logs * slope), labels=range(4))
        return float(loss) * len(outputs.true) + (slope - 1) ** 2 / 2

    best = minimize_scalar(penalised, bounds=(0.01, 10), method="bounded").x
    found = calibration.fit("temperature", outputs)
    assert isinstance(found, Temperature)
    assert 1 / found.temperature == pytest.approx(best, rel=1e-3)


def test_vector_scaling_mends_what_a_temperature_cannot() -> None:
    outputs = drawn(8000, 1.0)
    skewed = softmax(
        np.log(outputs.probabilities) * [1, 2, 1, 0.5] + np.array([0, 1.5, -1, 0])
    )
    given_outputs = Outputs(skewed, outputs.true)
    one = calibration.describe(
        "temperature", given_outputs, LABELS, wanted_precision=0.9, sha256="0" * 64
    )
    all_ = calibration.describe(
        "vector", given_outputs, LABELS, wanted_precision=0.9, sha256="0" * 64
    )
    assert isinstance(all_.scaling, Vector)
    best = calibration.cross_entropy(*outputs)
    assert all_.loss_after < best + 0.05
    assert best + 0.1 < one.loss_after < one.loss_before
    assert all_.ece_after < 0.02 < one.ece_before


def test_the_slopes_are_those_of_the_loss() -> None:
    outputs = drawn(50)
    logs = np.log(outputs.probabilities)
    weights, biases = np.array([1.0, 0.5, 2, 1]), np.array([0.1, 0, -0.3, 1])
    loss, by_weight, by_bias = calibration._loss(logs, outputs.true, weights, biases)
    expected = log_loss(outputs.true, softmax(logs * weights + biases)) * 50
    assert loss == pytest.approx(expected, rel=1e-5)
    for place in range(4):
        step = np.eye(4)[place] * 1e-5
        more = calibration._loss(logs, outputs.true, weights + step, biases)[0]
        assert (more - loss) / 1e-5 == pytest.approx(by_weight[place], abs=1e-2)
        more = calibration._loss(logs, outputs.true, weights, biases + step)[0]
        assert (more - loss) / 1e-5 == pytest.approx(by_bias[place], abs=1e-2)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = drawn(500)
    whole = calibration.fit("vector", outputs)
    rows = calibration.calibrated(whole, outputs)
    monkeypatch.setattr(calibration, "_BLOCK", 4 * 7)
    parts = calibration.fit("vector", outputs)
    assert isinstance(whole, Vector)
    assert isinstance(parts, Vector)
    np.testing.assert_allclose(whole.weights, parts.weights, rtol=1e-3)
    np.testing.assert_array_equal(rows, calibration.calibrated(whole, outputs))


@pytest.mark.parametrize("method", calibration.METHODS)
def test_no_crop_changes_nothing(method: Method) -> None:
    nothing = Outputs(np.empty((0, 3), np.float32), np.empty(0, np.int64))
    found = calibration.fit(method, nothing)
    sure = np.array([[0.7, 0.2, 0.1]], np.float32)
    np.testing.assert_allclose(
        calibration.calibrated(found, Outputs(sure, np.array([0]))), sure, rtol=1e-6
    )


@pytest.mark.parametrize("method", calibration.METHODS)
def test_few_crops_that_are_all_right_do_not_make_it_certain(method: Method) -> None:
    outputs = Outputs(
        np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], np.float32), np.array([0, 1])
    )
    found = calibration.calibrated(calibration.fit(method, outputs), outputs)
    assert 0.8 < found.max() < 0.95
    assert found[:, 2].min() > 0.01  # the label without a crop is still possible


def test_a_probability_of_zero_for_the_truth_is_survived() -> None:
    outputs = Outputs(np.array([[1, 0], [0, 1]], np.float32), np.array([1, 1]))
    found = calibration.describe(
        "temperature", outputs, ("a", "b"), wanted_precision=0.9, sha256="0" * 64
    )
    assert np.isfinite([found.loss_before, found.loss_after]).all()
    assert isinstance(found.scaling, Temperature)
    assert found.scaling.temperature > 10


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
)
def test_each_label_is_spread_over_the_folds_in_runs(labels: list[int]) -> None:
    true = np.array(labels)
    folds = calibration._folds(true)
    for label in set(labels):
        own = folds[true == label]
        assert (np.diff(own) >= 0).all()
        counts = np.bincount(own, minlength=calibration.FOLDS)
        assert counts.max() - counts.min() <= 1


def test_held_out_probabilities_are_of_fits_to_the_other_folds() -> None:
    outputs = drawn(103)
    folds = calibration._folds(outputs.true)
    found = calibration.held_out("temperature", outputs)
    for number in range(calibration.FOLDS):
        rows = folds == number
        others = Outputs(outputs.probabilities[~rows], outputs.true[~rows])
        scaling = calibration.fit("temperature", others)
        here = Outputs(outputs.probabilities[rows], outputs.true[rows])
        np.testing.assert_array_equal(
            found[rows], calibration.calibrated(scaling, here)
        )


def test_cross_entropy_is_scikit_learn_s() -> None:
    outputs = drawn(300)
    assert calibration.cross_entropy(*outputs) == pytest.approx(
        log_loss(outputs.true, outputs.probabilities), abs=1e-5
    )


@pytest.mark.parametrize(
    ("right", "total"), [(0, 7), (7, 7), (1, 1), (50, 60), (1, 900)]
)
def test_clopper_pearson_is_scipy_s(right: int, total: int) -> None:
    expected = binomtest(right, total).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose(
        calibration.clopper_pearson(right, total), expected, atol=1e-9
    )


def find(confidence: list[float], right: list[bool], wanted: float) -> object:
    return calibration.find_threshold(
        np.array(confidence, np.float32), np.array(right), wanted
    )


def test_a_threshold_is_the_least_that_is_precise_enough() -> None:
    confidence = [0.9, 0.8, 0.70009, 0.6, 0.5]
    right = [True, True, False, True, False]
    found = find(confidence, right, 0.75)
    assert found == calibration.Threshold(
        probability=0.6,
        crops=4,
        precision=0.75,
        low=round(binomtest(3, 4).proportion_ci(method="exact").low, 6),
        high=round(binomtest(3, 4).proportion_ci(method="exact").high, 6),
    )
    sure = find(confidence, right, 1.0)
    assert isinstance(sure, calibration.Threshold)
    assert (sure.probability, sure.crops, sure.precision) == (0.8, 2, 1.0)
    assert find([0.9], [False], 0.5) is None
    assert find([], [], 0.5) is None


@given(
    st.lists(st.tuples(st.floats(0.25, 1, width=32), st.booleans()), max_size=40),
    st.sampled_from([0.5, 0.75, 0.9, 1.0]),
)
def test_thresholds_against_trying_each(
    crops: list[tuple[float, bool]], wanted: float
) -> None:
    found = find([c for c, _ in crops], [r for _, r in crops], wanted)
    good = []
    for confidence, _ in crops:
        least = np.floor(np.float64(confidence) * 1e4) / 1e4
        kept = [r for c, r in crops if np.float64(c) >= least]
        if sum(kept) >= wanted * len(kept):
            good.append((least, len(kept), sum(kept) / len(kept)))
    if not good:
        assert found is None
        return
    assert isinstance(found, calibration.Threshold)
    assert (found.probability, found.crops) == min(good)[:2]
    assert found.precision == pytest.approx(min(good)[2], abs=1e-6)
    assert found.low <= found.precision <= found.high


def test_a_description_says_what_holds_label_by_label() -> None:
    outputs = drawn(3000, 3.0)
    found = calibration.describe(
        "temperature", outputs, LABELS, wanted_precision=0.9, sha256="0" * 64
    )
    assert found.crops == 3000
    assert found.ece_after < 0.03
    assert found.ece_before > 0.1
    assert found.loss_after < found.loss_before
    predicted = outputs.probabilities.argmax(axis=1)
    used = calibration.calibrated(found.scaling, outputs)
    for index, one in enumerate(found.labels):
        rows = predicted == index
        assert (one.label, one.crops) == (LABELS[index], rows.sum())
        assert one.ece_before == calibration.error(
            outputs.probabilities[rows], outputs.true[rows]
        )
        assert one.threshold is not None
        at_least = used[:, index] >= one.threshold.probability
        kept = rows & at_least
        assert one.threshold.crops == kept.sum()
        assert one.threshold.precision == pytest.approx(
            (outputs.true[kept] == index).mean(), abs=1e-6
        )
        assert one.threshold.precision >= 0.9


def test_crops_reach_the_threshold_of_their_most_probable_label() -> None:
    outputs = drawn(500, 3.0)
    found = calibration.describe(
        "temperature", outputs, LABELS, wanted_precision=0.9, sha256="0" * 64
    )
    none = msgspec.structs.replace(found.labels[1], threshold=None)
    labels = (found.labels[0], none, *found.labels[2:])
    found = msgspec.structs.replace(found, labels=labels)
    used = calibration.calibrated(found.scaling, outputs)
    for row, reached in zip(
        used, calibration.reaches_threshold(found, used), strict=True
    ):
        threshold = labels[row.argmax()].threshold
        assert reached == (threshold is not None and row.max() >= threshold.probability)


def test_a_label_that_is_never_predicted() -> None:
    probabilities: NDArray[np.float32] = np.array([[0.6, 0.4], [0.7, 0.3]], np.float32)
    found = calibration.describe(
        "temperature",
        Outputs(probabilities, np.array([0, 1])),
        ("a", "b"),
        wanted_precision=0.95,
        sha256="0" * 64,
    )
    never = found.labels[1]
    assert (never.crops, never.ece_before, never.ece_after) == (0, None, None)
    assert never.threshold is None
