"""Runs a classifier through torch: TorchScript files, and weights with a manifest."""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch

from classification.model_files import torch_files
from classification.modeling import allocator, networks
from classification.modeling.inference import Runner, cuda_index
from classification.runtime.errors import ConfigurationError, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from classification.modeling.inference import Resources
    from classification.modeling.manifest import Calibration, Manifest
    from classification.modeling.preprocessing import Preprocessing

_MATRIX = 2  # dimensions of the logits


class TorchClassifier:
    """A torch module as a classifier; see ``inference.Classifier``."""

    def __init__(  # noqa: PLR0913 - what is known of a model
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        resources: Resources,
        fingerprint: str,
        categories: tuple[str, ...] | None = None,
        *,
        calibration: Calibration | None = None,
    ) -> None:
        """Puts the network on its device and runs it once.

        Args:
            network: takes [N, 3, S, S] float32, gives logits [N, C].
            preprocessing: what the input goes through.
            resources: device and threads.
            fingerprint: SHA-256 of the weights file.
            categories: names of the outputs; ``0``, ``1``, … by default.
            calibration: what its probabilities go through, or None.

        Raises:
            ModelError: the network cannot take such input, or gives no logits, or of
                another number than ``categories``.
            ConfigurationError: the device is not there.
        """
        self.preprocessing = preprocessing
        self.fingerprint = fingerprint
        self.calibration = calibration
        self.device = choose_device(resources.device)
        if self.device == "cpu":
            torch.set_num_threads(1)  # each thread of the caller has an image
            allocator.keep_freed_memory()
        # Layouts that files from anywhere did not foresee may break them.
        self._layout = (
            torch.preserve_format
            if isinstance(network, torch.jit.ScriptModule)
            else torch.channels_last
        )
        self._network = network.eval().to(self.device).to(memory_format=self._layout)
        outputs = self._probe()
        self.categories = categories or tuple(str(i) for i in range(outputs))
        if len(self.categories) != outputs:
            raise ModelError(
                f"the network has {outputs} outputs, its manifest "
                f"{len(self.categories)} labels"
            )
        threads = resources.threads if self.device == "cpu" else 0
        self._run = Runner(
            self.logits, preprocessing.normalisation, threads, calibration
        )

    def predict(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns probabilities, shape [N, categories]; see ``Classifier.predict``."""
        return self._run(squares)

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns what the network gives before the softmax, shape [N, categories]."""
        return self._logits(images).numpy(force=True)

    def _logits(self, images: NDArray[np.float32]) -> torch.Tensor:
        values = torch.from_numpy(images).to(self.device, memory_format=self._layout)
        with torch.inference_mode():
            logits = self._network(values)
        if not isinstance(logits, torch.Tensor):
            raise ModelError(f"not a classifier: it gives a {type(logits).__name__}")
        return logits

    def _probe(self) -> int:
        """Returns the number of outputs, found by classifying two black squares."""
        side = self.preprocessing.image_size
        try:
            logits = self._logits(np.zeros((2, 3, side, side), np.float32))
        except (RuntimeError, ValueError, TypeError) as error:
            last = str(error).strip().rpartition("\n")[2]
            raise ModelError(
                f"the network cannot take images of {side} x {side} pixels "
                f"(--image-size): {last}"
            ) from error
        if logits.ndim != _MATRIX or len(logits) != 2:  # noqa: PLR2004 - the two squares
            raise ModelError(
                f"not a classifier: two images give the shape {list(logits.shape)}"
            )
        return int(logits.shape[1])


def choose_device(wanted: str) -> str:
    """Returns ``cpu`` or ``cuda:N``.

    Raises:
        ConfigurationError: torch does not see the device that is wanted.
    """
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    index = cuda_index(wanted)
    if index is not None and index >= torch.cuda.device_count():
        raise ConfigurationError(
            f"--device {wanted}: torch sees {torch.cuda.device_count()} CUDA devices "
            "here; check_device tells more"
        )
    return wanted


def load_torchscript(data: bytes) -> nn.Module:
    """Loads a TorchScript file as it is; whatever is in it may run.

    Raises:
        ModelError: torch cannot load it.
    """
    try:
        return _jit_load(io.BytesIO(data))
    except (RuntimeError, ValueError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            f"torch cannot load this TorchScript file: {lines[0] if lines else error}"
        ) from error


def _jit_load(file: BinaryIO) -> nn.Module:
    with warnings.catch_warnings():
        # torch 2.14 and later deprecate TorchScript, which the original's models are.
        warnings.simplefilter("ignore")
        network: nn.Module = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]  # torch's own
    return network


def from_torchscript(
    data: bytes, preprocessing: Preprocessing, resources: Resources
) -> TorchClassifier:
    """Makes a classifier of the bytes of a TorchScript file that is trusted.

    Raises:
        ModelError: see ``load_torchscript`` and ``TorchClassifier``.
    """
    fingerprint = hashlib.sha256(data).hexdigest()
    return TorchClassifier(
        load_torchscript(data), preprocessing, resources, fingerprint
    )


def from_exported(
    data: bytes,
    manifest: Manifest,
    resources: Resources,
    *,
    calibrate: bool = True,
) -> TorchClassifier:
    """Makes a classifier of an exported state dict, or TorchScript that is trusted.

    Args:
        data: of the file.
        manifest: what stands beside it.
        resources: device and threads.
        calibrate: let its probabilities go through its calibration, if it has one.

    Raises:
        ModelError: it is damaged, refused, or of another network.
    """
    if torch_files.is_torchscript(io.BytesIO(data)):
        network = load_torchscript(data)
    else:
        network = _from_state_dict(data, manifest)
    return TorchClassifier(
        network,
        manifest.preprocessing,
        resources,
        manifest.weights.sha256,
        manifest.labels,
        calibration=manifest.calibration if calibrate else None,
    )


def _from_state_dict(data: bytes, manifest: Manifest) -> nn.Module:
    network = networks.build(
        manifest.architecture,
        len(manifest.labels),
        image_size=manifest.image_size,
        padding=manifest.padding,
    )
    networks.load_weights(network, networks.read_state_dict(io.BytesIO(data)))
    return network
