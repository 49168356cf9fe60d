"""The manifest beside an exported model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import _json
from classification.modeling import catalog, manifest
from classification.modeling.manifest import Manifest, Weights
from classification.runtime.errors import ArtifactError, ModelError
from tests import classifiers

if TYPE_CHECKING:
    from pathlib import Path

DESCRIBED = Manifest(
    architecture="efficientnet-b3",
    weights=Weights(file="deer.onnx", sha256="0" * 64),
    labels=("bear", "deer"),
    image_size=300,
    normalisation=catalog.IMAGENET,
    padding="symmetric",
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
        *("interpolation", "normalisation", "padding", "calibration", "provenance"),
    ]


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
