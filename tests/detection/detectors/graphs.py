"""Tiny ONNX detectors for tests: whatever the image, they say what they were told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from detection.records import MEGADETECTOR_CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray


def constant_detector(
    path: Path,
    output: NDArray[np.float32],
    *,
    shape: Sequence[int | str] = (1, 3, 64, 64),
    properties: Mapping[str, str] | None = None,
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """Writes a graph that answers ``output`` [rows, columns] to any image."""
    numbers = output[np.newaxis].astype(helper.tensor_dtype_to_np_dtype(dtype))
    zero = np.zeros(1, dtype=numbers.dtype)
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("Add", ["told", "nothing"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", dtype, shape)],
        [helper.make_tensor_value_info("output", dtype, numbers.shape)],
        [
            numpy_helper.from_array(numbers, "told"),
            numpy_helper.from_array(zero, "zero"),
        ],
    )
    return save(path, graph, properties)


def brightness_detector(
    path: Path, *, category: str = "bright", weights: str = "", side: int = 8
) -> Path:
    """Write a YOLOv8 graph of any input size whose scores are the image's mean.

    Args:
        path: the file.
        category: what its box is called.
        weights: file beside it for the numbers of its box; empty to hold them itself.
        side: of its box, in pixels of 64.
    """
    box = numpy_helper.from_array(
        np.array([[[32], [16], [side], [side]]], dtype=np.float32), "box"
    )
    if weights:
        (path.parent / weights).write_bytes(box.raw_data)
        set_external_data(box, weights)
        box.ClearField("raw_data")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3]),
        helper.make_node("Reshape", ["mean", "one"], ["score"]),
        helper.make_node("Concat", ["box", "score"], ["row"], axis=1),
        helper.make_node("Expand", ["row", "cells"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 5, "cells"])],
        [
            numpy_helper.from_array(np.array([1, 1, 1]), "one"),
            numpy_helper.from_array(np.array([1, 5, 1]), "cells"),
            box,
        ],
    )
    return save(
        path,
        graph,
        {
            "cameratraps.head": "yolov8",
            "cameratraps.categories": json.dumps({"1": category}),
            "cameratraps.image_size_px": "64",
            "cameratraps.stride_px": "32",
        },
    )


def red_detector(path: Path, *, layers: int = 0) -> Path:
    """Writes an end-to-end graph that finds one animal, as sure as the image is red.

    Args:
        path: where to save it.
        layers: convolutions that cost time and change nothing.
    """
    values: dict[str, NDArray[Any]] = {
        "first": np.array([0]),
        "second": np.array([1]),
        "axis": np.array([1]),
        "row": np.array([[[16, 16, 48, 32, 0, 0]]], np.float32),
        "mask": np.array([[[0, 0, 0, 0, 1, 0]]], np.float32),
        "shape": np.array([-1, 1, 1]),
        "zero": np.array(0, np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["images", "first", "second", "axis"], ["red"]),
        helper.make_node("ReduceMean", ["red"], ["mean"], axes=[1, 2, 3]),
    ]
    last = "images"
    for number in range(layers):
        kernels, wide = f"kernels{number}", f"wide{number}"
        values[kernels] = np.zeros((64, 64 if number else 3, 3, 3), np.float32)
        nodes.append(helper.make_node("Conv", [last, kernels], [wide], pads=[1] * 4))
        last = wide
    nodes += [
        helper.make_node("ReduceMean", [last], ["slow"], axes=[1, 2, 3]),
        helper.make_node("Mul", ["slow", "zero"], ["nothing"]),
        helper.make_node("Add", ["mean", "nothing"], ["total"]),
        helper.make_node("Reshape", ["total", "shape"], ["sure"]),
        helper.make_node("Mul", ["sure", "mask"], ["masked"]),
        helper.make_node("Add", ["masked", "row"], ["output"]),
    ]
    images = ["N", 3, 64, 64]
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, images)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 1, 6])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    properties = {
        "cameratraps.head": "end-to-end",
        "cameratraps.categories": json.dumps(MEGADETECTOR_CATEGORIES),
    }
    return save(path, graph, properties)


def save(
    path: Path, graph: onnx.GraphProto, properties: Mapping[str, str] | None = None
) -> Path:
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    helper.set_model_props(model, dict(properties or {}))
    path.write_bytes(model.SerializeToString())
    return path


def message(number: int, payload: bytes) -> bytes:
    """Encodes a field of a protocol buffer that holds a text or a message."""
    size, length = len(payload), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + payload


def frozen(*operations: str) -> bytes:
    """Encodes a TensorFlow graph of nodes without inputs and attributes."""
    return b"".join(
        message(1, message(1, b"node") + message(2, one.encode())) for one in operations
    )
