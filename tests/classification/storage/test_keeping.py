from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import ItemError
from classification.storage.keeping import DistantStore
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def far(tmp_path: Path) -> LocalStore:
    (tmp_path / "far" / "a").mkdir(parents=True)
    (tmp_path / "far" / "a" / "b.jpg").write_bytes(b"image")
    return LocalStore(tmp_path / "far")


def test_what_is_read_is_counted_and_kept(far: LocalStore, tmp_path: Path) -> None:
    store = DistantStore(far, keep=tmp_path / "near")
    assert store.read("a/b.jpg") == b"image"
    with pytest.raises(ItemError):
        store.read("a/c.jpg")
    assert store.fetched == 1
    assert [p.read_bytes() for p in (tmp_path / "near").rglob("*.jpg")] == [b"image"]
    assert (tmp_path / "near" / "a" / "b.jpg").is_file()


def test_nothing_is_kept_unless_it_is_wanted(far: LocalStore, tmp_path: Path) -> None:
    store = DistantStore(far)
    assert store.read("a/b.jpg") == b"image"
    assert store.exists("a/b.jpg")
    assert store.fetched == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far"]
