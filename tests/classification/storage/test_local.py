from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import AbsentError, ItemError, StorageError
from classification.storage import local
from classification.storage.local import LocalStore, read_file

if TYPE_CHECKING:
    from classification.storage import ImageStore


def test_names_are_relative_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").write_bytes(b"\r\n\x1a\0")
    store: ImageStore = LocalStore(tmp_path)
    assert store.read("a/b.jpg") == b"\r\n\x1a\0"


def test_the_folder_need_not_exist_until_something_is_read(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "none")
    with pytest.raises(ItemError) as raised:
        store.read("a.jpg")
    assert str(raised.value) == "no such file"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.jpg", "no such file"),
        ("empty.jpg", "empty file"),
        ("folder.jpg", "a folder, not a file"),
        ("pipe.jpg", "a pipe or a device, not a file"),
        ("socket.jpg", "cannot read: No such device or address"),
        ("dangling.jpg", "no such file"),
        ("circle.jpg", "cannot read: Too many levels of symbolic links"),
        ("file/a.jpg", "cannot read: Not a directory"),
        ("x" * 300, "cannot read: File name too long"),
        ("a\0b", "cannot read: embedded null byte"),
        ("huge.jpg", f"{local.MAX_BYTES + 1} bytes are more than any image has"),
    ],
)
def test_what_cannot_be_read_has_a_reason(
    tmp_path: Path, name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.jpg")  # a socket's path has to be short
    (tmp_path / "dangling.jpg").symlink_to("nothing")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    with (tmp_path / "huge.jpg").open("wb") as huge:
        huge.truncate(local.MAX_BYTES + 1)  # a hole, no disk
    with pytest.raises(ItemError) as raised:
        read_file(tmp_path / name)
    assert in_words_of_3_11(str(raised.value)) == reason


def in_words_of_3_11(reason: str) -> str:
    """Words a refusal of Python 3.13 as earlier ones did."""
    return reason.replace("open: embedded null character in path", "embedded null byte")


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to("a")
    assert read_file(tmp_path / "b") == b"x"


def test_a_device_is_no_image() -> None:
    with pytest.raises(ItemError) as raised:
        read_file(Path(os.devnull))
    assert str(raised.value) == "a pipe or a device, not a file"


def test_a_stamp_changes_when_a_file_is_replaced(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"x")
    before = store.stamp("a.jpg")
    assert store.stamp("a.jpg") == before
    (tmp_path / "a.jpg").write_bytes(b"xy")
    assert store.stamp("a.jpg") != before
    for name, reason in (("b.jpg", "no such file"), ("../b.jpg", "leaves its folder")):
        with pytest.raises(ItemError, match=reason):
            store.stamp(name)


def test_a_folder_that_vanishes_is_no_missing_image(tmp_path: Path) -> None:
    root = tmp_path / "images"
    assert LocalStore(root).exists("a.jpg") is False  # it never was there
    root.mkdir()
    (root / "a.jpg").write_bytes(b"data")
    store = LocalStore(root)
    with pytest.raises(AbsentError):
        store.read("b.jpg")
    root.rename(tmp_path / "elsewhere")
    for ask in (store.read, store.stamp):
        with pytest.raises(StorageError, match=r"images vanished in the middle"):
            ask("a.jpg")
    root.touch()
    with pytest.raises(StorageError, match=r"images vanished in the middle"):
        store.read("a.jpg")
    with pytest.raises(AbsentError):
        LocalStore(root).read("a.jpg")
