from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import AccessError, ItemError, StorageError
from classification.storage.download import Patience
from classification.storage.web import WebStore
from tests.web import Reply, Web, serving, serving_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = Patience(silence_s=5, tries=2, pause_s=0.01)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    folder = tmp_path / "served" / "images"
    (folder / "a").mkdir(parents=True)
    for name in ("a/b c.jpg", "a/50% #1?.jpg", "\N{BEAR FACE}.jpg"):
        (folder / name).write_bytes(name.encode())
    (tmp_path / "outside.jpg").write_bytes(b"outside")
    with serving_folder(tmp_path / "served") as found:
        yield found


@pytest.mark.parametrize("name", ["a/b c.jpg", "a/50% #1?.jpg", "\N{BEAR FACE}.jpg"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_an_image_is_its_bytes(web: Web, name: str, slash: str) -> None:
    store = WebStore(f"{web.url}/images{slash}", patience=QUICK)
    assert store.read(name) == name.encode()
    assert store.exists(name)


def test_what_is_not_there_has_a_reason(web: Web) -> None:
    store = WebStore(f"{web.url}/images", patience=QUICK)
    with pytest.raises(ItemError, match=r"^no such file$"):
        store.read("a/z.jpg")
    assert not store.exists("a/z.jpg")


@pytest.mark.parametrize(
    "name", ["", "/etc/hostname", "../outside.jpg", "a/../../outside.jpg", ".."]
)
def test_no_name_leaves_the_address(web: Web, name: str) -> None:
    store = WebStore(f"{web.url}/images", patience=QUICK)
    with pytest.raises(ItemError, match="names no file below"):
        store.read(name)
    assert not store.exists(name)
    assert web.asked == []


def test_a_token_stays_at_the_end_and_is_not_shown() -> None:
    with serving(Reply(status=403)) as web:
        store = WebStore(f"{web.url}/c?sv=1&sig=SECRET", patience=QUICK)
        with pytest.raises(AccessError) as raised:
            store.read("a/b.jpg")
        assert web.asked == ["/c/a/b.jpg?sv=1&sig=SECRET"]
    assert str(raised.value) == (
        f"{web.url} lets nobody in with this token: HTTP 403 Forbidden"
    )


def test_a_name_that_is_no_text_keeps_its_bytes() -> None:
    store = WebStore("https://example.org/x", patience=QUICK)
    url = store.url_of(os.fsdecode(b"caf\xe9.jpg"))
    assert url == "https://example.org/x/caf%E9.jpg"


def test_an_empty_file_cannot_be_read() -> None:
    with serving(Reply()) as web, pytest.raises(ItemError, match=r"^empty file$"):
        WebStore(web.url, patience=QUICK).read("a.jpg")


def test_d38_a_server_that_does_not_answer_is_no_missing_image() -> None:
    with serving(Reply(status=503)) as web:
        store = WebStore(web.url, patience=QUICK)
        with pytest.raises(StorageError, match=r"HTTP 503 .* \(try 2 of 2\)"):
            store.read("a.jpg")
        with pytest.raises(StorageError):
            store.exists("a.jpg")
        assert len(web.asked) == 4
