from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.cropping.existing import ExistingCrops
from classification.runtime.errors import StorageError
from classification.storage.holdings import Holdings, open_holdings
from classification.storage.places import Place
from classification.storage.retrying import Patience
from tests.web import Reply, serving, serving_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azurite import Azurite

QUICK = Patience(silence_s=5, tries=2, pause_s=0.01)
NAMES = ["a/1.jpg", "a/2.jpg", "b 3.jpg", "a/4.jpg"]
HELD = [True, False, True, False]


def holdings(place: Place) -> Holdings:
    return open_holdings(place, "d", listing=ExistingCrops, patience=QUICK, threads=4)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, is_held in zip(NAMES, HELD, strict=True):
        if is_held:
            path = tmp_path / "images" / "d" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path / "images"


def test_what_a_folder_holds(images: Path) -> None:
    assert holdings(Place(str(images))).hold(NAMES) == HELD
    assert holdings(Place(str(images / "d"), "d")).hold(NAMES) == HELD


def test_d10_a_folder_out_of_reach_holds_who_knows_what(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such folder: "):
        holdings(Place(str(tmp_path / "unplugged"))).hold(NAMES)


def test_what_a_server_holds(images: Path) -> None:
    with serving_folder(images) as web:
        assert holdings(Place(web.url)).hold(NAMES) == HELD
        assert holdings(Place(f"{web.url}/d", "d")).hold(NAMES) == HELD


def test_d10_a_server_that_does_not_answer_holds_who_knows_what() -> None:
    with serving(Reply(status=503)) as web, pytest.raises(StorageError, match="503"):
        holdings(Place(web.url)).hold(NAMES)


def test_what_a_container_holds_is_listed_once(emulator: Azurite) -> None:
    held = [name for name, is_held in zip(NAMES, HELD, strict=True) if is_held]
    blobs = {f"d/{name}": b"x" for name in held} | {"e/a/2.jpg": b"x", "a/4.jpg": b"x"}
    url = emulator.with_token(emulator.container("holdings", blobs))
    shared = holdings(Place(url, is_container=True))
    assert shared.hold(NAMES[:2]) == HELD[:2]
    assert shared.hold(NAMES[2:]) == HELD[2:]
    own = Place(url.replace("/holdings?", "/holdings/d?"), "d", is_container=True)
    assert holdings(own).hold(NAMES) == HELD
