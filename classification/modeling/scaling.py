"""What a fitted calibration does to a classifier's logits.

Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017): a network that is
trained until it is right is mostly surer than it is right, and scaling its logits by few
numbers, fitted to crops that it was not trained on, mends most of that. Dussert et al.,
"Being confident in confidence scores" (2023), found the same for camera traps.

A scaling acts on logarithms of probabilities, which differ from logits by one number per
image. So it can be fitted to written probabilities, and does the same to logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Wider than any fit is; numbers far outside would leave nothing of a probability.
_Factor = Annotated[float, msgspec.Meta(ge=0.001, le=1000)]
_Bias = Annotated[float, msgspec.Meta(ge=-1000, le=1000)]

# Smaller probabilities than float32 can hold in full precision count as this one.
_LEAST = float(np.log(np.finfo(np.float32).tiny))


class Temperature(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="method",
    tag="temperature",
):
    """Divides all logits by one number; the most probable label stays the same.

    Attributes:
        temperature: above 1 for a classifier that was too sure, below 1 for one that
            was not sure enough.
    """

    temperature: _Factor

    def __str__(self) -> str:
        """Names the method and its number."""
        return f"temperature scaling, T = {self.temperature:.4g}"


class Vector(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="method",
    tag="vector",
):
    """Gives each label a weight and a bias; the most probable label may change.

    Attributes:
        weights: one for each label, in order; a label's log probability is multiplied
            by it.
        biases: one for each label, added to the product.
    """

    weights: tuple[_Factor, ...]
    biases: tuple[_Bias, ...]

    def __str__(self) -> str:
        """Names the method and its size."""
        return f"vector scaling of {len(self.weights)} labels"


Scaling = Temperature | Vector


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns logarithms of probabilities, shape [N, C]; none is below ``log(1e-38)``."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    return np.asarray(np.maximum(shifted - np.log(total), _LEAST), np.float64)


def log_probabilities(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns what ``log_softmax`` gave before the probabilities were written."""
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))


def scale(
    scaling: Scaling | None, logits: NDArray[np.float32]
) -> NDArray[np.float64] | NDArray[np.float32]:
    """Returns calibrated logits, shape [N, C]; without a scaling, the same ones."""
    if scaling is None:
        return logits
    return scale_logs(scaling, log_softmax(logits))


def scale_logs(
    scaling: Scaling, logs: NDArray[np.float64] | NDArray[np.float32]
) -> NDArray[np.float64]:
    """Returns calibrated logits, given logarithms of probabilities, shape [N, C]."""
    known = np.asarray(logs, np.float64)
    if isinstance(scaling, Temperature):
        return known / scaling.temperature
    weights, biases = np.array(scaling.weights), np.array(scaling.biases)
    return np.asarray(known * weights + biases, np.float64)
