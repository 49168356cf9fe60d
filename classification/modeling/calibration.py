"""Fits what makes a classifier's probabilities mean what they say.

Pure functions of probabilities and true labels. Both methods of Guo et al. (2017) are
fitted by L-BFGS to the cross-entropy of crops that the network was not trained on. A
weak prior holds each number near where it changes nothing (the temperature near 1, the
weights and biases of a label near the temperature alone): it yields to some dozens of
crops, but a label with hardly any does not run off to never, or always.

What is told of the time after calibration is of crops that the fit did not see: each
fifth of the crops, label by label in the order of the file so that neighbours stay
together, goes through a scaling that was fitted to the other four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from classification.measuring import metrics
from classification.modeling.inference import softmax
from classification.modeling.manifest import Calibration, LabelCalibration, Threshold
from classification.modeling.scaling import (
    Temperature,
    Vector,
    log_probabilities,
    scale_logs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from classification.modeling.scaling import Scaling

Method = Literal["temperature", "vector"]
METHODS: tuple[Method, ...] = ("temperature", "vector")

FOLDS = 5
_CONFIDENCE = 0.95  # of the intervals
_BOUNDS = (0.01, 100.0)  # of what logits are multiplied by
_BLOCK = 1 << 22  # numbers that are worked on at once
_DECIMALS = 4  # of a threshold; merged files hold no more


class Outputs(NamedTuple):
    """What a classifier said of crops, and what they are.

    Attributes:
        probabilities: shape [N, C], not calibrated.
        true: index of each crop's label, shape [N].
    """

    probabilities: NDArray[np.float32]
    true: NDArray[np.int64]


def fit(method: Method, outputs: Outputs) -> Scaling:
    """Returns the scaling of least cross-entropy; without crops, one that does nothing."""
    return _fit(method, log_probabilities(outputs.probabilities), outputs.true)


def calibrated(scaling: Scaling, outputs: Outputs) -> NDArray[np.float32]:
    """Returns calibrated probabilities, shape [N, C]."""
    return rescaled(scaling, outputs.probabilities)


def rescaled(
    scaling: Scaling, probabilities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns calibrated probabilities of crops whose labels need not be known."""
    return _apply(scaling, log_probabilities(probabilities))


def held_out(method: Method, outputs: Outputs) -> NDArray[np.float32]:
    """Returns probabilities, each crop's by a scaling fitted without its fifth."""
    logs = log_probabilities(outputs.probabilities)
    fold = _folds(outputs.true)
    found = np.empty_like(outputs.probabilities)
    for number in range(FOLDS):
        others = fold != number
        scaling = _fit(method, logs[others], outputs.true[others])
        found[~others] = _apply(scaling, logs[~others])
    return found


def describe(
    method: Method,
    outputs: Outputs,
    labels: Sequence[str],
    *,
    wanted_precision: float,
    sha256: str,
) -> Calibration:
    """Fits a scaling and says what it does.

    Args:
        method: which scaling.
        outputs: of crops that the network was not trained on; at least one.
        labels: one for each column.
        wanted_precision: what the thresholds are for, in (0, 1].
        sha256: of the file the outputs are from.
    """
    scaling = fit(method, outputs)
    before, after = outputs.probabilities, held_out(method, outputs)
    return Calibration(
        scaling=scaling,
        outputs_sha256=sha256,
        crops=len(outputs.true),
        loss_before=cross_entropy(before, outputs.true),
        loss_after=cross_entropy(after, outputs.true),
        ece_before=error(before, outputs.true),
        ece_after=error(after, outputs.true),
        wanted_precision=wanted_precision,
        labels=_describe_labels(
            labels, outputs, after, calibrated(scaling, outputs), wanted_precision
        ),
    )


def error(probabilities: NDArray[np.float32], true: NDArray[np.int64]) -> float:
    """Returns the expected calibration error, in [0, 1], rounded to six decimals."""
    return round(metrics.calibration_error(probabilities, true), 6)


