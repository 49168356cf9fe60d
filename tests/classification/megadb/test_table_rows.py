from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet

from classification.artifacts import image_table, left_out
from classification.megadb import (
    locations,
    table_rows,
)
from classification.megadb import staging as tables
from tests.classification.megadb.worlds import NAME, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from classification.artifacts.dataset_list import LocationRule


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_rows_are_sorted_and_hold_what_was_staged(world: World) -> None:
    moment = datetime(2012, 5, 8, 19, 23, 36)  # noqa: DTZ001 - a camera's clock has no zone
    world.image(
        *("b/2.JPG",),
        location="13",
        sequence="s",
        frame=2,
        datetime=moment,
        width=2048,
        height=1494,
        url="https://x/2",
        rights="CC0",
    )
    world.image("b/10.jpg", location="13")
    world.image("B.jpg")
    world.label("b/2.JPG", "elk")
    imported = world.finish()
    assert world.table()[2] == {
        "dataset": NAME,
        "file": "b/2.JPG",
        "location": "13",
        "sequence": "s",
        "frame": 2,
        "datetime": moment,
        "width": 2048,
        "height": 1494,
        "labels": ["elk"],
        "label_level": "image",
        "boxes": None,
        "url": "https://x/2",
        "rights": "CC0",
    }
    assert [row["file"] for row in world.table()] == ["B.jpg", "b/10.jpg", "b/2.JPG"]
    assert (imported.images, imported.locations, imported.unlocated) == (3, 1, 1)
    assert world.left_out() == []


def test_the_schema_is_the_formats(world: World) -> None:
    world.image("a.jpg")
    world.finish()
    path = image_table.path_of(world.folder, NAME)
    assert parquet.read_schema(path).equals(image_table.schema())


def _fill(world: World, order: Sequence[int]) -> None:
    start = datetime(2020, 1, 1)  # noqa: DTZ001 - a camera's clock has no zone
    for number in order:
        file = f"{number % 7}/{number}.jpg"
        said = {
            "row": number,
            "id": f"id{number % 190}",
            "sequence": f"s{number // 3}",
            "location": f"{number // 9}",
            "datetime": start + timedelta(minutes=37 * number),
        }
        world.image(file, **said)
        world.label(f"id{number}", f"label {number % 5}")
        world.rows[tables.LABELS][-1]["row"] = number
        world.box(f"id{number}", 0.1, 0.1, 0.1 + number % 3 / 2, 0.2, relative=True)
        world.rows[tables.BOXES][-1]["row"] = number
        world.boxed(f"id{number}")


@pytest.mark.parametrize("rule", locations.RULES)
def test_bytes_depend_on_neither_threads_nor_the_order_of_staging(
    tmp_path: Path, rule: LocationRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "_ROWS", 64)
    one, other = World(tmp_path / "one"), World(tmp_path / "other")
    _fill(one, range(200))
    _fill(other, range(199, -1, -1))
    assert one.finish(rule, threads=1) == other.finish(rule, threads=4)
    for path in (image_table.path_of, left_out.path_of):
        written = path(one.folder, NAME).read_bytes()
        assert written == path(other.folder, NAME).read_bytes()
    assert len(one.table()) == 190
