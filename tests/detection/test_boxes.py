from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.boxes import Box, intersection_over_union

fractions = st.floats(0, 1)
anything = st.floats(allow_nan=False, allow_infinity=False)
boxes = st.builds(Box.from_corners, fractions, fractions, fractions, fractions)


@given(anything, anything, anything, anything)
def test_a_box_from_corners_stays_inside(
    left: float, top: float, right: float, bottom: float
) -> None:
    box = Box.from_corners(left, top, right, bottom)
    assert 0 <= box.left <= 1
    assert 0 <= box.top <= 1
    assert 0 <= box.width <= 1
    assert 0 <= box.height <= 1
    assert box.right <= 1
    assert box.bottom <= 1


@pytest.mark.parametrize(
    ("corners", "box"),
    [
        ((0.25, 0.5, 0.75, 1.0), (0.25, 0.5, 0.5, 0.5)),
        ((-1.0, -0.5, 0.5, 2.0), (0.0, 0.0, 0.5, 1.0)),
        ((0.5, 0.5, 0.25, 0.25), (0.5, 0.5, 0.0, 0.0)),
        ((1.5, 0.0, 2.0, 1.0), (1.0, 0.0, 0.0, 1.0)),
        ((math.nan, 0.0, 0.5, 1.0), (0.0, 0.0, 0.5, 1.0)),
    ],
)
def test_corners_are_clipped(
    corners: tuple[float, float, float, float], box: tuple[float, float, float, float]
) -> None:
    assert Box.from_corners(*corners) == Box(*box)


def test_edges() -> None:
    box = Box(0.25, 0.5, 0.5, 0.25)
    assert (box.right, box.bottom) == (0.75, 0.75)


def test_in_json_it_is_a_list() -> None:
    box = Box(0.25, 0.5, 0.5, 0.25)
    assert msgspec.json.encode(box) == b"[0.25,0.5,0.5,0.25]"
    assert msgspec.json.decode(b"[0.25,0.5,0.5,0.25]", type=Box) == box


def test_a_rounding_error_is_let_in() -> None:
    assert msgspec.json.decode(b"[-0.0001,0,1.0001,1]", type=Box).width == 1.0001


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "[0,0,1]",
        "[0,0,1,1,1]",
        "[-0.1,0,1,1]",
        "[0,0,1.1,1]",
        "[0,0,1,null]",
        '[0,0,1,"1"]',
        "{}",
        "null",
        "[0,0,1,1e999]",
    ],
)
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text.encode(), type=Box)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Box(0, 0, 1, 1), Box(0, 0, 1, 1), 1.0),
        (Box(0, 0, 0.5, 1), Box(0.5, 0, 0.5, 1), 0.0),
        (Box(0, 0, 0.5, 0.5), Box(0.25, 0, 0.5, 0.5), 1 / 3),
        (Box(0, 0, 1, 1), Box(0.25, 0.25, 0.5, 0.5), 0.25),
        (Box(0, 0, 0, 0), Box(0, 0, 0, 0), 0.0),
        (Box(0, 0, 0.1, 0.1), Box(0.9, 0.9, 0.1, 0.1), 0.0),
    ],
)
def test_shared_over_joint_area(one: Box, other: Box, expected: float) -> None:
    assert intersection_over_union(one, other) == pytest.approx(expected)


@given(boxes, boxes)
def test_shared_over_joint_area_is_a_symmetric_fraction(one: Box, other: Box) -> None:
    shared = intersection_over_union(one, other)
    assert 0 <= shared <= 1
    assert shared == intersection_over_union(other, one)


@given(boxes.filter(lambda box: box.width > 1e-6 and box.height > 1e-6))
def test_a_box_shares_all_with_itself(box: Box) -> None:
    assert intersection_over_union(box, box) == pytest.approx(1)
