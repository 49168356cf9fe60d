from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classification.megadb import (
    finishing,
)
from classification.megadb import staging as tables
from classification.runtime.errors import ConfigurationError
from taxonomy.graph import normal
from tests.classification.megadb.worlds import NAME, World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_d7_labels_are_lower_case_and_stand_once(world: World) -> None:
    world.image("a.jpg")
    world.label("a.jpg", " Puma\u00a0")
    world.label("a.jpg", "puma")
    world.label("a.jpg", "Elk, or Deer/Moose")
    assert world.finish().labels == 2
    assert world.column("labels") == {"a.jpg": ["elk, or deer/moose", "puma"]}


@settings(max_examples=8)
@given(st.lists(st.text(), min_size=1, max_size=40))
@example(["\u0130STANBUL", "STRASSE\u1e9e", "\u03a3\u03a3", "\u001fx\u0085", "\u2003"])
def test_labels_are_those_that_names_are_compared_by(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str]
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    world.image("a.jpg")
    for label in labels:
        world.label("a.jpg", label)
    world.finish()
    expected = sorted({normal(label) for label in labels} - {""})
    assert world.column("labels") == {"a.jpg": expected}
    empty = sum(not normal(label) for label in labels)
    assert world.left_out() == [("label", "a.jpg", "an empty label")] * empty


def test_a_label_of_an_unknown_image_is_listed(world: World) -> None:
    world.image("a.jpg")
    world.image("b.mp4")
    world.label("a.jpg", "elk")
    world.label("nobody", "Elk")
    world.label("b.mp4", "elk")
    imported = world.finish()
    assert ("label", "nobody: elk", finishing.UNKNOWN_ID) in world.left_out()
    assert imported.left_out == {
        "image: not an image file": 1,
        f"label: {finishing.UNKNOWN_ID}": 1,
    }


def test_the_level_is_the_images_where_one_label_is(world: World) -> None:
    for file in ("a.jpg", "b.jpg", "c.jpg"):
        world.image(file)
    world.label("a.jpg", "elk", "sequence")
    world.label("b.jpg", "elk", "sequence")
    world.label("b.jpg", "deer", "image")
    world.finish()
    expected = {"a.jpg": "sequence", "b.jpg": "image", "c.jpg": None}
    assert world.column("label_level") == expected


def test_what_an_importer_skipped_is_listed(world: World) -> None:
    world.image("a.jpg")
    for number in (17, 3):
        skipped = {"item": f"annotations[{number}]", "reason": "4 numbers expected"}
        world.add(tables.SKIPPED, skipped)
    imported = world.finish()
    assert world.left_out() == [
        ("source", "annotations[3]", "4 numbers expected"),
        ("source", "annotations[17]", "4 numbers expected"),
    ]
    assert imported.left_out == {"source: 4 numbers expected": 2}
    assert imported.images_left_out == 0


def test_a_source_without_images_is_refused(world: World) -> None:
    skipped = {"item": "row 2", "reason": "no file name"}
    world.add(tables.SKIPPED, skipped)
    with pytest.raises(ConfigurationError) as refusal:
        world.finish()
    assert str(refusal.value) == f"{NAME}: no images; 1 x no file name"
    assert list(world.folder.iterdir()) == []
