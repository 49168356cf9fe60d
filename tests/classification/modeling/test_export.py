"""Networks turned into files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from classification.modeling import export, loading, manifest, networks
from classification.modeling.export import ModelFacts
from classification.modeling.inference import Resources, softmax
from classification.runtime.errors import ModelError
from tests import classifiers

if TYPE_CHECKING:
    from pathlib import Path

CPU = Resources(device="cpu", threads=1)
FACTS = ModelFacts(
    architecture="resnet18",
    labels=classifiers.LABELS,
    image_size=classifiers.SIDE,
    provenance={"source": "a test"},
)


def _images(
    number: int, side: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((number, 3, side, side), np.float32)


def test_onnx_of_any_batch_gives_the_same(tmp_path: Path) -> None:
    network = classifiers.tiny_network()
    described = export.export_onnx(network, tmp_path / "m.onnx", FACTS)
    assert manifest.read(tmp_path / "m.manifest.json") == described
    assert described.provenance == {"source": "a test"}
    classifier = loading.open_classifier(tmp_path / "m.onnx", CPU)
    for number in (1, 5):
        images = _images(number, classifiers.SIDE)
        with torch.inference_mode():
            expected = softmax(network(torch.from_numpy(images)).numpy())
        np.testing.assert_allclose(classifier.predict(images), expected, atol=1e-6)


def test_state_dict(tmp_path: Path) -> None:
    facts = ModelFacts(architecture="resnet18", labels=("a", "b"), image_size=32)
    network = networks.build("resnet18", 2)
    export.export_state_dict(network, tmp_path / "m.pt", facts)
    classifier = loading.open_classifier(tmp_path / "m.pt", CPU)
    assert classifier.categories == ("a", "b")
    images = _images(3, 32)
    with torch.inference_mode():
        expected = softmax(network(torch.from_numpy(images)).numpy())
    np.testing.assert_allclose(classifier.predict(images), expected, atol=1e-6)


def test_a_difference_is_refused() -> None:
    described = export.describe(
        manifest_path := _nowhere(), data := classifiers.tiny_onnx(), FACTS
    )
    assert described.weights.file == manifest_path.name
    with pytest.raises(ModelError, match=r"^the exported network differs .* by \d"):
        export.check_parity(classifiers.tiny_network(), data, described)


def _nowhere() -> Path:
    from pathlib import Path  # noqa: PLC0415 - the annotation alone needs it elsewhere

    return Path("m.onnx")


def test_largest_difference_is_relative_above_one() -> None:
    one = np.array([[0.5, 100.0]], np.float32)
    assert export.largest_difference(one, one + np.float32(0.25)) == 0.0025
    small = np.array([[0.5]], np.float32)
    assert export.largest_difference(small, small + np.float32(0.25)) == 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["efficientnet-b0", "efficientnet-b3", "efficientnet-lite0", "resnet50"]
)
@pytest.mark.parametrize("padding", ["tf", "symmetric"])
def test_real_architectures(tmp_path: Path, name: str, padding: str) -> None:
    if padding == "symmetric" and not name.startswith("efficientnet-b"):
        pytest.skip("only EfficientNets have the choice")
    network = networks.build(name, 7, padding="symmetric" if padding != "tf" else "tf")
    facts = ModelFacts(
        architecture=name,
        labels=[f"label {n}" for n in range(7)],
        padding="symmetric" if padding != "tf" else "tf",
    )
    export.export_onnx(network, tmp_path / "m.onnx", facts)
