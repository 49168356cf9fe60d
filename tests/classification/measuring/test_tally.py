"""Counts kept by location give what all examples together give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from classification.measuring import metrics
from classification.measuring.tally import Tally

PLACES = 5


def counted(seed: int) -> tuple[Tally, dict[str, np.ndarray]]:
    """Returns a tally of two batches, and the examples that went into it."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 6))
    rows = int(rng.integers(2, 50))
    raw = rng.random((rows, classes)) ** 3 + 1e-3
    examples = {
        "probabilities": (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32),
        "true": rng.integers(0, classes, rows),
        "weights": rng.random(rows) + 0.1,
        "places": rng.integers(0, PLACES, rows).astype(np.int32),
    }
    tally = Tally(classes, PLACES)
    half = rows // 2
    for part in (slice(0, half), slice(half, None)):
        tally.add(**{name: values[part] for name, values in examples.items()})
    return tally, examples


@given(st.integers(0, 2**32 - 1))
def test_every_metric_is_that_of_all_examples(seed: int) -> None:
    tally, examples = counted(seed)
    probabilities, true = examples["probabilities"], examples["true"]
    predicted = probabilities.argmax(axis=1)
    there = np.unique(true)
    once = np.ones((1, PLACES))
    found = {name: of(once)[0] for name, of in tally.statistics().items()}
    by_place = [
        oracle.accuracy_score(true[here], predicted[here])
        for place in range(PLACES)
        if (here := examples["places"] == place).any()
    ]
    assert found == pytest.approx(
        {
            "loss": metrics.losses(probabilities, true).mean(),
            "acc_top1": oracle.accuracy_score(true, predicted),
            "acc_top3": metrics.hits(probabilities, true, 3).mean(),
            "balanced_accuracy": oracle.recall_score(
                true, predicted, labels=there, average="macro"
            ),
            "macro_f1": oracle.f1_score(
                true, predicted, labels=there, average="macro", zero_division=0
            ),
            "calibration_error": metrics.calibration_error(probabilities, true),
            "location_accuracy": np.mean(by_place),
        },
        abs=1e-6,
    )


@given(st.integers(0, 2**32 - 1))
def test_a_location_drawn_twice_counts_twice(seed: int) -> None:
    tally, examples = counted(seed)
    draw = np.array([[2.0, 0, 1, 0, 3]])
    copies = np.repeat(
        np.arange(len(examples["true"])), draw[0][examples["places"]].astype(int)
    )
    true = examples["true"][copies]
    predicted = examples["probabilities"][copies].argmax(axis=1)
    f1 = tally.statistics()["macro_f1"](draw)[0]
    if len(copies):
        assert f1 == pytest.approx(
            oracle.f1_score(
                true,
                predicted,
                labels=np.unique(true),
                average="macro",
                zero_division=0,
            )
        )
    else:
        assert np.isnan(f1)


@given(st.integers(0, 2**32 - 1))
def test_weighted_sums_and_kinds(seed: int) -> None:
    tally, examples = counted(seed)
    right = examples["probabilities"].argmax(axis=1) == examples["true"]
    weights = examples["weights"]
    assert tally.weighted[1] == pytest.approx((weights * right).sum())
    assert tally.weighted[3] == pytest.approx(weights.sum())
    shares = {k: of(np.ones((1, PLACES)))[0] for k, of in tally.kinds().items()}
    assert shares["right"] == pytest.approx(right.mean())
    assert shares["higher"] == 0
    assert sum(shares.values()) == pytest.approx(1)


def test_without_examples_every_metric_is_missing() -> None:
    tally = Tally(3, 2)
    tally.add(
        np.zeros((0, 3), np.float32),
        np.zeros(0, np.int64),
        np.zeros(0),
        np.zeros(0, np.int32),
    )
    for statistic in (*tally.statistics().values(), *tally.kinds().values()):
        assert np.isnan(statistic(np.ones((1, 2)))).all()


def test_a_label_above_the_true_one_is_counted_apart() -> None:
    above = np.array([[False, True], [False, False]])  # label 1 is above label 0
    tally = Tally(2, 1, above)
    sure = np.array([[0, 1], [0, 1], [1, 0], [1, 0]], np.float32)
    tally.add(sure, np.array([0, 1, 0, 1]), np.ones(4), np.zeros(4, np.int32))
    shares = {kind: of(np.ones((1, 1)))[0] for kind, of in tally.kinds().items()}
    assert shares == {"right": 0.5, "higher": 0.25, "wrong": 0.25}


def test_d53_what_is_kept_does_not_grow_with_the_examples() -> None:
    sizes = []
    for rows in (10, 10_000):
        tally = Tally(3, 2)
        tally.add(
            np.full((rows, 3), 1 / 3, np.float32),
            np.zeros(rows, np.int64),
            np.ones(rows),
            np.zeros(rows, np.int32),
        )
        arrays = [v for v in vars(tally).values() if isinstance(v, np.ndarray)]
        sizes.append(sum(array.nbytes for array in arrays))
    assert len(arrays) == len(vars(tally))
    assert sizes[0] == sizes[1]
