"""Networks turned into files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from classification.modeling import (
    catalog,
    export,
    loading,
    manifest,
    networks,
    preprocessing,
)
from classification.modeling.export import ModelFacts
from classification.modeling.inference import Resources, softmax
from classification.runtime.errors import ModelError
from tests import classifiers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.modeling.catalog import Padding

CPU = Resources(device="cpu", threads=1)
FACTS = ModelFacts(
    architecture="resnet18",
    labels=classifiers.LABELS,
    image_size=classifiers.SIDE,
    provenance={"source": "a test"},
)


def _squares(number: int, side: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (number, side, side, 3), np.uint8)


def _expected(
    network: torch.nn.Module, squares: NDArray[np.uint8]
) -> NDArray[np.float32]:
    images = preprocessing.normalise(squares, catalog.IMAGENET)
    with torch.inference_mode():
        return softmax(network(torch.from_numpy(images)).numpy())


def test_onnx_of_any_batch_gives_the_same(tmp_path: Path) -> None:
    network = classifiers.tiny_network()
    described = export.export_onnx(network, tmp_path / "m.onnx", FACTS)
    assert manifest.read(tmp_path / "m.manifest.json") == described
    assert described.provenance == {"source": "a test"}
    classifier = loading.open_classifier(tmp_path / "m.onnx", CPU)
    for number in (1, 5):
        squares = _squares(number, classifiers.SIDE)
        expected = _expected(network, squares)
        np.testing.assert_allclose(classifier.predict(squares), expected, atol=1e-6)


def test_state_dict(tmp_path: Path) -> None:
    facts = ModelFacts(architecture="resnet18", labels=("a", "b"), image_size=32)
    network = networks.build("resnet18", 2)
    export.export_state_dict(network, tmp_path / "m.pt", facts)
    classifier = loading.open_classifier(tmp_path / "m.pt", CPU)
    assert classifier.categories == ("a", "b")
    squares = _squares(3, 32)
    expected = _expected(network, squares)
    np.testing.assert_allclose(classifier.predict(squares), expected, atol=1e-6)


def test_a_difference_is_refused(tmp_path: Path) -> None:
    described = export.describe(
        tmp_path / "m.onnx", data := classifiers.tiny_onnx(), FACTS
    )
    with pytest.raises(ModelError, match=r"^the exported network differs .* by \d"):
        export.check_parity(classifiers.tiny_network(), data, described)


def test_largest_difference_is_relative_above_one() -> None:
    one = np.array([[0.5, 100.0]], np.float32)
    assert export.largest_difference(one, one + np.float32(0.25)) == 0.0025
    small = np.array([[0.5]], np.float32)
    assert export.largest_difference(small, small + np.float32(0.25)) == 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "padding"),
    [
        ("efficientnet-b0", "tf"),
        ("efficientnet-b0", "symmetric"),
        ("efficientnet-b3", "tf"),
        ("efficientnet-lite0", "tf"),
        ("resnet50", "tf"),
    ],
)
def test_real_architectures(tmp_path: Path, name: str, padding: Padding) -> None:
    side = catalog.find(name).image_size
    network = networks.build(name, 7, padding=padding)
    facts = ModelFacts(
        architecture=name, labels=[f"label {n}" for n in range(7)], padding=padding
    )
    export.export_onnx(classifiers.lively(network, side), tmp_path / "m.onnx", facts)
