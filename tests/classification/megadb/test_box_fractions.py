from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.megadb import (
    box_fractions,
    finishing,
)
from classification.megadb import staging as tables
from detection.boxes import Box
from tests.classification.megadb.worlds import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_boxes_become_fractions(world: World) -> None:
    world.image("a.jpg", width=200, height=100)
    world.image("b.jpg", width=200, height=100)
    world.image("c.jpg")
    world.box("a.jpg", 20, 10, 40, 50)
    world.box("a.jpg", 0.347, 0.237, 0.257, 0.258, relative=True)
    world.boxed("a.jpg", "b.jpg", "a.jpg")
    assert world.finish().boxed == 2
    assert world.column("boxes") == {
        "a.jpg": [
            {"category": "animal", "bbox": [0.1, 0.1, 0.2, 0.5]},
            {"category": "animal", "bbox": [0.347, 0.237, 0.257, 0.258]},
        ],
        "b.jpg": [],
        "c.jpg": None,
    }


def test_a_box_that_reaches_out_is_cut(world: World) -> None:
    world.image("a.jpg", width=100, height=100)
    world.box("a.jpg", -10, 20, 30, 30)
    world.box("a.jpg", 90, 90, 10.0001, 10)
    world.boxed("a.jpg")
    world.finish()
    first, second = (box["bbox"] for box in world.column("boxes")["a.jpg"])
    assert first == pytest.approx([0, 0.2, 0.2, 0.3])
    assert second == pytest.approx([0.9, 0.9, 0.1, 0.1])
    assert world.left_out() == [("box", "a.jpg", box_fractions.CUT)]


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((10, 10, -5, 5), "width and height are not above 0"),
        ((10, 10, 0, 5), "width and height are not above 0"),
        ((nan, 10, 5, 5), "four numbers expected"),
        ((10, 10, inf, 5), "four numbers expected"),
        ((None, 10, 5, 5), "four numbers expected"),
        ((100, 10, 5, 5), "outside of its image"),
        ((-5, 10, 5, 5), "outside of its image"),
    ],
)
def test_an_image_that_loses_a_box_counts_as_one_without_boxes(
    world: World, numbers: tuple[float, ...], reason: str
) -> None:
    world.image("a.jpg", width=100, height=100)
    world.box("a.jpg", 1, 1, 5, 5)
    world.box("a.jpg", *numbers)
    world.boxed("a.jpg")
    world.finish()
    assert world.column("boxes") == {"a.jpg": None}
    assert world.left_out() == [("box", "a.jpg", reason)]


def test_boxes_in_pixels_need_the_size_of_their_image(world: World) -> None:
    world.image("a.jpg", width=0, height=100)
    world.box("a.jpg", 1, 1, 5, 5)
    world.boxed("a.jpg")
    world.finish()
    reason = "in pixels, but the size of its image is unknown"
    assert world.left_out() == [("box", "a.jpg", reason)]
    assert world.column("width") == {"a.jpg": None}


def test_boxes_without_a_category_or_an_image_are_listed(world: World) -> None:
    world.image("a.jpg")
    world.image("b.jpg")
    for category in (None, " "):
        world.box("a.jpg", 0, 0, 1, 1, relative=True)
        world.rows[tables.BOXES][-1]["category"] = category
    world.box("b.jpg", 0, 0, 1, 1, relative=True)
    world.box("nobody", 0, 0, 1, 1, relative=True)
    world.boxed("a.jpg", "nobody", "no one")
    world.finish()
    assert world.left_out() == [
        ("box", "a.jpg", "no category"),
        ("box", "a.jpg", "no category"),
        ("box", "b.jpg", "not all boxes of its image are drawn"),
        ("box", "nobody", finishing.UNKNOWN_ID),
        ("box", "no one", finishing.UNKNOWN_ID),
    ]


numbers = st.floats(-1.5, 1.5, allow_nan=False)


@settings(max_examples=8)
@given(st.lists(st.tuples(*[numbers] * 4), max_size=30))
def test_every_box_is_the_part_of_it_that_its_image_holds(
    tmp_path_factory: pytest.TempPathFactory,
    rectangles: list[tuple[float, float, float, float]],
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    for number, rectangle in enumerate(rectangles):
        world.image(f"{number}.jpg")
        world.box(f"{number}.jpg", *rectangle, relative=True)
        world.boxed(f"{number}.jpg")
    world.image("none.jpg")
    world.finish()
    found = world.column("boxes")
    for number, (x, y, w, h) in enumerate(rectangles):
        part = Box.from_corners(x, y, x + w, y + h)
        boxes = found[f"{number}.jpg"]
        if w <= 0 or h <= 0 or x >= 1 or y >= 1 or x + w <= 0 or y + h <= 0:
            assert boxes is None
        else:
            expected = (part.left, part.top, part.width, part.height)
            assert boxes[0]["bbox"] == pytest.approx(expected)
