"""``detectors.load``: which engine reads which file."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from classification.runtime.errors import MissingExtraError, ModelError
from detection import detectors, models
from detection.detectors import Options
from tests.detection.detectors.graphs import constant_detector, frozen
from tests.detection.detectors.test_checkpoint import archive, names

if TYPE_CHECKING:
    from pathlib import Path

TRUSTED = Options(trust_model=True)


def refusal(path: Path, options: Options = Options()) -> str:  # noqa: B008 - frozen
    with pytest.raises(ModelError) as error:
        detectors.load(models.resolve(str(path)), options)
    return str(error.value)


def absent(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is not None, reason=f"{package} is installed"
    )


def test_an_onnx_file(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "D.ONNX", np.zeros((84, 6), dtype=np.float32))
    detector = detectors.load(models.resolve(str(path)))
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    assert detector.detect([detector.prepare(image)], threshold=0.1) == [()]


def test_a_file_of_no_engine(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"x")
    assert refusal(path) == (
        f"{path}: no engine reads .tflite; there are .onnx, .pt, .pth and .pb"
    )
    path = tmp_path / "model"
    path.write_bytes(b"x")
    assert refusal(path) == (
        f"{path}: no engine reads a file without an ending; there are .onnx, .pt, .pth and .pb"
    )


def test_d45_a_pickle_has_to_be_trusted(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", names(("models.yolo", "Model")))
    assert refusal(path) == (
        f"{path}: a YOLOv5 checkpoint, a pickle: loading it runs whatever code is in it. "
        "If you know where it comes from, give --trust-model; or export it to ONNX"
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_kinds_that_no_engine_reads(tmp_path: Path) -> None:
    script = tmp_path / "script.pt"
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), script)
    assert refusal(script, TRUSTED) == (
        f"{script}: a TorchScript archive, which no engine reads; export it to ONNX"
    )
    nine = archive(
        tmp_path / "nine.pt", names(("models.yolo", "M"), ("models.common", "CBLinear"))
    )
    assert refusal(nine, TRUSTED) == (
        f"{nine}: a YOLOv9 checkpoint, which no engine reads; export it to ONNX"
    )
    other = archive(tmp_path / "other.pt", names(("os", "system")))
    assert refusal(other, TRUSTED) == (
        f"{other}: a pickle of something else, which no engine reads; export it to ONNX"
    )


@absent("yolov5")
def test_the_yolov5_extra_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", names(("models.yolo", "Model")))
    with pytest.raises(MissingExtraError) as error:
        detectors.load(models.resolve(str(path)), TRUSTED)
    assert str(error.value) == (
        f"{path}: a YOLOv5 checkpoint, read by the package yolov5 (licence GPL-3.0; it "
        "installs ultralytics, AGPL-3.0), which needs an extra: "
        "pip install 'cameratraps-classifier[yolov5]'"
    )


@absent("ultralytics")
def test_the_ultralytics_extra_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", names(("ultralytics.nn.tasks", "Model")))
    with pytest.raises(MissingExtraError) as error:
        detectors.load(models.resolve(str(path)), TRUSTED)
    assert str(error.value) == (
        f"{path}: an ultralytics checkpoint, read by the package ultralytics (licence "
        "AGPL-3.0), which needs an extra: pip install 'cameratraps-classifier[ultralytics]'"
    )


@absent("tensorflow")
def test_the_tensorflow_extra_is_named(tmp_path: Path) -> None:
    path = tmp_path / "md_v4.1.0.pb"
    path.write_bytes(frozen("Const"))
    with pytest.raises(MissingExtraError) as error:
        detectors.load(models.resolve(str(path)))
    assert str(error.value) == (
        f"{path}: a TensorFlow graph (licence of TensorFlow: Apache-2.0) needs an extra: "
        "pip install 'cameratraps-classifier[tensorflow]'"
    )


def test_only_checkpoints_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": {"w": torch.zeros(1)}}, path)
    with pytest.raises(ModelError) as error:
        detectors.convert(models.resolve(str(path)), tmp_path / "m.onnx", TRUSTED)
    assert str(error.value) == (
        f"{path}: a checkpoint of plain tensors, which no engine reads; export it to ONNX"
    )
    assert not (tmp_path / "m.onnx").exists()
