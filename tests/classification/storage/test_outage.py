from __future__ import annotations

import pytest

from classification.runtime.contents import Stamp
from classification.runtime.errors import (
    AccessError,
    ItemError,
    StorageError,
    UnreachableError,
)
from classification.storage import ImageStore
from classification.storage.outage import LenientStore


class Told(ImageStore):
    """A store that does as its images are named."""

    def load(self, name: str) -> tuple[bytes, Stamp]:
        if name == "silent":
            raise StorageError("HTTP 503")
        if name == "closed":
            raise AccessError("the token has expired")
        if name == "missing":
            raise ItemError("no such file")
        return b"image", Stamp(5)

    def stamp(self, name: str) -> Stamp:
        return self.load(name)[1]

    def exists(self, name: str) -> bool:
        return bool(self.read(name))


def test_silence_now_and_then_is_the_images_failure() -> None:
    store = LenientStore(Told(), limit=3)
    for name in ("silent", "silent", "image", "silent", "silent", "missing", "silent"):
        if name == "image":
            assert store.read(name) == b"image"
            continue
        with pytest.raises(ItemError) as raised:
            store.read(name)
        assert isinstance(raised.value, UnreachableError) == (name == "silent")


def test_so_many_in_a_row_end_the_run() -> None:
    store = LenientStore(Told(), limit=3)
    for _ in range(2):
        with pytest.raises(UnreachableError, match=r"^HTTP 503$"):
            store.read("silent")
    with pytest.raises(StorageError) as raised:
        store.read("silent")
    assert str(raised.value) == (
        "3 images in a row could not be reached, the last one: HTTP 503; run again to "
        "go on"
    )


def test_silence_about_a_stamp_counts_as_about_an_image() -> None:
    store = LenientStore(Told(), limit=2)
    with pytest.raises(UnreachableError, match=r"^HTTP 503$"):
        store.stamp("silent")
    assert store.stamp("image") == Stamp(5)
    with pytest.raises(UnreachableError):
        store.read("silent")
    with pytest.raises(StorageError, match="2 images in a row"):
        store.stamp("silent")


def test_a_closed_door_ends_the_run_at_once() -> None:
    with pytest.raises(AccessError):
        LenientStore(Told()).read("closed")


def test_d10_an_existence_is_never_guessed() -> None:
    store = LenientStore(Told())
    assert store.exists("image")
    with pytest.raises(StorageError, match="503"):
        store.exists("silent")