def cross_entropy(probabilities: NDArray[np.float32], true: NDArray[np.int64]) -> float:
    """Returns the mean cross-entropy in nats, rounded to six decimals."""
    return round(float(metrics.losses(probabilities, true).mean()), 6) + 0.0


def clopper_pearson(right: int, total: int) -> tuple[float, float]:
    """Returns the exact 95 % interval of a share, given ``right`` of ``total`` > 0.

    It takes crops for independent of each other; those of one visit are not, so the
    truth is somewhat wider.
    """
    from scipy.special import betaincinv  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy; only when fitting

    tail = (1 - _CONFIDENCE) / 2
    low = betaincinv(right, total - right + 1, tail) if right else 0.0
    high = betaincinv(right + 1, total - right, 1 - tail) if right < total else 1.0
    return float(low), float(high)


def find_threshold(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], wanted: float
) -> Threshold | None:
    """Returns the least probability from which on ``wanted`` of the crops are right.

    Args:
        confidence: of crops of which one label is the most probable, shape [N].
        right: says which of them are of that label.
        wanted: precision, in (0, 1].

    Returns:
        The threshold, cut off (never rounded up) to four decimals, and what is known of
        the crops at or above it; None where no threshold does.
    """
    scale = 10**_DECIMALS
    steps = np.floor(confidence.astype(np.float64) * scale).astype(np.int64)
    # Highest step first: how many crops are at or above it, and how many are right.
    values, counts = np.unique(-steps, return_counts=True)
    crops = np.cumsum(counts)
    hits = np.cumsum(np.bincount(np.searchsorted(values, -steps), weights=right))
    [good] = np.nonzero(hits >= wanted * crops)
    if not len(good):
        return None
    last = good[-1]
    total, found = int(crops[last]), round(float(hits[last]))
    low, high = clopper_pearson(found, total)
    return Threshold(
        probability=-int(values[last]) / scale,
        crops=total,
        precision=round(found / total, 6),
        low=round(low, 6),
        high=round(high, 6),
    )


def reaches_threshold(
    found: Calibration, probabilities: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Says which crops have at least the threshold of their most probable label.

    Args:
        found: whose thresholds; a label without one is reached by no crop.
        probabilities: calibrated, shape [N, C].
    """
    least = np.array(
        [one.threshold.probability if one.threshold else np.inf for one in found.labels]
    )
    reached = probabilities.max(axis=1) >= least[metrics.predict(probabilities)]
    return np.asarray(reached, np.bool_)


def _describe_labels(
    labels: Sequence[str],
    outputs: Outputs,
    after: NDArray[np.float32],
    used: NDArray[np.float32],
    wanted: float,
) -> tuple[LabelCalibration, ...]:
    """Says what calibration does, label by label.

    Args:
        labels: one for each column.
        outputs: before calibration.
        after: probabilities by fits that did not see the crop.
        used: probabilities by the scaling that will be used.
        wanted: precision of the thresholds.
    """
    of_label = _by_prediction(outputs.probabilities)
    of_label_after = _by_prediction(after)
    of_label_used = _by_prediction(used)
    found = []
    for index, label in enumerate(labels):
        rows = of_label_used(index)
        found.append(
            LabelCalibration(
                label=label,
                crops=len(of_label(index)),
                ece_before=_error_of(
                    outputs.probabilities, outputs.true, of_label(index)
                ),
                ece_after=_error_of(after, outputs.true, of_label_after(index)),
                threshold=find_threshold(
                    used[rows, index], outputs.true[rows] == index, wanted
                ),
            )
        )
    return tuple(found)


def _by_prediction(
    probabilities: NDArray[np.float32],
) -> Callable[[int], NDArray[np.int64]]:
    """Returns a function from a label to the crops of which it is the most probable."""
    predicted = metrics.predict(probabilities)
    order = np.argsort(predicted, kind="stable")
    ends = np.searchsorted(
        predicted[order], np.arange(probabilities.shape[1]), side="right"
    )
    starts = np.concatenate([[0], ends[:-1]])
    return lambda index: order[starts[index] : ends[index]]


def _error_of(
    probabilities: NDArray[np.float32],
    true: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> float | None:
    return error(probabilities[rows], true[rows]) if len(rows) else None


def _folds(true: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the fold of each crop: of each label, five runs in the order of the file."""
    order = np.argsort(true, kind="stable")
    labels, counts = true[order], np.bincount(true, minlength=1)
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(true)) - starts[labels]
    fold = np.empty(len(true), np.int64)
    fold[order] = rank * FOLDS // counts[labels]
    return fold


