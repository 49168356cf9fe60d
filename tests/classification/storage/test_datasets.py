from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import ItemError
from classification.storage.datasets import DatasetStore
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


def test_each_dataset_has_its_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "p").mkdir(parents=True)
        (tmp_path / name / "p" / "x.jpg").write_bytes(name.encode())
    store = DatasetStore(
        {"a": LocalStore(tmp_path / "one"), "b c": LocalStore(tmp_path / "two")}
    )
    assert store.read("a/p/x.jpg") == b"one"
    assert store.read("b c/p/x.jpg") == b"two"


def test_a_dataset_without_a_folder_is_said(tmp_path: Path) -> None:
    store = DatasetStore({"a": LocalStore(tmp_path)})
    with pytest.raises(ItemError) as raised:
        store.read("z/x.jpg")
    assert str(raised.value) == "it is not known where the dataset 'z' is"
    assert not store.exists("z/x.jpg")


def test_the_dataset_alone_is_no_image(tmp_path: Path) -> None:
    store = DatasetStore({"a": LocalStore(tmp_path)})
    with pytest.raises(ItemError) as raised:
        store.read("a")
    assert str(raised.value) == "a folder, not a file"
    assert not store.exists("a")
