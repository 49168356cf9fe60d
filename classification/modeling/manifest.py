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
     "parity": {"against": "torch 2.9.0, float32, cpu", "images": 4, "largest_difference": 3.1e-07},
     "calibration": {
      "scaling": {"method": "temperature", "temperature": 1.41},
      "outputs_sha256": "77e0…9a",
      "crops": 900,
      "loss_before": 0.61,
      "loss_after": 0.55,
      "ece_before": 0.093,
      "ece_after": 0.021,
      "wanted_precision": 0.95,
      "labels": [
       {"label": "bear", "crops": 300, "ece_before": 0.11, "ece_after": 0.03,
        "threshold": {"probability": 0.71, "crops": 220, "precision": 0.9545, "low": 0.9182, "high": 0.978}},
       {"label": "deer", "crops": 0, "ece_before": null, "ece_after": null, "threshold": null}
      ]
     },
     "provenance": {"checkpoint": "ckpt_14.pt", "version": "0.1.0"}
    }

The weights file stands beside the manifest and has its stem: ``deer.onnx`` and
``deer.manifest.json``. Labels are in the order of the network's outputs. A weights file
whose SHA-256 differs is refused. ``parity`` is the largest difference between logits of
the file and of the network it was made from, divided by the largest logit where that is
above 1; null where nothing was compared.

``calibration``, of ``calibrate_classifier``, is what ``run_classifier`` does to the logits
(see ``modeling.scaling``), null for nothing. Errors (``ece``, expected calibration error)
are in [0, 1]; those after it are of crops that the scaling was not fitted to. A label's
are over the crops whose most probable label it is; so is its threshold, the least
probability at which the wanted share of them is right, with the 95 % Clopper-Pearson
interval of that share; null where no threshold reaches it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from classification.artifacts import _json
from classification.artifacts.predictions_info import Applied
from classification.modeling.catalog import Normalisation, Padding
from classification.modeling.preprocessing import Preprocessing
from classification.modeling.scaling import Temperature, Vector
from classification.runtime.errors import ArtifactError, ModelError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIX = ".manifest.json"
SUFFIXES = (".onnx", ".pt")

LEAST_SIDE, MOST_SIDE = 8, 4096  # of the input, in pixels

_Side = Annotated[int, msgspec.Meta(ge=LEAST_SIDE, le=MOST_SIDE)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Error = Annotated[float, msgspec.Meta(ge=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The weights file.

    Attributes:
        file: its name, without a folder; ends in ``.onnx`` or ``.pt``.
        sha256: its SHA-256 as hex digits.
    """

    file: str
    sha256: _Sha256


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an exported network was compared with its source.

    Attributes:
        against: what computed the source, with its version.
        images: number of images, of random pixels.
        largest_difference: of two logits, relative to the largest logit if above 1.
    """

    against: str
    images: _Count
    largest_difference: _Error


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The least probability at which a label is right as often as wanted.

    Attributes:
        probability: calibrated.
        crops: number of crops that had at least this.
        precision: share of them that are of the label.
        low: lower bound of that share, 95 % Clopper-Pearson.
        high: upper bound.
    """

    probability: _Share
    crops: _Count
    precision: _Share
    low: _Share
    high: _Share


class LabelCalibration(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """What calibration does for a label, over crops whose most probable label it is.

    Attributes:
        label: its name.
        crops: number of such crops, before calibration.
        ece_before: expected calibration error; None where there is no crop.
        ece_after: likewise, after.
        threshold: for the wanted precision, or None where none reaches it.
    """

    label: str
    crops: _Count
    ece_before: _Share | None
    ece_after: _Share | None
    threshold: Threshold | None


class Calibration(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """How probabilities are calibrated, and what that was fitted to.

    Attributes:
        scaling: what is done to the logits.
        outputs_sha256: SHA-256 of the evaluation output it was fitted to.
        crops: number of crops of that file.
        loss_before: mean cross-entropy, in nats.
        loss_after: likewise, each crop by a fit to others.
        ece_before: expected calibration error.
        ece_after: likewise, each crop by a fit to others.
        wanted_precision: what the thresholds are for.
        labels: one for each label, in order.
    """

    scaling: Temperature | Vector
    outputs_sha256: _Sha256
    crops: _Count
    loss_before: _Error
    loss_after: _Error
    ece_before: _Share
    ece_after: _Share
    wanted_precision: _Share
    labels: tuple[LabelCalibration, ...]


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
        parity: how it was compared with its source, or None.
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
    parity: Parity | None = None
    calibration: Calibration | None = None
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
    manifest = _json.to_struct(document, Manifest)
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
    if manifest.calibration is not None:
        _check_calibration(manifest.calibration, manifest.labels)


def _check_calibration(calibration: Calibration, labels: tuple[str, ...]) -> None:
    if tuple(one.label for one in calibration.labels) != labels:
        raise ArtifactError(
            "the labels of the model, in their order, expected",
            where="calibration.labels",
        )
    scaling = calibration.scaling
    if isinstance(scaling, Vector) and not (
        len(scaling.weights) == len(scaling.biases) == len(labels)
    ):
        raise ArtifactError(
            "a weight and a bias for each label expected", where="calibration.scaling"
        )


def applied(calibration: Calibration | None) -> Applied | None:
    """Returns what is told of a calibration beside the probabilities it was used for."""
    if calibration is None:
        return None
    scaling = calibration.scaling
    one = scaling.temperature if isinstance(scaling, Temperature) else None
    return Applied(
        method="vector" if one is None else "temperature",
        temperature=one,
        crops=calibration.crops,
        ece_before=calibration.ece_before,
        ece_after=calibration.ece_after,
    )


def to_dict(manifest: Manifest) -> dict[str, Any]:
    """Returns the document to write, keys in the order of the example."""
    order = (
        *("format", "architecture", "weights", "labels", "image_size", "resize"),
        *("interpolation", "normalisation", "padding", "parity", "calibration"),
        "provenance",
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
