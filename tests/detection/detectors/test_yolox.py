from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch

from classification.runtime.errors import ModelError
from detection.detectors import manifest, yolox
from detection.detectors.heads import Head
from tests.detection.detectors.yolox_reference import YoloxTiny, random_network

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def network() -> YoloxTiny:
    return random_network()


@pytest.fixture
def checkpoint(network: YoloxTiny, tmp_path: Path) -> Path:
    path = tmp_path / "net.pth"
    torch.save({"start_epoch": 3, "model": network.state_dict(), "optimizer": {}}, path)
    return path


def convert(checkpoint: Path, target: Path) -> Path:
    yolox.convert(checkpoint, target, categories={"1": "animal"}, image_size_px=640)
    return target


def test_the_graph_is_the_network(
    network: YoloxTiny, checkpoint: Path, tmp_path: Path
) -> None:
    path = convert(checkpoint, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = np.random.default_rng(5).uniform(0, 255, (2, 3, 96, 64)).astype(np.float32)
    (found,) = session.run(None, {"images": frames})
    with torch.inference_mode():
        expected = network(torch.from_numpy(frames)).numpy()
    assert found.shape == (2, 96 * 64 // 64 + 96 * 64 // 256 + 96 * 64 // 1024, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_file_says_what_it_is(checkpoint: Path, tmp_path: Path) -> None:
    path = convert(checkpoint, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    told = manifest.read(session.get_modelmeta().custom_metadata_map)
    assert told == manifest.Manifest(
        head=Head.YOLOX_RAW,
        categories={"1": "animal"},
        image_size_px=640,
        stride_px=32,
        channels="RGB",
        fill=0,
    )


def test_the_same_weights_give_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    one = convert(checkpoint, tmp_path / "one.onnx")
    other = convert(checkpoint, tmp_path / "other.onnx")
    assert one.read_bytes() == other.read_bytes()


def refusal(weights: dict[str, torch.Tensor], tmp_path: Path) -> str:
    path = tmp_path / "net.pth"
    torch.save({"model": weights}, path)
    with pytest.raises(ModelError) as error:
        convert(path, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
    return str(error.value).removeprefix(f"{path}: ")


def test_a_weight_that_is_missing(network: YoloxTiny, tmp_path: Path) -> None:
    weights = network.state_dict()
    del weights["head.reg_preds.1.bias"]
    assert refusal(weights, tmp_path) == (
        "the weights are not YOLOX-tiny's: there is no head.reg_preds.1.bias"
    )


def test_a_weight_without_a_place(network: YoloxTiny, tmp_path: Path) -> None:
    weights = {**network.state_dict(), "head.extra": torch.zeros(1)}
    assert refusal(weights, tmp_path) == (
        "the weights are not YOLOX-tiny's: head.extra has no place"
    )


def test_weights_of_another_shape(network: YoloxTiny, tmp_path: Path) -> None:
    key = "head.stems.0.conv.weight"
    weights = {**network.state_dict(), key: torch.zeros(96, 95, 1, 1)}
    assert refusal(weights, tmp_path) == (
        "the weights are not YOLOX-tiny's: their shapes do not fit together"
    )


def test_another_number_of_classes(tmp_path: Path) -> None:
    assert refusal(random_network(3).state_dict(), tmp_path) == (
        "the weights are for 3 classes, not for 1"
    )


def test_a_checkpoint_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"epoch": 1}, path)
    with pytest.raises(ModelError) as error:
        yolox.read_weights(path)
    assert str(error.value) == (
        f"{path}: a YOLOX checkpoint holds its weights under 'model'"
    )


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


def test_d45_weights_are_read_without_running_code(tmp_path: Path) -> None:
    path, written = tmp_path / "net.pth", tmp_path / "written"
    torch.save({"model": {"x": Trap(written)}}, path)
    with pytest.raises(ModelError) as error:
        yolox.read_weights(path)
    assert str(error.value) == (
        f"{path}: not a checkpoint of plain tensors: {open.__module__}.open, which is no data"
    )
    assert not written.exists()
