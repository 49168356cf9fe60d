from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import ItemError, StorageError, UnreachableError
from classification.storage import ImageStore
from classification.storage.layered import LayeredStore
from classification.storage.local import LocalStore
from classification.storage.web import WebStore
from tests.web import serving_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layers(tmp_path: Path) -> LayeredStore:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "both.jpg").write_bytes(name.encode())
        (tmp_path / name / f"{name}.jpg").write_bytes(name.encode())
    (tmp_path / "first" / "broken.jpg").touch()
    (tmp_path / "second" / "broken.jpg").write_bytes(b"another image")
    return LayeredStore(
        [LocalStore(tmp_path / "first"), LocalStore(tmp_path / "second")]
    )


def test_the_first_that_has_the_file_is_read(layers: LayeredStore) -> None:
    assert layers.read("both.jpg") == b"first"
    assert layers.read("first.jpg") == b"first"
    assert layers.read("second.jpg") == b"second"
    assert all(layers.exists(f"{name}.jpg") for name in ("both", "first", "second"))


def test_a_file_that_is_there_but_broken_is_not_replaced(layers: LayeredStore) -> None:
    with pytest.raises(ItemError) as raised:
        layers.read("broken.jpg")
    assert str(raised.value) == "empty file"


def test_what_no_store_has_is_missing(layers: LayeredStore) -> None:
    for store in (layers, LayeredStore([])):
        with pytest.raises(ItemError) as raised:
            store.read("missing.jpg")
        assert str(raised.value) == "no such file"
        assert not store.exists("missing.jpg")


def test_a_store_without_an_answer_is_not_passed_over(tmp_path: Path) -> None:
    class Silent(ImageStore):
        def load(self, name: str) -> tuple[bytes, None]:
            raise UnreachableError(f"{name}: HTTP 503")

        def stamp(self, name: str) -> None:
            raise UnreachableError(f"{name}: HTTP 503")

        def exists(self, _: str) -> bool:
            raise StorageError("HTTP 503")

    (tmp_path / "a.jpg").write_bytes(b"another image, maybe")
    with pytest.raises(UnreachableError):
        LayeredStore([Silent(), LocalStore(tmp_path)]).read("a.jpg")


def test_an_image_is_asked_for_once_in_each_store(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"image")
    with serving_folder(tmp_path / "none") as empty, serving_folder(tmp_path) as web:
        assert LayeredStore([WebStore(empty.url), WebStore(web.url)]).read("a.jpg")
        assert (empty.asked, web.asked) == (["/a.jpg"], ["/a.jpg"])
