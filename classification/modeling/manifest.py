"""``<model>.manifest.json``: what an exported model is, beside its weights file.

Written by the export of a classifier; read by everything that runs one::

    {
     "format": "cameratraps-classifier 1",
     "architecture": "efficientnet-b3",
     "weights": {"file": "deer.onnx", "sha256": "5f0c…e1"},
     "labels": ["bear", "deer"],
     "image_size": 300,
     "resize": "shorter-side-then-centre-crop",
     "interpolation": "bicubic",
     "normalisation": {"divisor": 255.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
     "padding": "tf",
     "calibration": null,
     "provenance": {"source": "train_classifier run 20261122_204715"}
    }

The weights file stands beside the manifest and has its stem: ``deer.onnx`` and
``deer.manifest.json``. Labels are in the order of the network's outputs. A weights file
whose SHA-256 differs is refused. ``calibration`` is kept as it is.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from classification.artifacts import _json
from classification.modeling.catalog import Normalisation, Padding
from classification.modeling.preprocessing import Preprocessing
from classification.runtime.errors import ArtifactError, ModelError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIX = ".manifest.json"
SUFFIXES = (".onnx", ".pt")

_Side = Annotated[int, msgspec.Meta(ge=8, le=4096)]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The weights file.

    Attributes:
        file: its name, without a folder; ends in ``.onnx`` or ``.pt``.
        sha256: its SHA-256 as hex digits.
    """

    file: str
    sha256: _Sha256


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An exported model.

    Attributes:
        architecture: its name in the catalog.
        weights: the file beside the manifest.
        labels: one for each output of the network, in order.
        image_size: side of the square input, in pixels.
        normalisation: of the input.
        padding: of an EfficientNet's convolutions.
        provenance: where the model comes from, as text by name.
        calibration: of its probabilities, or None.
        format: this format and its version.
        resize: how an image becomes a square.
        interpolation: of the resize.
    """

    architecture: str
    weights: Weights
    labels: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...]
    image_size: _Side
    normalisation: Normalisation
    padding: Padding
    provenance: dict[str, str] = {}
    calibration: dict[str, Any] | None = None
    format: Literal["cameratraps-classifier 1"] = "cameratraps-classifier 1"
    resize: Literal["shorter-side-then-centre-crop"] = "shorter-side-then-centre-crop"
    interpolation: Literal["bicubic"] = "bicubic"

    @property
    def preprocessing(self) -> Preprocessing:
        """Returns what an image goes through before this model."""
        return Preprocessing(
            image_size=self.image_size, normalisation=self.normalisation
        )


def path_beside(weights: Path) -> Path:
    """Returns where the manifest of a weights file is."""
    return weights.with_name(weights.stem + SUFFIX)


def from_dict(document: Mapping[str, Any]) -> Manifest:
    """Checks the document and returns what it says.

    Raises:
        ArtifactError: a key is missing, unknown or of the wrong type, a label stands
            twice, or the weights' name leads elsewhere; with the address.
    """
    try:
        manifest = msgspec.convert(dict(document), Manifest)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        raise ArtifactError(message, where=where.removesuffix("`")) from error
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    name = manifest.weights.file
    if "/" in name or "\\" in name or not name.endswith(SUFFIXES):
        raise ArtifactError(
            f"{name!r} is not the name of a file beside it that ends in .onnx or .pt",
            where="weights.file",
        )
    if not manifest.labels:
        raise ArtifactError("at least one label expected", where="labels")
    seen: set[str] = set()
    for index, label in enumerate(manifest.labels):
        if label in seen:
            raise ArtifactError(
                f"the label {label!r} stands twice", where=f"labels[{index}]"
            )
        seen.add(label)
    scale = manifest.normalisation
    if not (scale.divisor > 0 and min(scale.std) > 0):
        raise ArtifactError("divisor and std above 0 expected", where="normalisation")


def to_dict(manifest: Manifest) -> dict[str, Any]:
    """Returns the document to write, keys in the order of the example."""
    order = (
        *("format", "architecture", "weights", "labels", "image_size", "resize"),
        *("interpolation", "normalisation", "padding", "calibration", "provenance"),
    )
    document = msgspec.to_builtins(manifest)
    return {key: document[key] for key in order}


def read(path: Path) -> Manifest:
    """Reads and checks a manifest."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def write(path: Path, manifest: Manifest) -> None:
    """Writes a manifest whole or not at all."""
    _json.write_object(path, to_dict(manifest))


def read_weights(manifest: Manifest, path: Path) -> bytes:
    """Returns the bytes of the weights file once they are known to be the right ones.

    Raises:
        ModelError: the file is not the one the manifest was written for.
        ArtifactError: it is missing or cannot be read.
    """
    with in_file(path):
        data = _json.read_bytes(path)
    if hashlib.sha256(data).hexdigest() != manifest.weights.sha256:
        raise ModelError(
            f"{path}: SHA-256 differs from what {path_beside(path).name} says: damaged, "
            "or of another model; export or fetch the two again"
        )
    return data
