"""Writes ONNX graphs, node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

OPSET = 17
_IR_VERSION = 8  # that of this opset


class Graph:
    """A graph that grows; a tensor is known by its name."""

    def __init__(self) -> None:
        """Starts with nothing."""
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        # By the array's identity; the array is kept, so that the identity stays its own.
        self._constants: dict[int, tuple[str, NDArray[np.generic]]] = {}

    def constant(self, value: NDArray[np.generic]) -> str:
        """Adds a fixed tensor, once for each array."""
        if id(value) not in self._constants:
            name = f"c{len(self.tensors)}"
            self.tensors.append(numpy_helper.from_array(value, name))
            self._constants[id(value)] = (name, value)
        return self._constants[id(value)][0]

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        **attributes: Any,  # noqa: ANN401 - whatever the operator takes
    ) -> str:
        """Adds an operation; returns the name of its output."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def model(
        self,
        name: str,
        images: tuple[str, Sequence[int | str]],
        result: tuple[str, str, Sequence[int | str]],
    ) -> ModelProto:
        """Returns the graph as a network of one float32 input and one output.

        Args:
            name: of the graph.
            images: name and shape of the input.
            result: the tensor that is the output, and the output's name and shape.
        """
        source, output, shape = result
        if self.nodes and self.nodes[-1].output[0] == source:
            self.nodes[-1].output[0] = output
        else:
            self.nodes.append(helper.make_node("Identity", [source], [output]))
        return helper.make_model(
            helper.make_graph(
                self.nodes,
                name,
                [
                    helper.make_tensor_value_info(
                        images[0], TensorProto.FLOAT, images[1]
                    )
                ],
                [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
                self.tensors,
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="cameratraps-classifier",
        )


class WeightedGraph(Graph):
    """A graph of a known architecture, filled with named weights."""

    def __init__(
        self, network: str, weights: Mapping[str, NDArray[np.float32]]
    ) -> None:
        """Starts with nothing.

        Args:
            network: whose weights they should be, for messages.
            weights: tensor by key.
        """
        super().__init__()
        self._network = network
        self._weights = weights
        self._used: set[str] = set()

    def weight(self, key: str) -> NDArray[np.float32]:
        """Returns a weight, and remembers that it has found its place.

        Raises:
            ModelError: there is none of this name.
        """
        if key not in self._weights:
            raise ModelError(
                f"the weights are not {self._network}'s: there is no {key}"
            )
        self._used.add(key)
        return self._weights[key]

    def has(self, key: str) -> bool:
        """Says whether there is a weight of this name."""
        return key in self._weights

    def check_all_used(self) -> None:
        """Sees to it that every weight has found its place.

        Raises:
            ModelError: one has not.
        """
        if left := sorted(self._weights.keys() - self._used):
            raise ModelError(
                f"the weights are not {self._network}'s: {left[0]} has no place"
            )

    def folded(
        self, conv: str, norm: str, epsilon: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns kernel and bias of a convolution with its batch normalisation.

        y = (conv(x) - mean) / sqrt(variance + epsilon) * scale + shift, written as one
        convolution.

        Args:
            conv: key of the convolution, which has no bias of its own.
            norm: key of the batch normalisation behind it.
            epsilon: of it.
        """
        kernel = self.weight(f"{conv}.weight").astype(np.float64)
        scale = self.weight(f"{norm}.weight") / np.sqrt(
            self.weight(f"{norm}.running_var").astype(np.float64) + epsilon
        )
        bias = self.weight(f"{norm}.bias") - self.weight(f"{norm}.running_mean") * scale
        if kernel.ndim != 4 or len(kernel) != len(scale):  # noqa: PLR2004 - two-dimensional
            raise ModelError(
                f"the weights are not {self._network}'s: {conv} is another"
            )
        folded = kernel * scale[:, None, None, None]
        return folded.astype(np.float32), bias.astype(np.float32)

    def conv(  # noqa: PLR0913 - a convolution's settings
        self,
        x: str,
        kernel: NDArray[np.float32],
        bias: NDArray[np.float32],
        *,
        stride: int = 1,
        pads: Sequence[int] | None = None,
        groups: int = 1,
    ) -> str:
        """Convolves; by default the padding keeps the size where the stride is 1."""
        side = kernel.shape[-1]
        grouped = {"group": groups} if groups > 1 else {}
        return self.node(
            "Conv",
            [x, self.constant(kernel), self.constant(bias)],
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[(side - 1) // 2] * 4 if pads is None else list(pads),
            **grouped,
        )


def to_bytes(model: ModelProto, properties: Mapping[str, str] | None = None) -> bytes:
    """Returns the file of a network, the same bytes for the same network.

    Args:
        model: the network.
        properties: metadata to write into it.
    """
    helper.set_model_props(model, dict(properties or {}))
    return bytes(model.SerializeToString(deterministic=True))
