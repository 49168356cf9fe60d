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


def test_a_text_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    path = write(tmp_path, "mislabeled_candidates_test_d.json", b"d/a.jpg\r\n\nd/b.jpg")
    assert image_list.read_text(path) == ["d/a.jpg", "d/b.jpg"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the list is empty"),
        (b"d/a.jpg\n\n/etc/passwd\n", "line 3: '/etc/passwd' is absolute"),
        (b"d/../../a.jpg", "line 1: 'd/../../a.jpg' leaves its folder"),
        (b"d\\a.jpg", "line 1: 'd\\\\a.jpg' holds a backslash"),
    ],
)
def test_names_of_a_text_stay_in_a_folder(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = write(tmp_path, "a.txt", content)
    with pytest.raises(ArtifactError) as refused:
        image_list.read_text(path)
    assert str(refused.value).startswith(f"{path}: {message}")


LOG = b'{"step": "x", "failed": ["b.jpg"], "other": ["c.jpg", "b.jpg"]}'


@pytest.mark.parametrize(
    ("name", "content", "keys", "names"),
    [
        ("a.json", b'\xef\xbb\xbf ["b.jpg"]', [], ["b.jpg"]),
        ("a.json", b"b.jpg\r\nc.jpg\r\n", [], ["b.jpg", "c.jpg"]),
        ("a.log", LOG, ["failed", "other"], ["b.jpg", "c.jpg", "b.jpg"]),
        ("a.txt", b"[1]/b.jpg", [], ["[1]/b.jpg"]),
        ("a.txt", b"", [], []),
        ("a.json", b"[]", [], []),
    ],
)
def test_either_form_is_told_by_what_is_in_it(
    tmp_path: Path, name: str, content: bytes, keys: list[str], names: list[str]
) -> None:
    assert image_list.read_any(write(tmp_path, name, content), keys) == names


@pytest.mark.parametrize(
    ("content", "keys", "message"),
    [
        (LOG, [], "no list is under the key ''; lists are under: failed, other"),
        (LOG, ["step"], "no list is under the key 'step'; lists are under: failed"),
        (b'["a"]', ["failed"], "expected an object with the key failed"),
        (b'{"failed": [3]}', ["failed"], "failed[0]: expected the name of a file"),
        (b"a.jpg", ["failed"], "not JSON"),
    ],
)
def test_a_key_without_a_list_is_refused(
    tmp_path: Path, content: bytes, keys: list[str], message: str
) -> None:
    path = write(tmp_path, "a.json", content)
    with pytest.raises(ArtifactError) as refused:
        image_list.read_any(path, keys)
    assert str(refused.value).startswith(f"{path}: {message}")


def test_a_text_round_trips(tmp_path: Path) -> None:
    names = ["b c.jpg", "\N{BEAR FACE}.jpg", os.fsdecode(b"caf\xe9.jpg")]
    image_list.write_text(tmp_path / "a.txt", names)
    assert image_list.read_text(tmp_path / "a.txt") == names


def test_what_fits_on_no_line_is_told(tmp_path: Path) -> None:
    names = ["a.jpg", "b\nc.jpg", " d.jpg", "e.jpg\r", "f .jpg"]
    unwritable = image_list.find_unwritable(names)
    assert unwritable == ["b\nc.jpg", " d.jpg", "e.jpg\r"]
    with pytest.raises(ValueError, match="does not fit on a line"):
        image_list.write_text(tmp_path / "a.txt", names)
    assert not (tmp_path / "a.txt").exists()


def test_a_json_list_round_trips(tmp_path: Path) -> None:
    names = ["a b.jpg", "é.jpg", "two\nlines.jpg"]
    image_list.write_json(tmp_path / "a.json", names)
    assert image_list.read(tmp_path / "a.json") == names
    assert image_list.read_any(tmp_path / "a.json") == names
