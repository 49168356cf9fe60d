"""Writes ONNX graphs, node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
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


def to_bytes(model: ModelProto, properties: Mapping[str, str] | None = None) -> bytes:
    """Returns the file of a network, the same bytes for the same network.

    Args:
        model: the network.
        properties: metadata to write into it.
    """
    helper.set_model_props(model, dict(properties or {}))
    return bytes(model.SerializeToString(deterministic=True))
