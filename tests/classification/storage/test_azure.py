from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import AccessError, ItemError, StorageError
from classification.storage import azure
from classification.storage.azure import AzureContainerStore
from classification.storage.retrying import Patience
from tests.faults import Fault, spoiling
from tests.web import Reply, serving

if TYPE_CHECKING:
    from tests.azurite import Azurite

QUICK = Patience(silence_s=5, tries=2, pause_s=0.01)
REFUSALS = (Fault.BUSY, Fault.BROKEN, Fault.RESET, Fault.SILENT)
BLOBS = {"a/1.jpg": b"one", "a/b/2.jpg": b"two", "a b/3 \N{BEAR FACE}.jpg": b"three"}


def open_store(url: str) -> AzureContainerStore:
    return AzureContainerStore(url, patience=QUICK)


@pytest.mark.parametrize("token", ["sv=1&sig=a%3D", "?sv=1&sig=a%3D"])
def test_a_container_has_an_address(token: str) -> None:
    url = "https://x.blob.core.windows.net/c?sv=1&sig=a%3D"
    assert azure.container_url("x", "c", token) == url
    assert azure.container_url("https://x.blob.core.windows.net/", "/c/", token) == url
    assert azure.container_url("x", "c") == "https://x.blob.core.windows.net/c"


def test_a_known_container_is_opened_by_the_environments_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "https://x.blob.core.windows.net/c"
    assert azure.with_token(url) == url
    monkeypatch.setenv(azure.ACCOUNT_VARIABLE, "x")
    monkeypatch.setenv(azure.CONTAINER_VARIABLE, "c")
    monkeypatch.setenv(azure.TOKEN_VARIABLE, "sv=1")
    assert azure.with_token(url) == azure.with_token(f"{url}/") == f"{url}?sv=1"
    assert azure.with_token(f"{url}?sv=2") == f"{url}?sv=2"
    assert azure.with_token(f"{url}2") == f"{url}2"


def test_all_names_are_listed_in_order(emulator: Azurite) -> None:
    url = emulator.with_token(emulator.container("names", BLOBS))
    assert list(open_store(url).names()) == sorted(BLOBS)
    assert list(open_store(url).names("a/")) == ["1.jpg", "b/2.jpg"]
    inner = url.replace("/names?", "/names/a?")
    assert list(open_store(inner).names()) == ["1.jpg", "b/2.jpg"]
    assert open_store(inner).read("b/2.jpg") == b"two"


def test_a_list_of_many_pages_is_whole(emulator: Azurite) -> None:
    blobs = {f"{number:04}.jpg": b"" for number in range(30)}
    url = emulator.with_token(emulator.container("pages", blobs))
    assert list(open_store(url).names()) == sorted(blobs)


@pytest.mark.parametrize("permission", ["r", "l"])
def test_an_expired_token_is_no_images_fault(
    emulator: Azurite, permission: str
) -> None:
    url = emulator.container("closed", BLOBS)
    store = open_store(emulator.with_token(url, permission, minutes=-5))
    for ask in (
        lambda: store.read("a/1.jpg"),
        lambda: store.exists("a/1.jpg"),
        lambda: list(store.names()),
    ):
        with pytest.raises(AccessError) as refused:
            ask()
        assert "sig=" not in str(refused.value)


def test_when_a_token_expired_is_said(emulator: Azurite) -> None:
    url = emulator.container("late", BLOBS)
    store = open_store(emulator.with_token(url, minutes=-5))
    with pytest.raises(AccessError, match="with a token that expired at 20"):
        store.read("a/1.jpg")


def test_a_token_that_may_not_list(emulator: Azurite) -> None:
    store = open_store(emulator.with_token(emulator.container("readable", BLOBS), "r"))
    assert store.read("a/1.jpg") == b"one"
    with pytest.raises(AccessError, match=r"the token has to allow lists \(sp=rl\)"):
        list(store.names())


def test_a_container_that_is_not_there_is_no_missing_image(emulator: Azurite) -> None:
    url = emulator.with_token(emulator.container("there", BLOBS))
    store = open_store(url.replace("/there?", "/nowhere?"))
    with pytest.raises(StorageError):
        store.read("a/1.jpg")
    with pytest.raises(StorageError):
        list(store.names())


def test_the_md5_of_blobs_is_known(emulator: Azurite) -> None:
    url = emulator.with_token(emulator.container("md5", BLOBS))
    store = AzureContainerStore(url, patience=QUICK, md5="require")
    assert store.read("a/1.jpg") == b"one"


def test_another_server_says_no_md5() -> None:
    with serving(Reply(b"image")) as web:
        assert AzureContainerStore(web.url, patience=QUICK).read("a.jpg") == b"image"
        store = AzureContainerStore(web.url, patience=QUICK, md5="require")
        with pytest.raises(ItemError, match="says no MD5"):
            store.read("a.jpg")


def test_bytes_that_were_changed_on_the_way_are_not_taken(emulator: Azurite) -> None:
    url = emulator.with_token(emulator.container("spoilt", {"a.jpg": b"image" * 99}))
    upstream, _, path = url.partition("/devstoreaccount1")
    for seed in range(12):
        with spoiling(upstream, 0.5, seed=seed) as proxy:
            store = AzureContainerStore(
                f"{proxy.url}/devstoreaccount1{path}",
                patience=Patience(silence_s=0.5, tries=20, pause_s=0.01),
                md5="require",
            )
            assert store.read("a.jpg") == b"image" * 99


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(b"<html>"), "the answer is no list of blobs"),
        (Reply(b"{}"), "the answer is no list of blobs"),
        (Reply(status=503), r"HTTP 503 .*\(try 2 of 2\)"),
        (Reply(status=404), "HTTP 404"),
    ],
)
def test_what_is_no_list_is_one_line(reply: Reply, said: str) -> None:
    with serving(reply) as web, pytest.raises(StorageError, match=said):
        list(open_store(f"{web.url}/c?sig=SECRET").names())


def test_a_list_is_asked_for_again(emulator: Azurite) -> None:
    url = emulator.with_token(emulator.container("again", BLOBS))
    upstream, _, path = url.partition("/devstoreaccount1")
    patience = Patience(silence_s=0.5, tries=20, pause_s=0.01)
    for seed in range(6):
        with spoiling(upstream, 0.5, seed=seed, faults=REFUSALS) as proxy:
            store = AzureContainerStore(
                f"{proxy.url}/devstoreaccount1{path}", patience=patience
            )
            assert list(store.names()) == sorted(BLOBS)
