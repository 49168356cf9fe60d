from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts import _json
from classification.runtime.errors import ArtifactError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_it_reads_what_the_standard_library_writes(document: object) -> None:
    assert _json.parse(json.dumps(document).encode()) == document


def test_a_byte_order_mark_is_no_fault() -> None:
    assert _json.parse(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"{", "not JSON: Expecting property name enclosed in double quotes"),
        (b'{"a": 1} x', "not JSON: Extra data: line 1 column 10 (char 9)"),
        (b'{"a": "\xff"}', "not JSON: 'utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "not JSON: maximum recursion depth exceeded"),
        (b"1" * 5000, "not JSON: Exceeds the limit (4300 digits)"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b"[Infinity]", "Infinity is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"[1e999]", "1e999 is too large a number"),
        (b"[-1e999]", "-1e999 is too large a number"),
        (b'{"a": {"b": 1, "b": 2}}', "b: key appears twice"),
    ],
)
def test_what_is_not_strict_json_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        _json.parse(text)
    assert str(refused.value).startswith(message)


@given(st.binary(max_size=30))
def test_any_bytes_are_parsed_or_refused(text: bytes) -> None:
    try:
        _json.parse(text)
    except ArtifactError as error:
        assert str(error)  # noqa: PT017 - parsed or refused, nothing else


@pytest.mark.parametrize("text", ["[]", "1", "null", '"a"'])
def test_an_object_is_an_object(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ArtifactError) as refused:
        _json.read_object(path)
    assert str(refused.value) == "expected an object at the top level"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / "none", "cannot read: No such file or directory"),
        (tmp_path / "file" / "a", "cannot read: Not a directory"),
        (tmp_path, "not a plain file"),
        (tmp_path / "pipe", "not a plain file"),
        (Path("a\0b"), "cannot read: embedded null byte"),
    ):
        with pytest.raises(ArtifactError) as refused:
            _json.read_object(path)
        assert str(refused.value) == message


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_what_is_written_is_read_back(tmp_path: Path, indent: int | None) -> None:
    document: dict[str, Any] = {"b": [1, 2.5, None, True], "a": {"\u00e9": "\n"}}
    path = tmp_path / "x" / "a.json"
    _json.write_object(path, document, indent=indent)
    assert _json.read_object(path) == document
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert "\u00e9" in text
    assert list(_json.read_object(path)) == ["b", "a"]


def test_a_name_that_is_not_utf8_is_written_and_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    _json.write_object(tmp_path / "a.json", {"item": name})
    assert _json.read_object(tmp_path / "a.json") == {"item": name}


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _json.write_object(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    numbers: list[int]


def test_a_document_becomes_a_struct() -> None:
    document = {"name": "a", "numbers": [1, 2]}
    assert _json.to_struct(document, Pair) == Pair("a", [1, 2])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"name": "a", "numbers": [1, "x"]},
            "numbers[1]: Expected `int`, got `str`",
        ),
        ({"name": "a"}, "Object missing required field `numbers`"),
        (
            {"name": "a", "numbers": [], "x": 1},
            "Object contains unknown field `x`",
        ),
    ],
)
def test_what_is_no_such_struct_is_named(
    document: dict[str, object], message: str
) -> None:
    with pytest.raises(ArtifactError) as caught:
        _json.to_struct(document, Pair)
    assert str(caught.value) == message


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(ArtifactError, match="a key that is no text: "):
        _json.to_struct({"\ud800": 1}, Pair)
