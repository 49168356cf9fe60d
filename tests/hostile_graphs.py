"""Model files that were made to harm: ONNX and TensorFlow graphs.

Each is given by a name. None of them may do more than be refused: they name files that
are not theirs, operators that others bring, operations on files, or are damaged.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from onnx import ModelProto, TensorProto, helper

from tests.detection.detectors.graphs import frozen, message

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

DAMAGED = 10
PLACES = ("initializer", "attribute", "subgraph", "function", "sparse", "training")
LOCATIONS = (
    "/etc/hostname",
    "../secret",
    "a/../../secret",
    "link",
    "/proc/self/mem",
    "/dev/zero",
    "*/_ORT_MEM_ADDR_/*",
    "nul\0",
    ".",
    "",
    "absent",
    "x" * 5000,
)
DOMAINS = (
    "ai.onnx.contrib",
    "ai.onnx.training",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
    "anybody.org",
)
OPERATIONS = (
    *("ReadFile", "WriteFile", "SaveV2", "RestoreV2", "MatchingFiles", "PyFunc"),
    *("EagerPyFunc", "TextLineReaderV2", "FixedLengthRecordReaderV2", "PrintV2"),
    *("ShardedFilename", "MergeV2Checkpoints", "StatefulPartitionedCall", "If"),
    *("While", "DecodeJpeg", "VarHandleOp", "HashTableV2", "LookupTableImportV2"),
    *("InitializeTableFromTextFileV2", "SqlDataset", "_Send", "LoadLibrary", "A\0B"),
)


def external(location: str, name: str = "w") -> onnx.TensorProto:
    """Returns a tensor whose numbers are in a file."""
    tensor = TensorProto(name=name, dims=[4], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value="16")
    return tensor


def add_tensor(model: onnx.ModelProto, tensor: onnx.TensorProto, place: str) -> None:
    """Puts a tensor into one of the places where there may be one."""
    constant = helper.make_node("Constant", [], [tensor.name], value=tensor)
    match place:
        case "initializer":
            model.graph.initializer.append(tensor)
        case "attribute":
            model.graph.node.append(constant)
        case "sparse":
            model.graph.sparse_initializer.add().values.CopyFrom(tensor)
        case "training":
            model.training_info.add().algorithm.initializer.append(tensor)
        case _:
            add_node(model, constant, place)


def add_node(model: onnx.ModelProto, node: onnx.NodeProto, place: str) -> None:
    """Puts a node into the graph, into a graph inside of it, or into a function."""
    if place == "graph":
        model.graph.node.append(node)
    elif place == "subgraph":
        inner = helper.make_graph([node], "inner", [], [])
        both = {"then_branch": inner, "else_branch": inner}
        model.graph.node.append(helper.make_node("If", ["so"], ["y"], **both))
    else:
        imports = [helper.make_opsetid(name, 1) for name in {"", node.domain}]
        model.functions.append(
            helper.make_function("own", "f", [], list(node.output), [node], imports)
        )
        model.graph.node.append(helper.make_node("f", [], ["y"], domain="own"))


def onnx_models(harmless: bytes) -> dict[str, bytes]:
    """Returns hostile variants of an ONNX model by name."""
    files: dict[str, bytes] = {}
    for place in PLACES:
        for location in LOCATIONS:
            model = ModelProto.FromString(harmless)
            add_tensor(model, external(location), place)
            name = f"weights in {location[:20]!r}, {place}"
            files[name] = model.SerializeToString()
    for place in ("graph", "subgraph", "function"):
        for domain in DOMAINS:
            model = ModelProto.FromString(harmless)
            add_node(model, helper.make_node("Run", [], ["z"], domain=domain), place)
            files[f"operator of {domain}, {place}"] = model.SerializeToString()
    deep = harmless
    for _ in range(150):
        deep = message(1, message(5, message(6, deep)))
    files["graphs in graphs"] = message(7, deep)
    files["fields without end"] = harmless + b"\x08\x01" * 2_500_000
    return files | _damaged(harmless)


def frozen_graphs(trace: Path) -> dict[str, bytes]:
    """Returns hostile TensorFlow graphs by name."""
    harmless = frozen("Placeholder", "Identity")
    path = message(1, message(1, str(trace).encode()) + message(2, b"Const"))
    files = {f"operation {one}": harmless + path + frozen(one) for one in OPERATIONS}
    for one in OPERATIONS:
        node = message(3, message(1, b"n") + message(2, one.encode()))
        signature = message(1, message(1, b"f"))
        files[f"operation {one}, function"] = harmless + message(
            2, message(1, signature + node)
        )
    return files | _damaged(harmless * 50 + frozen("WriteFile"))


def _damaged(data: bytes) -> dict[str, bytes]:
    chance = random.Random(0)
    files = {"nothing": b"", "zeros": bytes(4096), "no graph": b"hello, world\n" * 99}
    for number in range(DAMAGED):
        files[f"cut off {number}"] = data[: chance.randrange(len(data))]
        changed = bytearray(data)
        for _ in range(1 + number):
            changed[chance.randrange(len(data))] = chance.randrange(256)
        files[f"changed {number}"] = bytes(changed)
    return files
