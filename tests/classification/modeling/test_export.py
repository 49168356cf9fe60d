"""Networks turned into files."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from classification.model_files import torch_files
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
from classification.runtime.errors import ModelError, StorageError
from tests import classifiers
from tests.commands import ROOT
from tests.disk import largest_file

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


@pytest.mark.parametrize("name", ["m.onnx", "m.pt"])
def test_the_name_says_what_is_written(tmp_path: Path, name: str) -> None:
    network = classifiers.tiny_network()
    described = export.export(network, tmp_path / name, FACTS)
    assert manifest.read(tmp_path / "m.manifest.json") == described
    assert described.parity is not None
    assert described.parity.largest_difference < 1e-6
    assert described.parity.images == 4
    assert described.parity.against == f"torch {torch.__version__}, float32, cpu"
    is_script = torch_files.is_torchscript(tmp_path / name)
    assert is_script == (name == "m.pt")
    classifier = loading.open_classifier(tmp_path / name, CPU)
    assert classifier.categories == classifiers.LABELS
    squares = _squares(5, classifiers.SIDE)
    expected = _expected(network, squares)
    np.testing.assert_allclose(classifier.predict(squares), expected, atol=1e-6)


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        export.export(classifiers.tiny_network(), tmp_path / folder / "m.onnx", FACTS)
    for file in ("m.onnx", "m.manifest.json"):
        first, second = (tmp_path / folder / file for folder in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()


class Unusual(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0(x).mean(dim=(2, 3))


def test_torchscript_that_would_not_be_let_in_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        export.export(Unusual(), tmp_path / "m.pt", FACTS)
    assert str(caught.value).startswith(
        "this network as TorchScript is refused for the operation torch."
    )
    assert str(caught.value).endswith("; export it as .onnx")
    assert not list(tmp_path.iterdir())


EXPORT = """
import sys
from classification.modeling import export
from tests import classifiers
data = export.to_torchscript(classifiers.tiny_network(), classifiers.SIDE)
sys.stdout.buffer.write(data)
"""


@pytest.mark.slow
def test_two_processes_write_the_same_torchscript() -> None:
    # Within a process torch numbers the classes of all that it traces.
    first, second = (
        subprocess.run(
            [sys.executable, "-c", EXPORT], cwd=ROOT, capture_output=True, check=True
        ).stdout
        for _ in range(2)
    )
    assert len(first) > 1000
    assert first == second
    assert b"debug_pkl" not in first


def test_state_dict(tmp_path: Path) -> None:
    facts = ModelFacts(architecture="resnet18", labels=("a", "b"), image_size=32)
    network = networks.build("resnet18", 2)
    export.export_state_dict(network, tmp_path / "m.pt", facts)
    classifier = loading.open_classifier(tmp_path / "m.pt", CPU)
    assert classifier.categories == ("a", "b")
    squares = _squares(3, 32)
    expected = _expected(network, squares)
    np.testing.assert_allclose(classifier.predict(squares), expected, atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, np.nan])
def test_a_difference_is_refused(factor: float) -> None:
    with pytest.raises(
        ModelError, match=r"^the exported network differs .* by (\d|nan)"
    ):
        export.check_parity(
            classifiers.tiny_network(),
            lambda images: images.mean(axis=(2, 3)) * np.float32(factor),
            classifiers.SIDE,
        )


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
    for file in ("m.onnx", "compiled.pt"):
        export.export(classifiers.lively(network, side), tmp_path / file, facts)


def test_no_room_for_the_export_is_one_line() -> None:
    network = classifiers.tiny_network()
    with largest_file(100), pytest.raises(StorageError, match=r"\(see TMPDIR\)$"):
        export.to_onnx(network, classifiers.SIDE)
