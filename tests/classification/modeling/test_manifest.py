"""The manifest beside an exported model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from classification.artifacts import _json
from classification.modeling import catalog, manifest
from classification.modeling.manifest import (
    Calibration,
    LabelCalibration,
    Manifest,
    Parity,
    Threshold,
    Weights,
)
from classification.modeling.scaling import Temperature, Vector
from classification.runtime.errors import ArtifactError, ModelError
from tests import classifiers

if TYPE_CHECKING:
    from pathlib import Path

CALIBRATION = Calibration(
    scaling=Temperature(temperature=1.41),
    outputs_sha256="7" * 64,
    crops=900,
    loss_before=0.61,
    loss_after=0.55,
    ece_before=0.093,
    ece_after=0.021,
    wanted_precision=0.95,
    labels=(
        LabelCalibration(
            label="bear",
            crops=300,
            ece_before=0.11,
            ece_after=0.03,
            threshold=Threshold(
                probability=0.71, crops=220, precision=0.9545, low=0.9182, high=0.978
            ),
        ),
        LabelCalibration(
            label="deer", crops=0, ece_before=None, ece_after=None, threshold=None
        ),
    ),
)
DESCRIBED = Manifest(
    architecture="efficientnet-b3",
    weights=Weights(file="deer.onnx", sha256="0" * 64),
    labels=("bear", "deer"),
    image_size=300,
    normalisation=catalog.IMAGENET,
    padding="symmetric",
    parity=Parity(against="torch", images=8, largest_difference=3.1e-7),
    calibration=CALIBRATION,
    provenance={"source": "a test"},
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deer.manifest.json"
    manifest.write(path, DESCRIBED)
    assert manifest.read(path) == DESCRIBED
    first = path.read_bytes()
    manifest.write(path, manifest.read(path))
    assert path.read_bytes() == first
    assert list(_json.read_object(path)) == [
        *("format", "architecture", "weights", "labels", "image_size", "resize"),
        *("interpolation", "normalisation", "padding", "parity", "calibration"),
        "provenance",
    ]


def test_vector_scaling_round_trips(tmp_path: Path) -> None:
    vector = Vector(weights=(1.0, 0.5), biases=(0.0, -1.25))
    calibration = msgspec.structs.replace(CALIBRATION, scaling=vector)
    described = msgspec.structs.replace(DESCRIBED, calibration=calibration)
    path = tmp_path / "deer.manifest.json"
    manifest.write(path, described)
    assert manifest.read(path) == described


def test_a_manifest_that_knows_of_no_parity(tmp_path: Path) -> None:
    document = manifest.to_dict(DESCRIBED)
    del document["parity"], document["calibration"]
    path = tmp_path / "deer.manifest.json"
    _json.write_object(path, document)
    assert (manifest.read(path).parity, manifest.read(path).calibration) == (None, None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("crops", -1, "calibration.crops: Expected `int` >= 0"),
        ("ece_after", 1.5, "calibration.ece_after: Expected `float` <= 1.0"),
        ("labels", [], "calibration.labels: the labels of the model, in their order"),
        (
            "scaling",
            {"method": "temperature", "temperature": 0},
            "calibration.scaling.temperature: Expected `float` >= 0.001",
        ),
        (
            "scaling",
            {"method": "vector", "weights": [1.0], "biases": [0.0]},
            "calibration.scaling: a weight and a bias for each label expected",
        ),
        (
            "scaling",
            {"method": "magic"},
            "calibration.scaling.method: Invalid value 'magic'",
        ),
    ],
)
def test_a_malformed_calibration(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    document = manifest.to_dict(DESCRIBED)
    document["calibration"][key] = value
    path = tmp_path / "deer.manifest.json"
    _json.write_object(path, document)
    with pytest.raises(ArtifactError) as caught:
        manifest.read(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_preprocessing() -> None:
    assert DESCRIBED.preprocessing.image_size == 300
    assert DESCRIBED.preprocessing.normalisation == catalog.IMAGENET


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": "300"}, "image_size: Expected `int`, got `str`"),
        ({"image_size": 0}, "image_size: Expected `int` >= 8"),
        ({"labels": ["a", "a"]}, "labels[1]: the label 'a' stands twice"),
        ({"labels": []}, "labels: at least one label expected"),
        ({"labels": ["a", 1]}, "labels[1]: Expected `str`, got `int`"),
        ({"extra": 1}, "Object contains unknown field `extra`"),
        ({"format": "x"}, "format: Invalid enum value 'x'"),
        ({"resize": "squash"}, "resize: Invalid enum value 'squash'"),
        ({"padding": "no"}, "padding: Invalid enum value 'no'"),
        (
            {"weights": {"file": "../x.onnx", "sha256": "0" * 64}},
            (
                "weights.file: '../x.onnx' is not the name of a file beside it that "
                "ends in .onnx or .pt"
            ),
        ),
        (
            {"weights": {"file": "x.onnx", "sha256": "0"}},
            "weights.sha256: Expected `str` matching regex '^[0-9a-f]{64}$'",
        ),
        (
            {"normalisation": {"divisor": 255.0, "mean": [0, 0, 0], "std": [1, 0, 1]}},
            "normalisation: divisor and std above 0 expected",
        ),
    ],
)
def test_malformed(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "deer.manifest.json"
    _json.write_object(path, {**manifest.to_dict(DESCRIBED), **change})
    with pytest.raises(ArtifactError) as caught:
        manifest.read(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_missing_key(tmp_path: Path) -> None:
    document = manifest.to_dict(DESCRIBED)
    del document["labels"]
    path = tmp_path / "deer.manifest.json"
    _json.write_object(path, document)
    with pytest.raises(ArtifactError, match=r"missing required field `labels`$"):
        manifest.read(path)


def test_weights_are_compared(tmp_path: Path) -> None:
    path = classifiers.save_exported(tmp_path / "m.onnx")
    described = manifest.read(manifest.path_beside(path))
    assert manifest.read_weights(described, path) == path.read_bytes()
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelError) as caught:
        manifest.read_weights(described, path)
    assert str(caught.value) == (
        f"{path}: SHA-256 differs from what m.manifest.json says: damaged, or of "
        "another model; export or fetch the two again"
    )
    path.unlink()
    with pytest.raises(ArtifactError, match="cannot read: No such file"):
        manifest.read_weights(described, path)
