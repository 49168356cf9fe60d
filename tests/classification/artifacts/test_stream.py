from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.artifacts import _stream
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable

# Strings full of what could be taken for the document's structure.
TRICKY = st.text('ab"\\{}[],: \n\u00e9\u2603', max_size=12) | st.just('}, {"file"')
SCALARS = st.none() | st.booleans() | st.integers() | TRICKY
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TRICKY, inner, max_size=3)
    ),
    max_leaves=6,
)
ITEMS = st.builds(
    lambda file, rest: {"file": file, **rest},
    TRICKY,
    st.dictionaries(TRICKY, VALUES, max_size=2),
)
INDENTS = st.sampled_from([None, 0, 1, 4, "\t", " \n\r "])


def taken(
    text: bytes, chunk_bytes: int = _stream.CHUNK_BYTES
) -> tuple[dict[str, Any], list[Any], list[Any] | None]:
    """Returns the other keys, what was taken, and what the blocks hold when read."""
    seen: list[Any] = []

    def take(block: bytes, first: int) -> int:
        elements = msgspec.json.decode(block, type=list[msgspec.Raw])
        assert first == len(seen)
        seen.extend(json.loads(bytes(element)) for element in elements)
        return len(elements)

    file = io.BytesIO(text)
    others, blocks = _stream.read_object(file, "list", take, chunk_bytes=chunk_bytes)
    if blocks is None:
        return others, seen, None
    again = [item for block in blocks for item in json.loads(block.read(file))]
    return others, seen, again


@settings(max_examples=60)
@given(
    before=st.dictionaries(TRICKY, VALUES, max_size=2),
    items=st.lists(ITEMS, max_size=12) | st.lists(VALUES, max_size=12),
    after=st.dictionaries(TRICKY, VALUES, max_size=2),
    indent=INDENTS,
    separator=st.sampled_from([",", ", ", " ,\n"]),
    ascii_only=st.booleans(),
    chunk_bytes=st.integers(1, 80),
)
def test_it_reads_what_json_reads(  # noqa: PLR0913 - one per property of the text
    *,
    before: dict[str, Any],
    items: list[Any],
    after: dict[str, Any],
    indent: int | str | None,
    separator: str,
    ascii_only: bool,
    chunk_bytes: int,
) -> None:
    document = {**before, "list": items, **after, "list ": "no list"}
    document["list"] = items
    text = json.dumps(
        document, indent=indent, separators=(separator, ": "), ensure_ascii=ascii_only
    ).encode()
    others, seen, again = taken(text, chunk_bytes)
    assert seen == items
    assert again == items
    assert {**others, "list": seen} == document


@settings(max_examples=60)
@given(items=st.lists(ITEMS, min_size=1, max_size=8), data=st.data())
def test_whatever_is_cut_off_is_missed(items: list[Any], data: st.DataObject) -> None:
    text = json.dumps({"a": 1, "list": items, "b": [2]}).encode()
    end = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ArtifactError, match="not JSON"):
        taken(text[:end], chunk_bytes=32)


@settings(max_examples=60)
@given(items=st.lists(ITEMS, min_size=1, max_size=6), data=st.data())
def test_what_json_refuses_is_refused(items: list[Any], data: st.DataObject) -> None:
    text = bytearray(json.dumps({"a": 1, "list": items, "b": [2]}).encode())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at : at + 1] = data.draw(st.sampled_from([b"", b"}", b",", b"]", b'"', b"x"]))
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ArtifactError):
            taken(bytes(text), chunk_bytes=32)
        return
    if list(expected) == ["a", "list", "b"] and isinstance(expected["list"], list):
        assert taken(bytes(text), chunk_bytes=32)[1] == expected["list"]


