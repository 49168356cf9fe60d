"""Turns a network into files that run anywhere: weights and their manifest.

An ONNX file runs without torch, and faster. What is written was compared with the
network it came from: the logits of both for random images differ by less than 1e-4 of
their range, and the manifest says by how much.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from classification.modeling import catalog, manifest, torch_inference, torchscript
from classification.modeling.inference import Resources
from classification.modeling.manifest import Manifest, Parity, Weights
from classification.modeling.onnx import OnnxClassifier
from classification.modeling.preprocessing import Preprocessing
from classification.runtime import scratch
from classification.runtime.atomic import replacing
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from classification.modeling.catalog import Normalisation, Padding

OPSET = 17
# Two orders of float32 sums, through fifty layers, differ by a few 1e-5 of the range.
TOLERANCE = 1e-4
_PARITY_IMAGES = 4
INPUT, OUTPUT = "images", "logits"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a network is, which its weights alone do not tell.

    Attributes:
        architecture: name in the catalog.
        labels: one for each output, in order.
        image_size: side of the input in pixels; the architecture's own by default.
        padding: of an EfficientNet's convolutions.
        provenance: where the model comes from, as text by name.
    """

    architecture: str
    labels: Sequence[str]
    image_size: int | None = None
    padding: Padding = "tf"
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Returns the side of the input in pixels."""
        return self.image_size or catalog.find(self.architecture).image_size

    @property
    def normalisation(self) -> Normalisation:
        """Returns what the input goes through."""
        return catalog.find(self.architecture).normalisation


def to_onnx(network: nn.Module, image_size: int) -> bytes:
    """Returns the network as ONNX, for batches of any size.

    Args:
        network: takes [N, 3, S, S] float32, gives logits [N, C].
        image_size: the side S in pixels.

    Raises:
        StorageError: the temporary folder is full.
    """
    example = torch.zeros(1, 3, image_size, image_size)
    with scratch.folder("ct-export-") as folder, scratch.told():
        path = folder / "model.onnx"
        with warnings.catch_warnings():
            # The tracing exporter is on its way out, but ONNX Runtime fuses its graphs
            # best, and it takes seconds where the new one takes half a minute.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network.eval(),
                (example,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
            )
        return path.read_bytes()


def to_torchscript(network: nn.Module, image_size: int) -> bytes:
    """Returns the network as TorchScript, which the original's programs run.

    What torch adds for debugging, such as this machine's folders, is left out.

    Args:
        network: takes [N, 3, S, S] float32, gives logits [N, C].
        image_size: the side S in pixels.

    Raises:
        ModelError: it holds operations that ``run_classifier`` would refuse.
    """
    example = torch.zeros(1, 3, image_size, image_size)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Of TorchScript's end in torch 2.14, and of Python numbers that become constants.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network.eval(), example, check_trace=False)  # type: ignore[no-untyped-call]  # torch's own
        torch.jit.save(traced, buffer)
    try:
        return torchscript.rebuild(buffer.getvalue(), image_size)
    except ModelError as error:
        fault = str(error).partition(";")[0]
        raise ModelError(
            f"this network as TorchScript is {fault}; export it as .onnx"
        ) from error


def describe(
    weights: Path, data: bytes, facts: ModelFacts, parity: Parity | None = None
) -> Manifest:
    """Returns the manifest of a weights file.

    Args:
        weights: where the file will be.
        data: its bytes.
        facts: what the network is.
        parity: how it was compared with its source.
    """
    return Manifest(
        architecture=facts.architecture,
        weights=Weights(file=weights.name, sha256=hashlib.sha256(data).hexdigest()),
        labels=tuple(facts.labels),
        image_size=facts.side,
        normalisation=facts.normalisation,
        padding=facts.padding,
        parity=parity,
        provenance=dict(facts.provenance),
    )


def write(path: Path, data: bytes, described: Manifest) -> None:
    """Writes weights and manifest; the manifest last, which makes the model whole."""
    with replacing(path) as file:
        file.write(data)
    manifest.write(manifest.path_beside(path), described)


def export(network: nn.Module, path: Path, facts: ModelFacts) -> Manifest:
    """Writes what the name of ``path`` asks for: ``.onnx``, or ``.pt`` for TorchScript.

    Raises:
        ModelError: the exported network computes something else.
    """
    make = export_onnx if path.suffix == ".onnx" else export_torchscript
    return make(network, path, facts)


def export_onnx(network: nn.Module, path: Path, facts: ModelFacts) -> Manifest:
    """Writes ``path`` (ONNX) and its manifest, after comparing it with the network.

    Raises:
        ModelError: the exported network computes something else.
    """
    data = to_onnx(network, facts.side)
    classifier = OnnxClassifier(
        data,
        tuple(facts.labels),
        Preprocessing(image_size=facts.side),
        Resources(device="cpu"),
    )
    parity = check_parity(network, classifier.logits, facts.side)
    described = describe(path, data, facts, parity)
    write(path, data, described)
    return described


def export_torchscript(network: nn.Module, path: Path, facts: ModelFacts) -> Manifest:
    """Writes ``path`` (TorchScript) and its manifest, likewise.

    Raises:
        ModelError: the exported network computes something else, or holds operations
            that ``run_classifier`` would refuse.
    """
    data = to_torchscript(network, facts.side)
    loaded = torch_inference.load_torchscript(data)
    parity = check_parity(network, partial(_logits, loaded), facts.side)
    described = describe(path, data, facts, parity)
    write(path, data, described)
    return described


def export_state_dict(network: nn.Module, path: Path, facts: ModelFacts) -> Manifest:
    """Writes ``path`` (``.pt``: the weights alone) and its manifest."""
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    described = describe(path, buffer.getvalue(), facts)
    write(path, buffer.getvalue(), described)
    return described


def check_parity(
    network: nn.Module,
    exported: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    image_size: int,
) -> Parity:
    """Compares the logits of the network, in float32, and of its export.

    Args:
        network: the source.
        exported: computes [N, C] for [N, 3, S, S].
        image_size: the side S in pixels.

    Raises:
        ModelError: they differ by more than ``TOLERANCE`` of the logits' range.
    """
    rng = np.random.default_rng(0)
    images = rng.standard_normal(
        (_PARITY_IMAGES, 3, image_size, image_size), np.float32
    )
    difference = largest_difference(_logits(network.eval(), images), exported(images))
    if not difference <= TOLERANCE:  # NaN, too
        raise ModelError(
            f"the exported network differs from its source by {difference:.1e}"
        )
    return Parity(
        against=f"torch {torch.__version__}, float32, cpu",
        images=_PARITY_IMAGES,
        largest_difference=float(f"{difference:.3g}"),
    )


def _logits(network: nn.Module, images: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits: torch.Tensor = network(torch.from_numpy(images))
    return logits.numpy()


def largest_difference(
    expected: NDArray[np.float32], found: NDArray[np.float32]
) -> float:
    """Returns the largest difference, relative to the largest value if above 1."""
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(expected - found).max()) / scale
