"""Turns a network into files that run anywhere: weights and their manifest.

An ONNX file runs without torch, and faster. What is written was compared with the
network it came from: the logits of both for random images differ by less than 1e-5 of
their range.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from classification.modeling import catalog, manifest
from classification.modeling.inference import Resources
from classification.modeling.manifest import Manifest, Weights
from classification.modeling.onnx import OnnxClassifier
from classification.runtime.atomic import replacing
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from classification.modeling.catalog import Padding

OPSET = 17
# Two orders of float32 sums, through fifty layers, differ by a few 1e-5 of the range.
TOLERANCE = 1e-4
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


def to_onnx(network: nn.Module, image_size: int) -> bytes:
    """Returns the network as ONNX, for batches of any size.

    Args:
        network: takes [N, 3, S, S] float32, gives logits [N, C].
        image_size: the side S in pixels.
    """
    example = torch.zeros(1, 3, image_size, image_size)
    with tempfile.TemporaryDirectory(prefix="ct-export-") as folder:
        path = Path(folder) / "model.onnx"
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


def describe(weights: Path, data: bytes, facts: ModelFacts) -> Manifest:
    """Returns the manifest of a weights file.

    Args:
        weights: where the file will be.
        data: its bytes.
        facts: what the network is.
    """
    return Manifest(
        architecture=facts.architecture,
        weights=Weights(file=weights.name, sha256=hashlib.sha256(data).hexdigest()),
        labels=tuple(facts.labels),
        image_size=facts.side,
        normalisation=catalog.find(facts.architecture).normalisation,
        padding=facts.padding,
        provenance=dict(facts.provenance),
    )


def write(path: Path, data: bytes, described: Manifest) -> None:
    """Writes weights and manifest; the manifest last, which makes the model whole."""
    with replacing(path) as file:
        file.write(data)
    manifest.write(manifest.path_beside(path), described)


def export_onnx(network: nn.Module, path: Path, facts: ModelFacts) -> Manifest:
    """Writes ``path`` (ONNX) and its manifest, after comparing it with the network.

    Raises:
        ModelError: the exported network computes something else.
    """
    data = to_onnx(network, facts.side)
    described = describe(path, data, facts)
    check_parity(network, data, described)
    write(path, data, described)
    return described


def export_state_dict(network: nn.Module, path: Path, facts: ModelFacts) -> Manifest:
    """Writes ``path`` (``.pt``: the weights alone) and its manifest."""
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    described = describe(path, buffer.getvalue(), facts)
    write(path, buffer.getvalue(), described)
    return described


def check_parity(network: nn.Module, data: bytes, described: Manifest) -> None:
    """Compares probabilities and logits of the network and its export.

    Raises:
        ModelError: they differ by more than ``TOLERANCE`` of the logits' range.
    """
    rng = np.random.default_rng(0)
    side = described.image_size
    images = rng.standard_normal((2, 3, side, side), np.float32)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(images)).numpy()
    exported = OnnxClassifier(
        data, described.labels, described.preprocessing, Resources(device="cpu")
    )
    difference = largest_difference(expected, exported.logits(images))
    if difference > TOLERANCE:
        raise ModelError(
            f"the exported network differs from its source by {difference:.1e}"
        )


def largest_difference(
    expected: NDArray[np.float32], found: NDArray[np.float32]
) -> float:
    """Returns the largest difference, relative to the largest value if above 1."""
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(expected - found).max()) / scale
