from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts.splits import Location
from classification.megadb import holding
from classification.megadb.reading import MetadataStore
from tests import world

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ONE, TWO = Location("d", "1"), Location("e", "1")
IMAGES = [
    ("d/p/a.jpg", ONE),
    ("x/a.jpg", Location("x", "1")),
    ("e/p/b.jpg", TWO),
    ("d/p/c.jpg", ONE),
]


def hold(tmp_path: Path) -> tuple[holding.Held, list[tuple[object, ...]]]:
    rows = {"d": [{"file": "a.jpg"}], "e": [{"file": "b.jpg"}]}
    folder = world.write_store(tmp_path / "megadb", rows, path_prefix="p")
    with MetadataStore.open(folder, work_dir=tmp_path / "work") as store:
        held = holding.hold(store, IMAGES)
        query = "SELECT * FROM held ORDER BY number"
        return held, store.connection.execute(query).fetchall()


def test_images_are_called_as_the_store_calls_them(tmp_path: Path) -> None:
    held, rows = hold(tmp_path)
    assert rows == [(0, 0, "a.jpg", 0), (2, 1, "b.jpg", 1), (3, 0, "c.jpg", 0)]
    assert held == holding.Held((ONE, TWO), images=4, unknown=1)


def test_blocks_are_numbered_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = hold(tmp_path / "whole")
    monkeypatch.setattr(holding, "_BLOCK_IMAGES", 1)
    assert hold(tmp_path / "parts") == whole
