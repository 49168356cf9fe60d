from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx import load as load_model

from classification.runtime.errors import ModelError
from detection.boxes import Box
from detection.detectors import Options, onnx
from detection.detectors.heads import Head
from detection.models import MODELS, ModelFile, find
from detection.records import Detection
from tests.detection.detectors.graphs import (
    brightness_detector,
    constant_detector,
    save,
)

if TYPE_CHECKING:
    from pathlib import Path

    from detection.detectors.network import NetworkDetector

GREY = np.full((64, 64, 3), 100, dtype=np.uint8)


def load(path: Path, **options: object) -> NetworkDetector:
    return onnx.load(
        ModelFile(path=path, name=path.name),
        Options(**options),  # type: ignore[arg-type]  # one value each, of any field
    )


def see(detector: NetworkDetector, image: np.ndarray = GREY) -> tuple[Detection, ...]:
    (found,) = detector.detect([detector.prepare(image)], threshold=0.3)
    return found


def test_yolov5_is_told_by_its_shape(tmp_path: Path) -> None:
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (32, 32, 16, 16, 0.8, 0, 1, 0)
    output[1] = (33, 32, 16, 16, 0.7, 0, 1, 0)  # the same thing
    detector = load(constant_detector(tmp_path / "d.onnx", output))
    assert detector.head is Head.YOLOV5
    assert detector.categories == {"1": "animal", "2": "person", "3": "vehicle"}
    assert see(detector) == (Detection("2", Box(0.375, 0.375, 0.25, 0.25), 0.8),)


def test_boxes_are_those_of_the_image_not_of_the_frame(tmp_path: Path) -> None:
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (32, 32, 64, 16, 0.8, 1, 0, 0)
    detector = load(constant_detector(tmp_path / "d.onnx", output))
    # 128 x 64: drawn 64 x 32, from row 16 of the frame on
    wide = np.zeros((64, 128, 3), dtype=np.uint8)
    assert see(detector, wide) == (Detection("1", Box(0, 0.25, 1, 0.5), 0.8),)


def test_yolov8_takes_its_names_from_ultralytics(tmp_path: Path) -> None:
    output = np.zeros((6, 84), dtype=np.float32)
    output[:, 5] = (32, 32, 16, 16, 0.1, 0.9)
    path = constant_detector(
        tmp_path / "d.onnx", output, properties={"names": "{0: 'fox', 1: 'hen'}"}
    )
    detector = load(path)
    assert detector.head is Head.YOLOV8
    assert detector.categories == {"1": "fox", "2": "hen"}
    assert [found.category for found in see(detector)] == ["2"]


def test_end_to_end_boxes_are_final(tmp_path: Path) -> None:
    output = np.zeros((20, 6), dtype=np.float32)
    output[0] = (16, 16, 48, 48, 0.5, 0)
    output[1] = (16, 16, 48, 48, 0.9, 2)
    output[2] = (16, 16, 48, 48, 0.8, 0)
    detector = load(constant_detector(tmp_path / "d.onnx", output))
    assert detector.head is Head.END_TO_END
    found = see(detector)
    assert [(one.category, one.conf) for one in found] == [
        ("3", 0.9),
        ("1", 0.8),
        ("1", 0.5),
    ]


def test_yolox_before_and_after_the_grid(tmp_path: Path) -> None:
    raw = np.zeros((84, 6), dtype=np.float32)
    raw[9] = (0.5, 0.5, 0, 0, 0.9, 1)
    decoded = np.full((84, 6), 40, dtype=np.float32)
    decoded[:, 4:] = 0
    decoded[9] = (12, 12, 8, 8, 0.9, 1)
    first = load(constant_detector(tmp_path / "raw.onnx", raw))
    second = load(constant_detector(tmp_path / "decoded.onnx", decoded))
    assert (first.head, second.head) == (Head.YOLOX_RAW, Head.YOLOX)
    assert (
        see(first)
        == see(second)
        == (Detection("1", Box(0.125, 0.125, 0.125, 0.125), 0.9),)
    )


def test_the_file_or_the_user_may_name_the_layout(tmp_path: Path) -> None:
    output = np.zeros((300, 7), dtype=np.float32)
    output[0] = (32, 32, 16, 16, 0.9, 1, 0)
    path = constant_detector(tmp_path / "d.onnx", output)
    with pytest.raises(ModelError) as error:
        load(path)
    assert str(error.value) == (
        f"{path}: the layout of its output [1, 300, 7] cannot be told; give --head"
    )
    assert len(see(load(path, head="yolov5"))) == 1
    told = constant_detector(
        tmp_path / "e.onnx", output, properties={"cameratraps.head": "yolov5"}
    )
    assert len(see(load(told))) == 1


def test_a_layout_that_does_not_fit(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "d.onnx", np.zeros((252, 4), dtype=np.float32))
    with pytest.raises(ModelError) as error:
        load(path, head="yolov5")
    assert str(error.value) == (
        f"{path}: its output [1, 252, 4] is not laid out as yolov5"
    )


