"""The YOLOX-tiny network of MegadetectorLite, written down as an ONNX graph.

The weights come as a PyTorch state dict. This module knows the architecture that they
belong to (YOLOX, arXiv:2107.08430: a Focus stem, CSPDarknet of depth 0.33 and width
0.375, spatial pyramid pooling, a path-aggregating pyramid, a decoupled head), and builds
the graph from them node by node: it takes a second where an exporter that traces takes
most of a minute, and the same weights give the same bytes with any release of torch.

Batch normalisation is folded into the convolution before it, and the Focus stem, which
moves 2 x 2 pixels into channels, into a convolution of twice the size and stride.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classification.model_files import torch_files
from classification.model_files.graphs import WeightedGraph, to_bytes
from classification.runtime import onnx_runtime
from classification.runtime.atomic import replacing
from classification.runtime.errors import ModelError
from detection.detectors.heads import Head
from detection.detectors.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import ModelProto

COARSEST_STRIDE_PX = 32
_EPSILON = 1e-3  # of batch normalisation
_POOLING_WINDOWS = (5, 9, 13)
_DEEP = 3  # bottlenecks where depth is 9 before scaling; elsewhere there is one
_LEVELS = 3
_BOX_COLUMNS = 5  # box and objectness, before the classes


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Reads the state dict of a YOLOX training checkpoint.

    Returns:
        Tensor by key; counters that inference has no use for are left out.

    Raises:
        ModelError: it is damaged, holds more than tensors, or no weights.
    """
    try:
        checkpoint = torch_files.read(path)
    except ModelError as error:
        raise ModelError(
            f"{path}: not a checkpoint of plain tensors: {error}"
        ) from error
    weights = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict):
        raise ModelError(f"{path}: a YOLOX checkpoint holds its weights under 'model'")
    return {
        str(key): np.asarray(tensor, dtype=np.float32)
        for key, tensor in weights.items()
        if isinstance(tensor, np.ndarray) and not key.endswith("num_batches_tracked")
    }


def convert(
    path: Path, target: Path, *, categories: Mapping[str, str], image_size_px: int
) -> None:
    """Turns a YOLOX-tiny checkpoint into an ONNX file, whole or not at all.

    Args:
        path: the checkpoint.
        target: the file to write.
        categories: name by category id, in the order of the network's classes.
        image_size_px: longer side of the input it was trained at.

    Raises:
        ModelError: the checkpoint is not what it should be.
    """
    try:
        model = build(read_weights(path), classes=len(categories))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    says = Manifest(
        head=Head.YOLOX_RAW,
        categories=categories,
        image_size_px=image_size_px,
        stride_px=COARSEST_STRIDE_PX,
        channels="RGB",
        fill=0,
    )
    with replacing(target) as file:
        file.write(to_bytes(model, says.to_properties()))


def build(weights: Mapping[str, NDArray[np.float32]], *, classes: int) -> ModelProto:
    """Returns the network as an ONNX model.

    Its input ``images`` is RGB, float32 [batch, 3, height, width] from 0 to 255, sides
    multiples of 32; its output is ``heads.Head.YOLOX_RAW``.

    Args:
        weights: tensor by key, as ``read_weights`` gives them.
        classes: number of classes that the output holds.

    Raises:
        ModelError: the weights do not belong to this architecture.
    """
    graph = _Graph("YOLOX-tiny", weights)
    result = _head(graph, _pyramid(graph, *_darknet(graph, "images")))
    graph.check_all_used()
    model = graph.model(
        "yolox_tiny",
        ("images", ["batch", 3, "height", "width"]),
        (result, "output", ["batch", "cells", "columns"]),
    )
    _check(model, classes=classes)
    return model


def _check(model: ModelProto, *, classes: int) -> None:
    """Runs the graph once: tensors of another shape than they should have fail there."""
    side = 2 * COARSEST_STRIDE_PX
    try:
        session = onnx_runtime.open_session(model.SerializeToString(), quiet=True)
        (output,) = session.run(
            None, {"images": np.zeros((1, 3, side, side), dtype=np.float32)}
        )
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelError(
            "the weights are not YOLOX-tiny's: their shapes do not fit together"
        ) from error
    if output.shape[2] != _BOX_COLUMNS + classes:
        raise ModelError(
            f"the weights are for {output.shape[2] - _BOX_COLUMNS} classes, not for {classes}"
        )


class _Graph(WeightedGraph):
    """The graph, with what YOLOX is made of."""

    def silu(self, x: str) -> str:
        """Applies x times sigmoid(x)."""
        return self.node("Mul", [x, self.node("Sigmoid", [x])])

    def concat(self, *parts: str) -> str:
        """Joins tensors by their channels."""
        return self.node("Concat", parts, axis=1)


