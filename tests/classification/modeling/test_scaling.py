"""What a calibration does to logits."""

from __future__ import annotations

import numpy as np
import pytest

from classification.modeling import scaling
from classification.modeling.inference import softmax
from classification.modeling.scaling import Scaling, Temperature, Vector

LOGITS = np.random.default_rng(0).normal(0, 4, (50, 3)).astype(np.float32)


def test_no_scaling_gives_the_same_array() -> None:
    assert scaling.scale(None, LOGITS) is LOGITS


def test_temperature() -> None:
    halved = softmax(scaling.scale(Temperature(temperature=2.0), LOGITS))
    np.testing.assert_allclose(halved, softmax(LOGITS / 2), atol=1e-7)
    np.testing.assert_array_equal(halved.argmax(axis=1), LOGITS.argmax(axis=1))


def test_vector_weighs_log_probabilities() -> None:
    by_hand = Vector(weights=(1.0, 0.5, 2.0), biases=(0.0, 1.0, -1.0))
    logs = np.log(softmax(LOGITS).astype(np.float64))
    raised = np.exp(logs * [1.0, 0.5, 2.0] + [0.0, 1.0, -1.0])
    expected = raised / raised.sum(axis=1, keepdims=True)
    found = softmax(scaling.scale(by_hand, LOGITS))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "fitted",
    [
        Temperature(temperature=1.7),
        Vector(weights=(1.0, 0.5, 2.0), biases=(0.0, 1.0, -1.0)),
    ],
)
def test_the_same_from_logits_and_from_written_probabilities(fitted: Scaling) -> None:
    for shift in (0.0, 100.0):
        from_logits = scaling.scale(fitted, LOGITS + np.float32(shift))
        logs = scaling.log_probabilities(softmax(LOGITS))
        from_written = scaling.scale_logs(fitted, logs)
        np.testing.assert_allclose(
            softmax(from_logits), softmax(from_written), atol=1e-5
        )


def test_a_probability_of_zero_stays_finite() -> None:
    sure = np.array([[1.0, 0.0]], np.float32)
    assert np.isfinite(scaling.log_probabilities(sure)).all()
    far = np.array([[0.0, -5000.0]], np.float32)
    np.testing.assert_allclose(
        scaling.log_softmax(far), scaling.log_probabilities(sure), rtol=1e-6
    )


def test_each_says_what_it_is() -> None:
    assert str(Temperature(temperature=1.41421)) == "temperature scaling, T = 1.414"
    two = Vector(weights=(1.0, 1.0), biases=(0.0, 0.0))
    assert str(two) == "vector scaling of 2 labels"
