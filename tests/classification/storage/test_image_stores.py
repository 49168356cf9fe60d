"""What is true of every store of images, whatever kind of place it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import ItemError, StorageError
from classification.storage.datasets import DatasetStore
from classification.storage.layered import LayeredStore
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from classification.storage import ImageStore

# Each makes a store in which "d/<rest>" is the file <rest> of the given folder.
KINDS: dict[str, Callable[[Path], ImageStore]] = {
    "local": lambda folder: LocalStore(folder.parent),
    "datasets": lambda folder: DatasetStore({"d": LocalStore(folder)}),
    "layered": lambda folder: LayeredStore([LocalStore(folder.parent)]),
    "second layer": lambda folder: LayeredStore(
        [LocalStore(folder.parent / "none"), DatasetStore({"d": LocalStore(folder)})]
    ),
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    folder = tmp_path / "images" / "d"
    folder.mkdir(parents=True)
    (folder / "a").mkdir()
    (folder / "a" / "b c.jpg").write_bytes(b"\r\n\x1a\0")
    (folder / "empty.jpg").touch()
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (folder / "dangling.jpg").symlink_to("nothing")
    (tmp_path / "outside.jpg").write_bytes(b"outside")
    os.mkfifo(folder / "pipe.jpg")
    return KINDS[request.param](folder)


def test_an_image_is_its_bytes(store: ImageStore) -> None:
    assert store.read("d/a/b c.jpg") == b"\r\n\x1a\0"
    assert store.exists("d/a/b c.jpg")


def test_a_link_in_the_folder_is_followed(store: ImageStore) -> None:
    assert store.read("d/link.jpg") == b"outside"
    assert store.exists("d/link.jpg")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("d/missing.jpg", "no such file"),
        ("d/" + "x" * 300, "File name too long"),
        ("d/dangling.jpg", "no such file"),
        ("d/a", "a folder, not a file"),
        ("d/pipe.jpg", "a pipe or a device, not a file"),
        ("d/a\0b", "cannot read: embedded null byte"),
        ("d/../../outside.jpg", "leaves its folder"),
        ("d/..", "leaves its folder"),
        ("d/a/../empty.jpg", "leaves its folder"),
    ],
)
def test_what_is_no_image_has_a_reason_and_does_not_exist(
    store: ImageStore, name: str, reason: str
) -> None:
    with pytest.raises(ItemError) as raised:
        store.read(name)
    assert str(raised.value).endswith(reason)
    assert not store.exists(name)


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside.jpg", "d//etc/hostname"])
def test_no_name_leaves_the_folder(store: ImageStore, name: str) -> None:
    with pytest.raises(ItemError):
        store.read(name)
    assert not store.exists(name)


def test_an_empty_file_exists_and_cannot_be_read(store: ImageStore) -> None:
    assert store.exists("d/empty.jpg")
    with pytest.raises(ItemError) as raised:
        store.read("d/empty.jpg")
    assert str(raised.value) == "empty file"


def test_a_file_that_cannot_be_looked_for_is_not_taken_for_missing(
    store: ImageStore, tmp_path: Path
) -> None:
    (tmp_path / "images/d/loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(StorageError, match=r"cannot look for .*/loop.jpg: "):
        store.exists("d/loop.jpg")
