from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from classification.runtime.protobuf import DamagedMessageError, Message

SCHEMA = {"node": {5: "attribute"}, "attribute": {6: "graph"}, "graph": {1: "node"}}


def nested(depth: int) -> NodeProto:
    """Makes a node in whose attribute is a graph of one node, and so on."""
    node = NodeProto(op_type="Innermost")
    for level in range(depth):
        graph = GraphProto(node=[node])
        node = NodeProto(
            op_type=f"Level{level}", attribute=[AttributeProto(name="then", g=graph)]
        )
    return node


def operators(data: bytes) -> list[str]:
    message = Message(data)
    return [
        message.text(values.get(4))
        for kind, values in message.parts("node", SCHEMA)
        if kind == "node"
    ]


def test_messages_inside_each_other_are_found() -> None:
    assert operators(nested(3).SerializeToString()) == [
        "Level2",
        "Level1",
        "Level0",
        "Innermost",
    ]


def test_of_a_field_that_comes_twice_the_last_counts_as_for_protobuf() -> None:
    twice = b"".join(
        NodeProto(op_type=name).SerializeToString() for name in ("First", "Last")
    )
    assert NodeProto.FromString(twice).op_type == "Last"
    assert operators(twice) == ["Last"]


def test_numbers_of_all_kinds_are_passed() -> None:
    tensor = TensorProto(dims=[1, 1 << 62], double_data=[0.5], raw_data=b"abc")
    attribute = AttributeProto(name="a", f=0.5, i=-1, t=tensor)
    data = NodeProto(attribute=[attribute]).SerializeToString()
    message = Message(data)
    (_, attribute_values) = list(message.parts("node", {"node": {5: "attribute"}}))
    assert attribute_values[1][3] == (1 << 64) - 1
    assert message.text(attribute_values[1][1]) == "a"


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        operators(data)
    except DamagedMessageError:
        return


@given(st.data())
def test_bytes_that_are_cut_off_are_refused_or_shorter(choice: st.DataObject) -> None:
    whole = nested(2).SerializeToString()
    cut = choice.draw(st.integers(0, len(whole) - 1))
    try:
        NodeProto.FromString(whole[:cut])
    except Exception:  # noqa: BLE001 - protobuf's error has no public class
        with pytest.raises(DamagedMessageError):
            operators(whole[:cut])
    else:
        operators(whole[:cut])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x0b", "unknown kind 3"),
        (b"\x08" + b"\xff" * 11, "more than 64 bits"),
        (b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "middle of a field"),
        (b"\x0d\x00", "middle of a field"),
    ],
)
def test_damage_is_named(data: bytes, fault: str) -> None:
    with pytest.raises(DamagedMessageError, match=fault):
        operators(data)


def test_there_are_limits() -> None:
    deep = b""
    for _ in range(102):
        deep = b"\x2a" + bytes([0x80 | len(deep) & 0x7F, len(deep) >> 7]) + deep
    with pytest.raises(DamagedMessageError, match="100 messages deep"):
        list(Message(deep).parts("node", {"node": {5: "node"}}))
    with pytest.raises(DamagedMessageError, match="2000000 fields"):
        operators(b"\x08\x00" * 2_000_001)


def test_a_model_of_onnx_is_read_with_its_own_numbers() -> None:
    model = ModelProto(graph=GraphProto(node=[NodeProto(op_type="Add", domain="d")]))
    message = Message(model.SerializeToString())
    parts = dict(message.parts("model", {"model": {7: "graph"}, "graph": {1: "node"}}))
    assert message.text(parts["node"][7]) == "d"