def test_blocks_are_cut_without_counting_brackets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = [{"file": f"{n}.jpg", "x": [{"y": n}, {"z": n}]} for n in range(4000)]
    counted = spy_on_boundaries(monkeypatch)
    text = json.dumps({"list": items}).encode()
    assert taken(text, chunk_bytes=4096)[1] == items
    # The first chunk, to learn how elements are set apart, and the last element.
    assert len(counted) < 100


def spy_on_boundaries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns a list that each boundary is appended to that brackets are counted for."""
    counted: list[int] = []
    count = _stream._boundaries

    def spy(data: bytes, at: int) -> Any:  # noqa: ANN401 - an iterator, passed through
        for end in count(data, at):
            counted.append(end)
            yield end

    monkeypatch.setattr(_stream, "_boundaries", spy)
    return counted


def test_an_element_longer_than_a_chunk() -> None:
    items = [{"file": "x" * 1000}, {"file": "y"}]
    assert taken(json.dumps({"list": items}).encode(), chunk_bytes=3)[1] == items


def test_a_byte_order_mark_is_skipped() -> None:
    assert taken(b'\xef\xbb\xbf {"list":[{}]} \n') == ({}, [{}], [{}])


def test_an_absent_list_is_none() -> None:
    assert taken(b'{"a": []}') == ({"a": []}, [], None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON: the file ends early; an object expected"),
        (b" ", "not JSON: the file ends early; an object expected"),
        (b"[1]", "not JSON: an object expected (byte 0)"),
        (b"\x00", "not JSON: an object expected (byte 0)"),
        (b"{", "not JSON: the file ends early; a key expected"),
        (b"{3: 4}", "not JSON: a key expected (byte 1)"),
        (b'{"a', "not JSON: the file ends inside a key"),
        (b'{"a"', "not JSON: the file ends early; a colon expected"),
        (b'{"a" 3}', "not JSON: a colon expected (byte 5)"),
        (b'{"a": 3', "a: not JSON: the file ends early"),
        (
            b'{"a": }',
            "a: not JSON: Expecting value: line 1 column 2 (char 1)",
        ),
        (b'{"a": NaN}', "a: NaN is not a JSON number"),
        (b'{"a": {"b": 1, "b": 1}}', "a.b: key appears twice"),
        (b'{"a": 1, "a": 1}', "a: key appears twice"),
        (b'{"list": [], "list": []}', "list: key appears twice"),
        (b'{"list": [{}], "list": []}', "list: key appears twice"),
        (b'{"a": 1,}', "not JSON: a key expected (byte 8)"),
        (b'{"a": 1]', "not JSON: a comma or the object's end expected (byte 7)"),
        (b'{"a": 1} x', "not JSON: nothing more expected (byte 9)"),
        (b'{"list": {}}', "list: a list expected"),
        (b'{"list": null}', "list: a list expected"),
        (b'{"list": [', "list[0]: not JSON: the file ends early"),
        (b'{"list": [{},', "list[1]: not JSON: the file ends early"),
        (b'{"list": [{"a', "list[0]: not JSON: the file ends early"),
        (b'{"list": [{},]}', "list[1]: not JSON: Input data was truncated"),
        (b'{"list": [{},,{}]}', "list[1]: not JSON: Input data was truncated"),
        (
            b'{"list": [{}, NaN]}',
            "list[1]: not JSON: JSON is malformed: invalid character (byte 1)",
        ),
        (
            b'{"list": [{}}',
            "not JSON: a comma or the list's end expected (byte 12)",
        ),
        (
            b'{"list": [{}, {"a":"\xff"}]}',
            (
                "list[1]: not JSON: 'utf-8' codec can't decode byte 0xff in position 7: "
                "invalid start byte"
            ),
        ),
        (b'{"list": [' + b"[" * 9999 + b"]" * 9999 + b"]}", "list: nested too deeply"),
    ],
)
def test_what_is_no_such_object_is_refused_with_its_address(
    text: bytes, message: str
) -> None:
    with pytest.raises(ArtifactError) as refused:
        read_typed(text)
    assert str(refused.value) == message


def read_typed(text: bytes) -> None:
    def take(block: bytes, _: int) -> int:
        return len(msgspec.json.decode(block, type=list[Any]))

    _stream.read_object(io.BytesIO(text), "list", take)


def test_several_lists_are_taken_in_the_order_of_the_file() -> None:
    seen: list[tuple[str, int, list[Any]]] = []

    def taker(key: str) -> Callable[[bytes, int], int]:
        def take(block: bytes, first: int) -> int:
            elements = json.loads(block)
            seen.append((key, first, elements))
            return len(elements)

        return take

    text = b'{"b": [{"x": 1}, {"x": 2}], "info": {"a": []}, "a": [3], "c": []}'
    others, blocks_by_key = _stream.read_lists(
        io.BytesIO(text), {"a": taker("a"), "b": taker("b"), "d": taker("d")}
    )
    assert others == {"info": {"a": []}, "c": []}
    assert seen == [("b", 0, [{"x": 1}, {"x": 2}]), ("a", 0, [3])]
    read = {
        key: [element for block in blocks for element in json.loads(block.read(file))]
        for file in [io.BytesIO(text)]
        for key, blocks in blocks_by_key.items()
    }
    assert read == {"b": [{"x": 1}, {"x": 2}], "a": [3]}


def test_a_second_list_of_the_same_key_is_refused() -> None:
    takes = {"a": lambda block, _: len(json.loads(block))}
    with pytest.raises(ArtifactError, match=r"^a: key appears twice$"):
        _stream.read_lists(io.BytesIO(b'{"a": [], "b": 1, "a": [1]}'), takes)


def taken_pairs(
    text: bytes, chunk_bytes: int = _stream.CHUNK_BYTES
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what was taken, and what the blocks hold when read."""
    seen: dict[str, Any] = {}

    def take(block: bytes, first: int) -> int:
        pairs = msgspec.json.decode(block, type=dict[str, msgspec.Raw])
        assert first == len(seen)
        seen.update({key: json.loads(bytes(value)) for key, value in pairs.items()})
        return len(pairs)

    file = io.BytesIO(text)
    blocks = _stream.read_pairs(file, take, chunk_bytes=chunk_bytes)
    again = [pair for block in blocks for pair in json.loads(block.read(file)).items()]
    assert len(again) == len(seen)
    return seen, dict(again)


