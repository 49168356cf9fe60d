from __future__ import annotations

import numpy as np
import onnxruntime

from classification.model_files import graphs
from classification.model_files.graphs import Graph


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
