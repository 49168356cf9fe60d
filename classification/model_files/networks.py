"""A network as it is translated: tensors with shapes, in a graph that grows.

Shapes are known while translating. How many images there are is not: ``BATCH``, a prime
above any number of pixels or features, stands for it, so that arithmetic of shapes is that
of integers; a multiple of it is so many for each image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.model_files.graphs import Graph
from classification.model_files.pickles import NotDataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BATCH = (1 << 31) - 1
_MAX_RANK = 8
_NUMBER_BYTES = 4
# What the numbers between layers may take for one image, beside a multiple of the image.
# An EfficientNet-B7 at 600 pixels needs 190 MB; DenseNets and large VGGs less.
_FREE_BYTES = 192 << 20
_LIVE_IMAGES = 64


@dataclass(eq=False)
class _Memory:
    """What tensors that show the same numbers share.

    Attributes:
        version: counts what was written into it.
        fixed: the network's own weights.
    """

    version: int = 0
    fixed: bool = False


@dataclass(frozen=True, eq=False)
class Tensor:
    """A float32 tensor of the graph.

    Attributes:
        name: in the graph.
        shape: sides; see ``BATCH``.
        array: its numbers, if they are fixed.
        memory: what it shares with tensors that show the same numbers.
        version: of the memory, when this tensor was made.
    """

    name: str
    shape: tuple[int, ...]
    array: NDArray[np.float32] | None = None
    memory: _Memory = field(default_factory=_Memory)
    version: int = 0

    @property
    def rank(self) -> int:
        """Returns the number of sides."""
        return len(self.shape)

    def axis(self, dim: int) -> int:
        """Returns the place of a side, counted from the first.

        Raises:
            NotDataError: there is no such side.
        """
        if not -self.rank <= dim < self.rank:
            raise NotDataError(f"the side {dim} of a tensor of {self.rank}")
        return dim % self.rank


class Network:
    """What is translated so far."""

    def __init__(self, input_name: str, shape: tuple[int, ...]) -> None:
        """Starts with the network's input.

        Args:
            input_name: of the input.
            shape: of it, with ``BATCH`` in front.
        """
        self.graph = Graph()
        self.input = Tensor(input_name, shape)
        self._sizes: dict[str, int] = {}
        self._weights: dict[int, Tensor] = {}

    def node(
        self,
        operator: str,
        inputs: Sequence[Tensor | NDArray[Any] | None],
        shape: tuple[int, ...],
        **attributes: Any,  # noqa: ANN401 - whatever the operator takes
    ) -> Tensor:
        """Adds an operation; returns its output, which shares memory with nothing."""
        names = [self._name(value) for value in inputs]
        if len(shape) > _MAX_RANK or any(side <= 0 for side in shape):
            raise NotDataError(f"a tensor of the shape {shown(shape)}")
        made = Tensor(self.graph.node(operator, names, **attributes), shape)
        self._sizes[made.name] = math.prod(shape) * _NUMBER_BYTES // BATCH
        return made

    def view(
        self,
        operator: str,
        inputs: Sequence[Tensor | NDArray[Any] | None],
        shape: tuple[int, ...],
        **attributes: Any,  # noqa: ANN401 - whatever the operator takes
    ) -> Tensor:
        """Adds an operation whose output shows numbers of its first input."""
        source = inputs[0]
        assert isinstance(source, Tensor)  # noqa: S101 - for mypy
        made = self.node(operator, inputs, shape, **attributes)
        return Tensor(made.name, shape, None, source.memory, source.version)

    def weight(self, array: NDArray[np.float32]) -> Tensor:
        """Returns a tensor of the network's own."""
        if id(array) not in self._weights:
            self._weights[id(array)] = Tensor(
                "", array.shape, array, _Memory(fixed=True)
            )
        return self._weights[id(array)]

    def sizes(self, shape: tuple[int, ...]) -> Tensor | NDArray[np.int64]:
        """Returns a shape as a tensor of integers, with the number of images in it."""
        if all(side % BATCH for side in shape):
            return np.array(shape, np.int64)
        count = self.graph.node("Shape", [self.input.name], start=0, end=1)
        parts = [
            self._name(np.array([side], np.int64))
            if side % BATCH
            else self.graph.node(
                "Mul", [count, self._name(np.array([side // BATCH], np.int64))]
            )
            for side in shape
        ]
        return Tensor(self.graph.node("Concat", parts, axis=0), (len(shape),))

    def overwritten(self, target: Tensor, result: Tensor) -> Tensor:
        """Returns the result of an operation that writes it into ``target``.

        Raises:
            NotDataError: the target is a weight, or of another shape.
        """
        if target.memory.fixed:
            raise NotDataError("an operation that changes the network's weights")
        if target.shape != result.shape:
            raise NotDataError("an operation in place that changes a shape")
        target.memory.version += 1
        return Tensor(
            result.name, result.shape, None, target.memory, target.memory.version
        )

    def check_memory(self, result: Tensor) -> None:
        """Refuses a network that needs far more memory than its images.

        Raises:
            NotDataError: it does.
        """
        last = {
            name: at
            for at, node in enumerate(self.graph.nodes)
            for name in (*node.input, *node.output)
        }
        last[result.name] = len(self.graph.nodes)
        ends: dict[int, int] = {}
        live = peak = 0
        for at, node in enumerate(self.graph.nodes):
            size = self._sizes.get(node.output[0], 0)
            live += size
            peak = max(peak, live)
            ends[last[node.output[0]]] = ends.get(last[node.output[0]], 0) + size
            live -= ends.pop(at, 0)
        image = math.prod(self.input.shape) * _NUMBER_BYTES // BATCH
        if peak > _FREE_BYTES + _LIVE_IMAGES * image:
            raise NotDataError(f"layers that take {peak >> 20} MiB for one image")

    def _name(self, value: Tensor | NDArray[Any] | None) -> str:
        if value is None:
            return ""
        if isinstance(value, np.ndarray):
            return self.graph.constant(value)
        if value.array is not None:
            return self.graph.constant(value.array)
        return value.name


def shown(shape: tuple[int, ...]) -> str:
    """Returns a shape for people: ``[N, 3, 224, 224]``."""
    sides = [
        str(side)
        if side % BATCH or not side
        else f"{'' if side == BATCH else side // BATCH}N"
        for side in shape
    ]
    return f"[{', '.join(sides)}]"
