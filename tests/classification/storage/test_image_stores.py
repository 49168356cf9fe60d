"""What is true of every store of images, whatever kind of place it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from classification.runtime import parallel
from classification.runtime.errors import ItemError, StorageError
from classification.storage.azure import AzureContainerStore
from classification.storage.datasets import DatasetStore
from classification.storage.keeping import DistantStore
from classification.storage.layered import LayeredStore
from classification.storage.local import LocalStore
from classification.storage.outage import LenientStore
from classification.storage.retrying import Patience
from classification.storage.web import WebStore
from tests.web import serving_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from classification.storage import ImageStore
    from tests.azurite import Azurite

# Each makes a store in which "d/<rest>" is the file <rest> of the given folder.
LOCAL: dict[str, Callable[[Path], ImageStore]] = {
    "local": lambda folder: LocalStore(folder.parent),
    "datasets": lambda folder: DatasetStore({"d": LocalStore(folder)}),
    "layered": lambda folder: LayeredStore([LocalStore(folder.parent)]),
    "second layer": lambda folder: LayeredStore(
        [LocalStore(folder.parent / "none"), DatasetStore({"d": LocalStore(folder)})]
    ),
    "lenient": lambda folder: LenientStore(LocalStore(folder.parent)),
    "distant": lambda folder: DistantStore(LocalStore(folder.parent)),
}
REMOTE = ("web", "azure")
NAMES = ("a/b c.jpg", "50% #1?&=+.jpg", "\N{BEAR FACE}.jpg", "x" * 100 + ".jpg")
QUICK = Patience(silence_s=5, tries=2, pause_s=0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images" / "d"
    (folder / "a").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(b"\r\n\x1a\0" + name.encode())
    (folder / "empty.jpg").touch()
    (tmp_path / "outside.jpg").write_bytes(b"outside")
    return folder


@pytest.fixture(params=LOCAL)
def local(request: pytest.FixtureRequest, folder: Path) -> ImageStore:
    (folder / "link.jpg").symlink_to(folder.parents[1] / "outside.jpg")
    (folder / "dangling.jpg").symlink_to("nothing")
    os.mkfifo(folder / "pipe.jpg")
    return LOCAL[request.param](folder)


@pytest.fixture(params=[*LOCAL, *REMOTE])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[ImageStore]:
    if request.param == "web":
        with serving_folder(folder.parent) as web:
            yield WebStore(web.url, patience=QUICK)
    elif request.param == "azure":
        emulator: Azurite = request.getfixturevalue("emulator")
        blobs = {
            f"d/{path.relative_to(folder)}": path.read_bytes()
            for path in folder.rglob("*.jpg")
        }
        url = emulator.with_token(emulator.container("stores", blobs), "r")
        yield AzureContainerStore(url, patience=QUICK)
    else:
        yield LOCAL[request.param](folder)


# True of all


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_its_bytes(store: ImageStore, name: str) -> None:
    assert store.read(f"d/{name}") == b"\r\n\x1a\0" + name.encode()
    assert store.exists(f"d/{name}")


def test_a_stamp_is_that_of_the_bytes_and_changes_with_them(
    store: ImageStore, folder: Path, request: pytest.FixtureRequest
) -> None:
    data, before = store.load("d/a/b c.jpg")
    assert data == store.read("d/a/b c.jpg")
    assert before is not None
    assert before == store.stamp("d/a/b c.jpg")
    assert before.size == len(data)
    (folder / "a/b c.jpg").write_bytes(b"other bytes")
    if isinstance(store, AzureContainerStore):
        emulator: Azurite = request.getfixturevalue("emulator")
        emulator.container("stores", {"d/a/b c.jpg": b"other bytes"})
    changed, after = store.load("d/a/b c.jpg")
    assert changed == b"other bytes"
    assert before != after == store.stamp("d/a/b c.jpg")


@pytest.mark.parametrize("name", ["d/missing.jpg", "d/none/missing.jpg"])
def test_a_missing_image_has_a_reason_and_does_not_exist(
    store: ImageStore, name: str
) -> None:
    with pytest.raises(ItemError, match=r"^no such file$"):
        store.read(name)
    with pytest.raises(ItemError, match=r"^no such file$"):
        store.stamp(name)
    assert not store.exists(name)


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/hostname", "../outside.jpg", "d//etc/hostname", "d/.."),
        *("d/../../outside.jpg", "d/a/../empty.jpg"),
    ],
)
def test_no_name_leaves_the_store(store: ImageStore, name: str) -> None:
    with pytest.raises(ItemError):
        store.read(name)
    with pytest.raises(ItemError):
        store.stamp(name)
    assert not store.exists(name)


def test_an_empty_file_exists_and_cannot_be_read(store: ImageStore) -> None:
    assert store.exists("d/empty.jpg")
    with pytest.raises(ItemError, match=r"^empty file$"):
        store.read("d/empty.jpg")


def test_many_threads_may_read(store: ImageStore) -> None:
    names = [f"d/{name}" for name in NAMES] * 5
    found = list(parallel.ordered_map(store.read, names, threads=8))
    assert found == [store.read(name) for name in names]


# True of folders


def test_a_link_in_the_folder_is_followed(local: ImageStore) -> None:
    assert local.read("d/link.jpg") == b"outside"
    assert local.exists("d/link.jpg")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("d/" + "x" * 300, "File name too long"),
        ("d/dangling.jpg", "no such file"),
        ("d/a", "a folder, not a file"),
        ("d/pipe.jpg", "a pipe or a device, not a file"),
        ("d/a\0b", "embedded null"),
    ],
)
def test_what_is_no_image_has_a_reason_and_does_not_exist(
    local: ImageStore, name: str, reason: str
) -> None:
    with pytest.raises(ItemError) as raised:
        local.read(name)
    assert reason in str(raised.value)
    assert not local.exists(name)


def test_a_file_that_cannot_be_looked_for_is_not_taken_for_missing(
    local: ImageStore, folder: Path
) -> None:
    (folder / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(StorageError, match=r"cannot look for .*/loop.jpg: "):
        local.exists("d/loop.jpg")
