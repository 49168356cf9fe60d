"""The operations that a network may use."""

from __future__ import annotations

import torch

from classification.modeling import torchscript_operations as operations

# What reads or writes files, reaches other machines or Python, or lays hands on memory.
FORBIDDEN = {
    *("save", "from_file", "set_", "set_data", "as_strided", "as_strided_", "resize_"),
    *("rpc_async", "rpc_sync", "rpc_remote", "PythonOp", "record_stream", "Print"),
    *("tolist", "view_of", "load_tensor", "set_grad_enabled", "manual_seed"),
}


def test_nothing_harmful_is_let_in() -> None:
    assert not FORBIDDEN & operations.TENSOR
    assert not {f"ops.prim.{name}" for name in FORBIDDEN} & operations.NAMESPACED
    assert not {f"ops.aten.{name}" for name in FORBIDDEN} & operations.NAMESPACED


def test_what_is_let_in_takes_no_text_but_harmless_one() -> None:
    """A file's name is a text: few operations that are let in take one at all."""
    taking = {
        schema.name.partition("::")[2]
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith("aten::")
        and any(str(argument.type) == "str" for argument in schema.arguments)
    }
    assert taking & operations.TENSOR <= {
        *("conv1d", "conv2d", "conv3d", "div", "div_", "einsum", "gelu", "gelu_"),
        *("floor_divide", "meshgrid", "pad", "warn", "format", "str", "index", "max"),
        *("add", "mul", "eq", "ne", "lt", "le", "gt", "ge", "len", "join", "strip"),
        *("find", "replace", "lower", "upper", "startswith", "endswith", "count"),
        *("ord", "hash", "float", "Float", "int", "Int", "bool", "list", "min"),
        *("split", "slice", "get", "pop", "keys", "values", "items", "copy", "insert"),
        *("clear", "update", "__contains__", "__getitem__", "dict", "device", "center"),
        *("searchsorted", "true_divide", "divide", "sorted", "to", "append", "Bool"),
        *("_convolution", "extend", "reverse", "remove", "sort", "__is__", "id"),
    }


def test_registered_knows_the_harmful_ones() -> None:
    assert {"save", "from_file", "add"} <= operations.registered()
