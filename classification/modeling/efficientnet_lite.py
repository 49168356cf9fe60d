"""EfficientNet-Lite as an ONNX graph, made of its published weights; torch is not needed.

The networks are Google's EfficientNets (arXiv:1905.11946) without squeeze-and-excitation,
with ReLU6, and with a stem and a head that do not grow
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). The
weights say how wide and how deep one is: a stage begins where the number of channels
changes. Batch normalisation is folded into the convolution before it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from classification.model_files import graphs, torch_files
from classification.model_files.graphs import WeightedGraph
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

INPUT, OUTPUT = "images", "logits"
_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block of each stage
_EPSILON = 1e-3  # of batch normalisation
_SIX = np.array(6, np.float32)
_ZERO = np.array(0, np.float32)


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Reads published weights: tensor by key, without counters.

    Raises:
        ModelError: the file is damaged, or holds more than weights.
    """
    try:
        document = torch_files.read(path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path}: holds no weights")
    return {
        str(key): value
        for key, value in document.items()
        if isinstance(value, np.ndarray) and not key.endswith("num_batches_tracked")
    }


def to_onnx(weights: Mapping[str, NDArray[np.float32]], image_size: int) -> bytes:
    """Returns a network as an ONNX file, for batches of any size.

    Args:
        weights: tensor by key, as ``read_weights`` gives them.
        image_size: side of the input in pixels.

    Raises:
        ModelError: the weights are of another architecture.
    """
    graph = WeightedGraph("EfficientNet-Lite", weights)
    x = _Features(graph, INPUT, image_size)
    x = x.conv("_conv_stem", "_bn0", stride=2).relu6()
    stage = -1
    for at in itertools.count():
        block = f"_blocks.{at}"
        if f"{block}._depthwise_conv.weight" not in weights:
            break
        outputs, inputs = len(weights[f"{block}._project_conv.weight"]), x.channels
        stage += outputs != inputs
        if stage >= len(_STRIDES):
            raise ModelError("the weights are not EfficientNet-Lite's: too many stages")
        stride = _STRIDES[stage] if outputs != inputs else 1
        x = _block(x, block, stride=stride)
    x = x.conv("_conv_head", "_bn1").relu6()
    pooled = graph.node("GlobalAveragePool", [x.name])
    flat = graph.node("Flatten", [pooled])
    last, bias = graph.weight("_fc.weight"), graph.weight("_fc.bias")
    logits = graph.node(
        "Gemm", [flat, graph.constant(last), graph.constant(bias)], transB=1
    )
    graph.check_all_used()
    return graphs.to_bytes(
        graph.model(
            "efficientnet_lite",
            (INPUT, ["batch", 3, image_size, image_size]),
            (logits, OUTPUT, ["batch", len(bias)]),
        )
    )


class _Features:
    """What flows between layers: a tensor, its channels, and its side in pixels."""

    def __init__(
        self, graph: WeightedGraph, name: str, side: int, channels: int = 3
    ) -> None:
        self.graph = graph
        self.name = name
        self.side = side
        self.channels = channels

    def conv(
        self, conv: str, norm: str, *, stride: int = 1, depthwise: bool = False
    ) -> _Features:
        """Convolves and normalises; pads as TensorFlow does (SAME).

        An odd pixel of padding goes right and below.
        """
        kernel, bias = self.graph.folded(conv, norm, _EPSILON)
        side = -(-self.side // stride)
        pads = max((side - 1) * stride + kernel.shape[-1] - self.side, 0)
        before, after = pads // 2, pads - pads // 2
        made = self.graph.conv(
            self.name,
            kernel,
            bias,
            stride=stride,
            pads=[before, before, after, after],
            groups=self.channels if depthwise else 1,
        )
        return _Features(self.graph, made, side, len(kernel))

    def relu6(self) -> _Features:
        bounds = [self.graph.constant(_ZERO), self.graph.constant(_SIX)]
        made = self.graph.node("Clip", [self.name, *bounds])
        return _Features(self.graph, made, self.side, self.channels)


def _block(x: _Features, block: str, *, stride: int) -> _Features:
    """Widens (not in the first block), filters each channel, and narrows."""
    inner = x
    if x.graph.has(f"{block}._expand_conv.weight"):
        inner = x.conv(f"{block}._expand_conv", f"{block}._bn0").relu6()
    inner = inner.conv(
        f"{block}._depthwise_conv", f"{block}._bn1", stride=stride, depthwise=True
    ).relu6()
    inner = inner.conv(f"{block}._project_conv", f"{block}._bn2")
    if inner.channels != x.channels:
        return inner
    made = x.graph.node("Add", [inner.name, x.name])
    return _Features(x.graph, made, inner.side, inner.channels)