@settings(max_examples=60)
@given(
    document=st.dictionaries(TRICKY, ITEMS, max_size=12)
    | st.dictionaries(TRICKY, VALUES, max_size=12),
    indent=INDENTS,
    separator=st.sampled_from([",", ", ", " ,\n"]),
    ascii_only=st.booleans(),
    chunk_bytes=st.integers(1, 80),
)
def test_it_reads_the_pairs_that_json_reads(
    *,
    document: dict[str, Any],
    indent: int | str | None,
    separator: str,
    ascii_only: bool,
    chunk_bytes: int,
) -> None:
    text = json.dumps(
        document, indent=indent, separators=(separator, ": "), ensure_ascii=ascii_only
    ).encode()
    assert taken_pairs(text, chunk_bytes) == (document, document)


@settings(max_examples=60)
@given(pairs=st.dictionaries(TRICKY, ITEMS, min_size=1, max_size=8), data=st.data())
def test_pairs_that_are_cut_off_are_missed(
    pairs: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(pairs).encode()
    end = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ArtifactError, match="not JSON"):
        taken_pairs(text[:end], chunk_bytes=32)


def test_pairs_are_cut_without_counting_brackets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = {f"{n}.jpg": {"x": [{"y": n}, {"z": n}], "u": [n]} for n in range(4000)}
    counted = spy_on_boundaries(monkeypatch)
    text = json.dumps(pairs).encode()
    assert taken_pairs(text, chunk_bytes=4096)[0] == pairs
    assert len(counted) < 100
