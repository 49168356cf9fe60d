"""What every engine that runs a classifier offers, torch or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from classification.modeling.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a classifier may use.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda:N``.
        threads: processor threads of the network.
    """

    device: str = "auto"
    threads: int = 1


class Classifier(Protocol):
    """A network that is ready to run.

    Attributes:
        categories: names of the outputs in order; ``0``, ``1``, … where the model
            knows none.
        preprocessing: what an image goes through first.
        device: where it runs: ``cpu`` or ``cuda:N``.
        fingerprint: SHA-256 of the weights file.
    """

    categories: tuple[str, ...]
    preprocessing: Preprocessing
    device: str
    fingerprint: str

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the probability of each category for each image.

        Args:
            images: shape [N, 3, S, S], as ``preprocessing.fill`` makes them.

        Returns:
            Shape [N, categories], each row adding up to 1.
        """
        ...


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns probabilities for logits, shape [N, C], without overflow."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def cuda_index(device: str) -> int | None:
    """Returns N of ``cuda:N``, or None for any other device."""
    kind, _, number = device.partition(":")
    return int(number or 0) if kind == "cuda" else None
