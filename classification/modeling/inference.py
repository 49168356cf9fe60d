"""What every engine that runs a classifier offers, torch or not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from classification.modeling import preprocessing, scaling

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from classification.modeling.catalog import Normalisation
    from classification.modeling.manifest import Calibration
    from classification.modeling.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a classifier may use.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda:N``.
        threads: processor threads; as many images are computed at once.
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
        calibration: what its probabilities go through, or None where nothing.
    """

    categories: tuple[str, ...]
    preprocessing: Preprocessing
    device: str
    fingerprint: str
    calibration: Calibration | None

    def predict(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the probability of each category for each image.

        Args:
            squares: shape [N, S, S, 3], as ``preprocessing.square`` makes them.

        Returns:
            Shape [N, categories], each row adding up to 1; calibrated by ``calibration``.
        """
        ...


class Runner:
    """Runs a network over a batch in the way that suits its device.

    On a processor every thread takes one image at a time: that is as fast as a batch,
    stays in the cache, leaves no thread waiting for the others within a layer, and makes
    an image's result independent of those beside it. A GPU takes the whole batch.

    Here, and nowhere else, logits are calibrated and become probabilities.
    """

    def __init__(
        self,
        logits: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        normalisation: Normalisation,
        threads: int,
        calibration: Calibration | None = None,
    ) -> None:
        """Names the network.

        Args:
            logits: computes [N, C] for a normalised input [N, 3, S, S]; called by
                several threads at once.
            normalisation: of the input.
            threads: number of images computed at once, or 0 for whole batches.
            calibration: what the logits go through, or None.
        """
        self._logits = logits
        self._normalisation = normalisation
        self._scaling = None if calibration is None else calibration.scaling
        self._pool = ThreadPoolExecutor(threads) if threads else None

    def __call__(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns probabilities, shape [N, C]."""
        if self._pool is None:
            logits = self._run(squares)
        else:
            images = (squares[index : index + 1] for index in range(len(squares)))
            logits = np.concatenate(list(self._pool.map(self._run, images)))
        return softmax(scaling.scale(self._scaling, logits))

    def _run(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._logits(preprocessing.normalise(squares, self._normalisation))


def softmax(
    logits: NDArray[np.float32] | NDArray[np.float64],
) -> NDArray[np.float32]:
    """Returns probabilities for logits, shape [N, C], without overflow."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def cuda_index(device: str) -> int | None:
    """Returns N of ``cuda:N``, or None for any other device."""
    kind, _, number = device.partition(":")
    return int(number or 0) if kind == "cuda" else None
