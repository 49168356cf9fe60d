from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from classification.model_files import graphs
from classification.model_files.graphs import Graph, WeightedGraph
from classification.runtime.errors import ModelError


def doubled() -> Graph:
    graph = Graph()
    two = np.array(2, np.float32)
    graph.node("Mul", ["x", graph.constant(two)])
    graph.node("Add", ["t0", graph.constant(two)])
    return graph


def test_a_graph_runs() -> None:
    model = doubled().model("doubled", ("x", ["n", 3]), ("t1", "y", ["n", 3]))
    session = onnxruntime.InferenceSession(
        graphs.to_bytes(model, {"author": "test"}), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(found, np.full((2, 3), 4))
    assert session.get_modelmeta().custom_metadata_map == {"author": "test"}


def test_a_constant_is_written_once() -> None:
    assert len(doubled().tensors) == 1


def test_the_same_graph_gives_the_same_bytes() -> None:
    one, other = (
        graphs.to_bytes(doubled().model("d", ("x", [3]), ("t1", "y", [3])))
        for _ in range(2)
    )
    assert one == other


WEIGHTS = {
    "c.weight": np.ones((2, 1, 3, 3), np.float32),
    "n.weight": np.array([1, 2], np.float32),
    "n.bias": np.array([0.5, 0], np.float32),
    "n.running_mean": np.array([0, 3], np.float32),
    "n.running_var": np.array([4, 1], np.float32),
}


def test_batch_normalisation_is_folded_into_the_convolution() -> None:
    kernel, bias = WeightedGraph("X", WEIGHTS).folded("c", "n", 0.0)
    np.testing.assert_array_equal(kernel[:, 0, 0, 0], [0.5, 2])
    np.testing.assert_array_equal(bias, [0.5, -6])


def test_every_weight_has_its_place() -> None:
    graph = WeightedGraph("X", {**WEIGHTS, "extra": np.ones(1, np.float32)})
    graph.folded("c", "n", 0.0)
    with pytest.raises(
        ModelError, match=r"^the weights are not X's: extra has no place"
    ):
        graph.check_all_used()
    with pytest.raises(
        ModelError, match=r"^the weights are not X's: there is no other"
    ):
        graph.weight("other")
    assert graph.has("extra")
    assert not graph.has("other")
