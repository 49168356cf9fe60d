from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from classification.megadb import (
    locations,
)
from tests.classification.megadb.worlds import World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_d9_a_number_and_its_text_are_one_location(world: World) -> None:
    world.image("a.jpg", location="13")
    world.image("b.jpg", location=" 13\n")
    world.image("c.jpg", location=" ")
    imported = world.finish()
    assert world.column("location") == {"a.jpg": "13", "b.jpg": "13", "c.jpg": None}
    assert (imported.locations, imported.unlocated) == (1, 1)


def _moments(world: World, files: Mapping[str, str | None], **known: object) -> None:
    for file, moment in files.items():
        time = datetime.fromisoformat(moment) if moment else None
        world.image(file, datetime=time, **known)


def test_a_location_by_day_keeps_a_burst_over_midnight_together(world: World) -> None:
    burst = {"a2.jpg": "2012-05-09 00:00:01", "a1.jpg": "2012-05-08 23:59:59"}
    _moments(world, {**burst, "a3.jpg": None}, location="SITE", sequence="s1")
    # The same id at another site is another sequence.
    _moments(world, {"b.jpg": "2012-05-09 00:00:01"}, location="B", sequence="s1")
    _moments(world, {"c.jpg": "2012-05-09 00:00:01"}, location="SITE")
    _moments(world, {"d.jpg": "2012-05-09 00:00:01"})
    _moments(world, {"e.jpg": None}, location="SITE")
    imported = world.finish(locations.DAY)
    assert world.column("location") == {
        "a1.jpg": "SITE@2012-05-08",
        "a2.jpg": "SITE@2012-05-08",
        "a3.jpg": "SITE@2012-05-08",
        "b.jpg": "B@2012-05-09",
        "c.jpg": "SITE@2012-05-09",
        "d.jpg": "2012-05-09",
        "e.jpg": "SITE",
    }
    assert (imported.sequences, imported.straddling) == (2, 1)


def test_a_location_by_folder_is_that_of_the_sequences_first_image(
    world: World,
) -> None:
    _moments(
        world,
        {"x/2.jpg": "2012-05-09", "y/z/1.jpg": "2012-05-08", "a/3.jpg": None},
        sequence="s",
    )
    world.image("b/2.jpg", sequence="t", frame=2)
    world.image("c/1.jpg", sequence="t", frame=1)
    world.image("a/0.jpg", sequence="t")
    world.image("d/1.jpg")
    world.image("top.jpg")
    world.finish(locations.FOLDER)
    assert world.column("location") == {
        **dict.fromkeys(["x/2.jpg", "y/z/1.jpg", "a/3.jpg"], "y/z"),
        **dict.fromkeys(["a/0.jpg", "b/2.jpg", "c/1.jpg"], "c"),
        "d/1.jpg": "d",
        "top.jpg": None,
    }


def test_a_location_by_sequence_is_within_its_site(world: World) -> None:
    world.image("a.jpg", sequence="1", location="A")
    world.image("b.jpg", sequence="1", location="B")
    world.image("c.jpg", sequence="1")
    world.image("d.jpg", location="A")
    world.finish(locations.SEQUENCE)
    expected = {"a.jpg": "A@1", "b.jpg": "B@1", "c.jpg": "1", "d.jpg": None}
    assert world.column("location") == expected


def test_a_token_in_a_url_is_not_kept(world: World) -> None:
    world.image("a.jpg", url="https://x/c/a.jpg?sv=1&sig=secret")
    world.image("b.jpg", url="https://x/b.jpg?size=2")
    world.finish()
    assert world.column("url") == {
        "a.jpg": "https://x/c/a.jpg",
        "b.jpg": "https://x/b.jpg?size=2",
    }
