from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from classification.runtime.contents import Contents, Stamp, digest
from classification.runtime.errors import ItemError, UnreachableError
from classification.storage.changes import current, current_of_all, digest_in
from classification.storage.local import LocalStore
from classification.storage.web import WebStore
from tests.web import Reply, serving

if TYPE_CHECKING:
    from pathlib import Path


class Counting(LocalStore):
    """A folder that counts how often bytes are read."""

    reads = 0

    def load(self, name: str):  # type: ignore[no-untyped-def] # noqa: ANN201 - as its base
        self.reads += 1
        return super().load(name)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    (tmp_path / "a.jpg").write_bytes(b"one")
    return Counting(tmp_path)


@pytest.fixture
def known(store: Counting) -> Contents:
    return Contents(digest(b"one"), store.stamp("a.jpg"))


def test_an_equal_stamp_spares_the_reading(store: Counting, known: Contents) -> None:
    assert current(store, "a.jpg", known) == known
    assert store.reads == 0


def test_other_bytes_are_seen(store: Counting, known: Contents) -> None:
    (store.root / "a.jpg").write_bytes(b"three")
    assert current(store, "a.jpg", known) == (digest(b"three"), store.stamp("a.jpg"))


def test_bytes_written_anew_are_the_same_image(
    store: Counting, known: Contents
) -> None:
    os.utime(store.root / "a.jpg", ns=(5, 5))
    now = current(store, "a.jpg", known)
    assert now == (known.digest, store.stamp("a.jpg"))
    assert now != known
    assert store.reads == 1
    assert current(store, "a.jpg", now) == now
    assert store.reads == 1


def test_verifying_sees_other_bytes_of_equal_size_and_time(
    store: Counting, known: Contents
) -> None:
    assert known.stamp is not None
    (store.root / "a.jpg").write_bytes(b"two")
    os.utime(store.root / "a.jpg", ns=(known.stamp.modified, known.stamp.modified))
    assert current(store, "a.jpg", known).digest == known.digest
    assert current(store, "a.jpg", known, verify=True).digest == digest(b"two")


def test_an_image_that_is_gone_is_said(store: Counting, known: Contents) -> None:
    (store.root / "a.jpg").unlink()
    with pytest.raises(ItemError, match=r"^no such file$"):
        current(store, "a.jpg", known)


def test_where_a_server_tells_nothing_there_is_no_stamp() -> None:
    # Without a length the end of the body is that of the connection.
    silent = Reply(b"one", headers=(("Transfer-Encoding", "identity"),))
    with serving(silent) as web:
        store = WebStore(web.url)
        assert store.stamp("a.jpg") is None
        now = current(store, "a.jpg", Contents(digest(b"one"), None))
        assert now == (digest(b"one"), None)
        assert current(store, "a.jpg", Contents("0", None)).digest == "0"
        found = current(store, "a.jpg", Contents("0", None), verify=True)
        assert found == (digest(b"one"), None)


class Fleeting(LocalStore):
    """A folder whose server does not answer for some images."""

    def stamp(self, name: str) -> Stamp:
        if name == "silent.jpg":
            raise UnreachableError("HTTP 503")
        return super().stamp(name)


@pytest.mark.parametrize("threads", [1, 3])
def test_what_all_images_are_now(tmp_path: Path, threads: int) -> None:
    store = Fleeting(tmp_path)
    for name in ("same", "changed", "mended", "silent"):
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    before = Contents(digest(b"same"), store.stamp("same.jpg"))
    old = Contents("0", Stamp(1))
    items = [
        (0, "same.jpg", before),
        (1, "changed.jpg", old),
        (2, "gone.jpg", old),
        (3, "mended.jpg", None),
        (4, "missing.jpg", None),
        (5, "silent.jpg", old),
    ]
    found = list(current_of_all(store, iter(items), threads=threads))
    changed = Contents(digest(b"changed"), store.stamp("changed.jpg"))
    mended = Contents(digest(b"mended"), store.stamp("mended.jpg"))
    assert found == [
        (0, before, before),
        (1, old, changed),
        (2, old, None),
        (3, None, mended),
        (4, None, None),
        (5, old, Contents("0", None)),
    ]
    assert [digest_in(now) == digest_in(was) for _, was, now in found] == [
        *(True, False, False, False, True, True),
    ]
