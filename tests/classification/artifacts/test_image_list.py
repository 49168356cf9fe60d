from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts import image_list
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_list_is_told_by_its_ending() -> None:
    assert all(map(image_list.is_list_name, ("a.txt", "b.JSON", "c.d.Txt")))
    assert not any(map(image_list.is_list_name, ("a.jpg", "txt", "a.txt.gz")))


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("a.txt", b"b.jpg\na/c d.jpg\n", ["b.jpg", "a/c d.jpg"]),
        ("a.txt", b"\xef\xbb\xbf/x/b.jpg\r\n\r\n  c.jpg \r\n", ["/x/b.jpg", "c.jpg"]),
        ("a.txt", b"b.jpg", ["b.jpg"]),
        ("a.TXT", "\N{BEAR FACE}.jpg\x0b.jpg".encode(), ["\N{BEAR FACE}.jpg\x0b.jpg"]),
        ("a.txt", b"caf\xe9.jpg", [os.fsdecode(b"caf\xe9.jpg")]),
        ("a.json", b'["b.jpg", "b.jpg"]', ["b.jpg", "b.jpg"]),
        ("a.JSON", b'\xef\xbb\xbf["\\u00e9.jpg"]', ["\u00e9.jpg"]),
    ],
)
def test_lists_are_read_in_their_order(
    tmp_path: Path, name: str, content: bytes, names: list[str]
) -> None:
    assert image_list.read(write(tmp_path, name, content)) == names


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "the list is empty"),
        ("a.txt", b" \n\r\n", "the list is empty"),
        ("a.txt", b"a.jpg\n\nb\0.jpg", "line 3: 'b\\x00.jpg' holds a NUL"),
        ("a.json", b"[]", "the list is empty"),
        ("a.json", b"", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("a.json", b'{"a": 1}', "expected a list of file names at the top level"),
        ("a.json", b'["a.jpg", 3]', "[1]: expected the name of a file"),
        ("a.json", b'["a.jpg", ""]', "[1]: expected the name of a file"),
        ("a.json", b'["a.jpg", null]', "[1]: expected the name of a file"),
        ("a.json", b'["\\u0000"]', "[0]: '\\x00' holds a NUL"),
    ],
)
def test_what_is_no_list_is_refused_with_its_address(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(ArtifactError) as refused:
        image_list.read(path)
    assert str(refused.value) == f"{path}: {message}"


def test_a_list_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    for name, message in (
        ("no.txt", "cannot read: No such file or directory"),
        ("folder.txt", "not a plain file"),
    ):
        with pytest.raises(ArtifactError) as refused:
            image_list.read(tmp_path / name)
        assert str(refused.value) == f"{tmp_path / name}: {message}"


@given(content=st.binary(max_size=40), extension=st.sampled_from([".txt", ".json"]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, extension: str
) -> None:
    path = write(tmp_path_factory.mktemp("lists"), f"a{extension}", content)
    try:
        assert all(image_list.read(path))
    except ArtifactError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 - read or refused, nothing else