def test_names_and_classes_have_to_agree(tmp_path: Path) -> None:
    path = constant_detector(
        tmp_path / "d.onnx",
        np.zeros((252, 8), dtype=np.float32),
        properties={"cameratraps.categories": '{"1": "animal"}'},
    )
    with pytest.raises(ModelError) as error:
        load(path)
    assert str(error.value) == f"{path}: the model has 3 classes, but 1 are named"


def test_half_precision(tmp_path: Path) -> None:
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (32, 32, 16, 16, 0.5, 1, 0, 0)
    path = constant_detector(tmp_path / "d.onnx", output, dtype=TensorProto.FLOAT16)
    assert see(load(path)) == (Detection("1", Box(0.375, 0.375, 0.25, 0.25), 0.5),)


def test_an_image_of_any_size_gets_the_smallest_frame(tmp_path: Path) -> None:
    detector = load(brightness_detector(tmp_path / "d.onnx"))
    prepared = detector.prepare(np.full((100, 300, 3), 255, dtype=np.uint8))
    assert prepared.pixels.shape == (3, 32, 64)
    (found,) = detector.detect([prepared], threshold=0.1)
    assert found[0].category == "1"


def test_an_image_does_not_change_with_its_neighbours(tmp_path: Path) -> None:
    detector = load(brightness_detector(tmp_path / "d.onnx"))
    rng = np.random.default_rng(1)
    batch = [
        detector.prepare(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        for size in ((64, 64), (40, 64), (64, 40))
    ]
    together = detector.detect(batch, threshold=0.001)
    alone = [detector.detect([one], threshold=0.001)[0] for one in batch]
    assert together == alone


def test_the_size_of_a_flexible_model_can_be_chosen(tmp_path: Path) -> None:
    path = brightness_detector(tmp_path / "d.onnx")
    assert load(path, image_size_px=128).prepare(GREY).pixels.shape == (3, 128, 128)


def test_the_size_of_a_fixed_model_cannot(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "d.onnx", np.zeros((252, 8), dtype=np.float32))
    with pytest.raises(ModelError) as error:
        load(path, image_size_px=128)
    assert str(error.value) == (
        f"{path}: its input is 64 x 64 px for good; image size 128 needs another export"
    )
    assert load(path, image_size_px=64).letterbox.width_px == 64


def test_a_flexible_model_that_does_not_say_its_size(tmp_path: Path) -> None:
    output = np.zeros((20, 6), dtype=np.float32)
    path = constant_detector(tmp_path / "d.onnx", output, shape=("n", 3, "h", "w"))
    with pytest.raises(ModelError) as error:
        load(path)
    assert str(error.value) == (
        f"{path}: it takes images of any size and does not say which is best; give --image-size"
    )
    known = find("MDV5A")
    model = ModelFile(path=path, name="md_v5a.0.0.pt", known=known)
    assert onnx.load(model, Options()).letterbox.width_px == 1280


def test_a_converted_model_of_the_table_has_its_categories(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "d.onnx", np.zeros((84, 6), dtype=np.float32))
    model = ModelFile(path=path, name="lite", known=MODELS[0])
    assert onnx.load(model, Options()).categories == {"1": "animal"}


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "d.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"d\.onnx: not an ONNX model, or damaged \("):
        load(path)


def test_a_truncated_model(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "d.onnx", np.zeros((252, 8), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelError, match="not an ONNX model, or damaged"):
        load(path)


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (1, 3, 64), (1, 1, 64, 64)])
def test_a_model_that_takes_something_else(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = constant_detector(
        tmp_path / "d.onnx", np.zeros((252, 8), dtype=np.float32), shape=shape
    )
    with pytest.raises(ModelError) as error:
        load(path)
    assert str(error.value) == (
        f"{path}: its input is not one float image [N, 3, height, width]; "
        "detectors whose graph takes something else are not read"
    )


def test_a_model_that_gives_something_else(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["images"], ["output"], axes=[2, 3])],
        "features",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, 1, 1])],
    )
    path = save(tmp_path / "d.onnx", graph)
    with pytest.raises(ModelError) as error:
        load(path)
    assert str(error.value) == f"{path}: its output [1, 3, 1, 1] is not that of a YOLO"


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="onnxruntime offers CUDA here",
)
def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "d.onnx", np.zeros((252, 8), dtype=np.float32))
    with pytest.raises(ModelError) as error:
        load(path, device="cuda:1")
    assert str(error.value) == (
        "device cuda:1 was asked for, but onnxruntime offers no CUDA here (pip install onnxruntime-gpu)"
    )


def test_an_onnx_model_runs_without_torch(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "d.onnx", np.zeros((252, 8), dtype=np.float32))
    script = (
        "import sys; from detection import detectors, models;"
        f"detectors.load(models.resolve({str(path)!r}));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_operators_of_others_need_trust(tmp_path: Path) -> None:
    path = constant_detector(tmp_path / "d.onnx", np.zeros((84, 6), dtype=np.float32))
    graph = load_model(path)
    graph.graph.node.append(
        helper.make_node("Run", ["output"], ["more"], domain="ai.onnx.contrib")
    )
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match=r"domain 'ai\.onnx\.contrib'.*--trust-model"):
        load(path)
    with pytest.raises(ModelError, match="not an ONNX model that onnxruntime runs"):
        load(path, trust_model=True)