def _apply(scaling: Scaling, logs: NDArray[np.float32]) -> NDArray[np.float32]:
    blocks = [softmax(scale_logs(scaling, logs[rows])) for rows in _blocks(logs)]
    return np.concatenate([np.empty((0, logs.shape[1]), np.float32), *blocks])


def _fit(
    method: Method, logs: NDArray[np.float32], true: NDArray[np.int64]
) -> Temperature | Vector:
    slope = _fit_slope(logs, true)
    if method == "temperature":
        return Temperature(temperature=1 / slope)
    return _fit_vector(logs, true, slope)


def _fit_slope(logs: NDArray[np.float32], true: NDArray[np.int64]) -> float:
    """Returns the inverse of the temperature."""
    columns = logs.shape[1]

    def loss(slope: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, by_weight, _ = _loss(
            logs, true, np.full(columns, slope[0]), np.zeros(columns)
        )
        away = slope[0] - 1
        return total + away**2 / 2, np.array([by_weight.sum() + away])

    return float(_minimise(loss, np.ones(1), [_BOUNDS])[0])


def _fit_vector(
    logs: NDArray[np.float32], true: NDArray[np.int64], slope: float
) -> Vector:
    columns = logs.shape[1]
    start = np.concatenate([np.full(columns, slope), np.zeros(columns)])

    def loss(numbers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, by_weight, by_bias = _loss(
            logs, true, numbers[:columns], numbers[columns:]
        )
        away = numbers - start
        return (
            total + float(away @ away) / 2,
            np.concatenate([by_weight, by_bias]) + away,
        )

    bounds = [_BOUNDS] * columns + [(-_BOUNDS[1], _BOUNDS[1])] * columns
    found = _minimise(loss, start, bounds).tolist()
    return Vector(weights=tuple(found[:columns]), biases=tuple(found[columns:]))


def _loss(
    logs: NDArray[np.float32],
    true: NDArray[np.int64],
    weights: NDArray[np.float64],
    biases: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Returns the summed cross-entropy, and its slopes by weights and by biases."""
    total, columns = 0.0, logs.shape[1]
    by_weight, by_bias = np.zeros(columns), np.zeros(columns)
    for rows in _blocks(logs):
        known, wanted = logs[rows].astype(np.float64), true[rows]
        at_true = (np.arange(len(wanted)), wanted)
        scaled = known * weights + biases
        scaled -= scaled.max(axis=1, keepdims=True)
        raised = np.exp(scaled)
        sums = raised.sum(axis=1, keepdims=True)
        total += float(np.log(sums).sum() - scaled[at_true].sum())
        raised /= sums
        raised[at_true] -= 1  # what the probabilities are too high by
        by_bias += raised.sum(axis=0)
        by_weight += np.einsum("nc,nc->c", raised, known)
    return total, by_weight, by_bias


def _blocks(logs: NDArray[np.float32]) -> list[slice]:
    rows = max(1, _BLOCK // logs.shape[1])
    return [slice(start, start + rows) for start in range(0, len(logs), rows)]


def _minimise(
    loss: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]],
    start: NDArray[np.float64],
    bounds: Sequence[tuple[float, float]],
) -> NDArray[np.float64]:
    from scipy.optimize import minimize  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy; only when fitting

    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 1000, "ftol": 1e-10, "gtol": 1e-6},
    )
    return np.asarray(found.x, np.float64)