def _folded(graph: _Graph, key: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return graph.folded(f"{key}.conv", f"{key}.bn", _EPSILON)


def _block(graph: _Graph, x: str, key: str, *, stride: int = 1) -> str:
    """Convolution, batch normalisation, SiLU."""
    kernel, bias = _folded(graph, key)
    return graph.silu(graph.conv(x, kernel, bias, stride=stride))


def _focus(graph: _Graph, x: str, key: str) -> str:
    """The stem: 2 x 2 pixels to channels, then a 3 x 3 block; here 6 x 6, stride 2.

    Channels hold the four pixels in the order left above, left below, right above,
    right below.
    """
    kernel, bias = _folded(graph, key)
    outputs, inputs, side, _ = kernel.shape
    channels = inputs // 4
    # [out, column, row, channel, y, x] to [out, channel, y, row, x, column]
    pixels = kernel.reshape(outputs, 2, 2, channels, side, side)
    wide = pixels.transpose(0, 3, 4, 2, 5, 1).reshape(
        outputs, channels, 2 * side, 2 * side
    )
    return graph.silu(graph.conv(x, np.ascontiguousarray(wide), bias, stride=2))


def _cross_stage(
    graph: _Graph, x: str, key: str, *, depth: int = 1, shortcut: bool = False
) -> str:
    """Sends half of the channels through bottlenecks and joins both halves."""
    half = _block(graph, x, f"{key}.conv1")
    for at in range(depth):
        inner = _block(graph, half, f"{key}.m.{at}.conv1")
        inner = _block(graph, inner, f"{key}.m.{at}.conv2")
        half = graph.node("Add", [half, inner]) if shortcut else inner
    other = _block(graph, x, f"{key}.conv2")
    return _block(graph, graph.concat(half, other), f"{key}.conv3")


def _pooled(graph: _Graph, x: str, key: str) -> str:
    """Spatial pyramid pooling: joins the maximum over windows of several sizes."""
    x = _block(graph, x, f"{key}.conv1")
    pools = [
        graph.node("MaxPool", [x], kernel_shape=[side, side], pads=[side // 2] * 4)
        for side in _POOLING_WINDOWS
    ]
    return _block(graph, graph.concat(x, *pools), f"{key}.conv2")


def _darknet(graph: _Graph, x: str) -> tuple[str, str, str]:
    """The backbone: features at strides 8, 16 and 32."""
    root = "backbone.backbone"

    def stage(x: str, name: str, depth: int) -> str:
        x = _block(graph, x, f"{root}.{name}.0", stride=2)
        return _cross_stage(graph, x, f"{root}.{name}.1", depth=depth, shortcut=True)

    x = stage(_focus(graph, x, f"{root}.stem.conv"), "dark2", 1)
    fine = stage(x, "dark3", _DEEP)
    middle = stage(fine, "dark4", _DEEP)
    coarse = _block(graph, middle, f"{root}.dark5.0", stride=2)
    coarse = _pooled(graph, coarse, f"{root}.dark5.1")
    return fine, middle, _cross_stage(graph, coarse, f"{root}.dark5.2")


def _pyramid(graph: _Graph, fine: str, middle: str, coarse: str) -> tuple[str, ...]:
    """Passes coarse features down to the fine ones, and fine ones up again."""
    root = "backbone"

    def merged(one: str, other: str, name: str) -> str:
        return _cross_stage(graph, graph.concat(one, other), f"{root}.{name}")

    coarse = _block(graph, coarse, f"{root}.lateral_conv0")
    middle = merged(_doubled(graph, coarse), middle, "C3_p4")
    middle = _block(graph, middle, f"{root}.reduce_conv1")
    fine = merged(_doubled(graph, middle), fine, "C3_p3")
    halved = _block(graph, fine, f"{root}.bu_conv2", stride=2)
    middle = merged(halved, middle, "C3_n3")
    halved = _block(graph, middle, f"{root}.bu_conv1", stride=2)
    return fine, middle, merged(halved, coarse, "C3_n4")


def _doubled(graph: _Graph, x: str) -> str:
    """Repeats every pixel twice in both directions."""
    scales = graph.constant(np.array([1, 1, 2, 2], dtype=np.float32))
    return graph.node(
        "Resize",
        [x, "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _head(graph: _Graph, features: Sequence[str]) -> str:
    """Box (raw), objectness and class probabilities of every cell, [N, cells, …]."""
    shape = graph.constant(np.array([0, 0, -1], dtype=np.int64))
    levels = []
    for at in range(_LEVELS):
        x = _block(graph, features[at], f"head.stems.{at}")
        box_features = _two_blocks(graph, x, f"head.reg_convs.{at}")
        class_features = _two_blocks(graph, x, f"head.cls_convs.{at}")
        level = graph.concat(
            _predicted(graph, box_features, f"head.reg_preds.{at}"),
            graph.node(
                "Sigmoid", [_predicted(graph, box_features, f"head.obj_preds.{at}")]
            ),
            graph.node(
                "Sigmoid", [_predicted(graph, class_features, f"head.cls_preds.{at}")]
            ),
        )
        levels.append(graph.node("Reshape", [level, shape]))
    cells = graph.node("Concat", levels, axis=2)
    return graph.node("Transpose", [cells], perm=[0, 2, 1])


def _two_blocks(graph: _Graph, x: str, key: str) -> str:
    return _block(graph, _block(graph, x, f"{key}.0"), f"{key}.1")


def _predicted(graph: _Graph, x: str, key: str) -> str:
    return graph.conv(x, graph.weight(f"{key}.weight"), graph.weight(f"{key}.bias"))
