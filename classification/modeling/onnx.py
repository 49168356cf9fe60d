"""Runs an exported classifier through ONNX Runtime; torch is never imported."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.modeling.inference import Runner, cuda_index
from classification.runtime import onnx_runtime
from classification.runtime.errors import ConfigurationError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.modeling.inference import Resources
    from classification.modeling.manifest import Calibration
    from classification.modeling.preprocessing import Preprocessing

_RANK = 4  # batch, channels, height, width
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class OnnxClassifier:
    """A classifier in ONNX form; see ``inference.Classifier``."""

    def __init__(  # noqa: PLR0913 - what is known of a model
        self,
        data: bytes,
        categories: tuple[str, ...],
        preprocessing: Preprocessing,
        resources: Resources,
        calibration: Calibration | None = None,
        *,
        folder: Path | None = None,
        fingerprint: str = "",
    ) -> None:
        """Loads the network.

        Args:
            data: the ONNX file's bytes, of which the caller knows where they are from.
            categories: names of the outputs, in order.
            preprocessing: what the input goes through.
            resources: device and threads.
            calibration: what its probabilities go through, or None.
            folder: where the files of its external tensors are, if it has some.
            fingerprint: SHA-256 of all its files; that of ``data`` by default.

        Raises:
            ModelError: not an ONNX network, or of other inputs or outputs.
            ConfigurationError: the device is not there.
        """
        self.categories = categories
        self.preprocessing = preprocessing
        self.calibration = calibration
        self.fingerprint = fingerprint or hashlib.sha256(data).hexdigest()
        wanted = _choose_device(resources.device)
        self._session = _open_session(data, wanted, folder)
        # A GPU whose libraries do not fit is passed over without an error.
        self.device = wanted if _CUDA in self._session.get_providers() else "cpu"
        self._input: str = self._session.get_inputs()[0].name
        self._check()
        threads = resources.threads if self.device == "cpu" else 0
        self._run = Runner(
            self.logits, preprocessing.normalisation, threads, calibration
        )

    def predict(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns probabilities, shape [N, categories]; see ``Classifier.predict``."""
        return self._run(squares)

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns what the network gives before the softmax, shape [N, categories]."""
        return np.asarray(self._session.run(None, {self._input: images})[0], np.float32)

    def _check(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != _RANK:
            raise ModelError(
                "not a classifier: one input [N, 3, S, S] and one output expected"
            )
        found = self._probe()
        if found != (1, len(self.categories)):
            raise ModelError(
                f"the network has {found[-1]} outputs, its manifest "
                f"{len(self.categories)} labels"
            )

    def _probe(self) -> tuple[int, ...]:
        side = self.preprocessing.image_size
        try:
            return self.logits(np.zeros((1, 3, side, side), np.float32)).shape
        except Exception as error:  # onnxruntime's errors have no common base but this
            raise ModelError(
                f"the network cannot take images of {side} x {side} pixels"
            ) from error


def _choose_device(wanted: str) -> str:
    ort = onnx_runtime.load()
    there = _CUDA in ort.get_available_providers()
    if wanted == "auto":
        return "cuda:0" if there else "cpu"
    if cuda_index(wanted) is not None and not there:
        raise ConfigurationError(
            f"--device {wanted}: ONNX Runtime has no CUDA here; install "
            "onnxruntime-gpu, or use --device cpu"
        )
    return wanted


def _open_session(data: bytes, device: str, folder: Path | None) -> Any:  # noqa: ANN401 - onnxruntime is untyped
    index = cuda_index(device)
    gpu = () if index is None else ((_CUDA, {"device_id": index}),)
    try:
        # One thread: each thread of the caller has an image.
        return onnx_runtime.open_session(data, (*gpu, _CPU), folder=folder)
    except Exception as error:  # onnxruntime's errors have no common base but this
        first = str(error).partition("\n")[0]
        raise ModelError(f"not an ONNX network that can be run: {first}") from error
