from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from classification.runtime import onnx_files
from classification.runtime.errors import ModelError
from tests.hostile_graphs import PLACES, add_node, add_tensor, external

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def model_of(
    nodes: Sequence[onnx.NodeProto],
    functions: Sequence[onnx.FunctionProto] = (),
    weights: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph(nodes, "g", [value], [value], weights)
    return helper.make_model(graph, functions=functions)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def within(place: str, tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = model_of([])
    add_tensor(model, tensor, place)
    return model


@pytest.mark.parametrize("place", PLACES)
def test_files_of_tensors_are_found_wherever_a_tensor_is(
    place: str, tmp_path: Path
) -> None:
    (tmp_path / "m.data").write_bytes(bytes(16))
    path = saved(tmp_path / "m.onnx", within(place, external("m.data")))
    assert onnx_files.files_of(path) == (path, tmp_path / "m.data")


def test_a_model_in_one_file_is_that_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", model_of([helper.make_node("Abs", ["x"], ["x"])]))
    assert onnx_files.files_of(path) == (path,)


def test_files_are_listed_once_and_sorted(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_bytes(bytes(16))
    tensors = [external("b"), external("a", name="v"), external("b", name="u")]
    path = saved(tmp_path / "m.onnx", model_of([], weights=tensors))
    assert [one.name for one in onnx_files.files_of(path)] == ["m.onnx", "a", "b"]


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/hostname", "a/../../secret", "link", "", ".", "a/../inside"],
)
@pytest.mark.parametrize("place", PLACES)
def test_weights_outside_of_the_folder_are_refused(
    location: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    (folder / "inside").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "secret")
    path = saved(folder / "m.onnx", within(place, external(location)))
    with pytest.raises(ModelError, match=r"own folder alone|not there"):
        onnx_files.check(path, trust=True)


def test_an_address_in_memory_is_no_file(tmp_path: Path) -> None:
    location = "*/_ORT_MEM_ADDR_/*"
    (tmp_path / location).parent.mkdir(parents=True)
    (tmp_path / "*/_ORT_MEM_ADDR_/*").write_bytes(bytes(16))
    path = saved(tmp_path / "m.onnx", model_of([], weights=[external(location)]))
    with pytest.raises(ModelError, match="own folder alone"):
        onnx_files.files_of(path)


@pytest.mark.parametrize("location", ["absent", "folder", "loop", "nul\0", "x" * 5000])
def test_weights_that_are_not_there_are_named(location: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    path = saved(tmp_path / "m.onnx", model_of([], weights=[external(location)]))
    with pytest.raises(ModelError, match=r"which is not there|which cannot be read"):
        onnx_files.files_of(path)


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"])
def test_operators_that_the_runtime_brings_are_taken(
    domain: str, tmp_path: Path
) -> None:
    node = helper.make_node("Abs", ["x"], ["x"], domain=domain)
    onnx_files.check(saved(tmp_path / "m.onnx", model_of([node])), trust=False)


def foreign(place: str) -> onnx.ModelProto:
    model = model_of([])
    add_node(model, helper.make_node("Run", [], ["z"], domain="ai.onnx.contrib"), place)
    return model


@pytest.mark.parametrize("where", ["graph", "subgraph", "function"])
def test_operators_of_others_need_trust(where: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", foreign(where))
    with pytest.raises(ModelError, match=r"'Run' .* 'ai.onnx.contrib'.*--trust-model"):
        onnx_files.check(path, trust=False)
    assert onnx_files.check(path, trust=True) == (path,)


def test_functions_that_the_file_defines_are_no_operators_of_others(
    tmp_path: Path,
) -> None:
    body = [helper.make_node("Abs", ["x"], ["x"])]
    function = helper.make_function(
        "pkg.torch", "f", ["x"], ["x"], body, [helper.make_opsetid("", 17)]
    )
    call = helper.make_node("f", ["x"], ["x"], domain="pkg.torch")
    path = saved(tmp_path / "m.onnx", model_of([call], [function]))
    assert onnx_files.check(path, trust=False) == (path,)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x08\x08", b"PK\x03\x04"])
def test_files_that_are_no_model_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not an ONNX model, or damaged"):
        onnx_files.files_of(path)


def test_memory_does_not_grow_with_the_weights(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.zeros(8 << 20, np.float32), "w")
    path = saved(tmp_path / "m.onnx", model_of([], weights=[weights]))
    del weights
    tracemalloc.start()
    try:
        onnx_files.files_of(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 32 << 20
    assert peak < 1 << 20
