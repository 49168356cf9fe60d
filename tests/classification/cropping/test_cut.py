from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classification.cropping.cut import Cut, Rectangle, Shape, plan, to_pixels
from classification.runtime.errors import ItemError
from detection.boxes import Box
from tests.world import photograph, pixels

sides = st.integers(1, 400)
sizes = st.tuples(sides, sides)


@st.composite
def boxes(draw: st.DrawFn, *, overhang: float = 0.0) -> Box:
    inside = st.floats(-overhang, 1 + overhang)
    left, right = sorted((draw(inside), draw(inside)))
    top, bottom = sorted((draw(inside), draw(inside)))
    return Box(left, top, right - left, bottom - top)


def planned(box: Box, size: tuple[int, int], shape: Shape) -> Cut | None:
    try:
        return plan(box, size, shape)
    except ItemError:
        return None


def holds(outer: Rectangle, inner: Rectangle) -> bool:
    return outer.around(inner) == outer


def is_inside(rectangle: Rectangle, size: tuple[int, int]) -> bool:
    return rectangle.clipped(size) == rectangle


@given(boxes(overhang=0.01), sizes)
def test_a_square_stays_inside_and_holds_its_box(
    box: Box, size: tuple[int, int]
) -> None:
    cut = planned(box, size, Shape.SQUARE)
    if cut is None:
        return
    inner = to_pixels(box, size).clipped(size)
    assert is_inside(cut.source, size)
    assert holds(cut.source, inner)
    assert cut.canvas == (max(inner.width, inner.height),) * 2


@given(boxes(overhang=0.01), sizes)
def test_d2_black_is_added_only_to_squares_larger_than_the_image(
    box: Box, size: tuple[int, int]
) -> None:
    cut = planned(box, size, Shape.SQUARE)
    if cut is None:
        return
    side = cut.canvas[0]
    assert (cut.source.width, cut.source.height) == (
        min(side, size[0]),
        min(side, size[1]),
    )
    gap = side - cut.source.width, side - cut.source.height
    assert all(
        abs(2 * o - g) <= 1 for o, g in zip(cut.offset, gap, strict=True)
    )  # centred


@given(boxes(), sizes)
def test_a_reference_square_that_stays_inside_is_the_square(
    box: Box, size: tuple[int, int]
) -> None:
    reference = planned(box, size, Shape.REFERENCE_SQUARE)
    square = planned(box, size, Shape.SQUARE)
    if reference is not None and is_inside(reference.source, size):
        assert reference == square


@given(boxes(), sizes)
def test_a_rectangle_is_the_box(box: Box, size: tuple[int, int]) -> None:
    cut = planned(box, size, Shape.RECTANGLE)
    rectangle = to_pixels(box, size)
    if cut is None:
        assert rectangle.area == 0
    else:
        assert cut == Cut(rectangle, (rectangle.width, rectangle.height))


@given(boxes(overhang=0.01), sizes, st.sampled_from(Shape))
@settings(max_examples=50)
def test_a_cut_renders_to_its_canvas(
    box: Box, size: tuple[int, int], shape: Shape
) -> None:
    cut = planned(box, size, shape)
    if cut is not None:
        assert cut.render(Image.new("RGB", size)).size == cut.canvas


def test_d2_a_square_at_the_right_edge_holds_no_black() -> None:
    size = (100, 100)
    box = Box(0.9, 0.3, 0.1, 0.4)
    white = Image.new("RGB", size, "white")
    square = plan(box, size, Shape.SQUARE)
    assert square.source == Rectangle(60, 30, 100, 70)
    assert pixels(square.render(white)).min() == 255
    reference = plan(box, size, Shape.REFERENCE_SQUARE)
    black = (pixels(reference.render(white)) == 0).all(axis=(0, 2))
    assert black.tolist() == [False] * 25 + [True] * 15


def test_d2_a_tall_box_in_a_narrow_image_keeps_its_left() -> None:
    size = (20, 100)
    scene = photograph(*size)
    cut = plan(Box(0.5, 0.0, 0.5, 1.0), size, Shape.SQUARE)
    crop = pixels(cut.render(scene))
    assert crop.shape == (100, 100, 3)
    assert np.array_equal(crop[:, 40:60], pixels(scene))
    assert not crop[:, :40].any()
    assert not crop[:, 60:].any()
    reference = plan(Box(0.5, 0.0, 0.5, 1.0), size, Shape.REFERENCE_SQUARE)
    assert reference.source == Rectangle(0, 0, 20, 100)


def test_numbers_are_cut_off_toward_zero() -> None:
    assert to_pixels(Box(0.199, 0.299, 0.509, 0.409), (100, 10)) == Rectangle(
        19, 2, 69, 6
    )


@pytest.mark.parametrize(
    ("shape", "width", "height", "expected"),
    [
        (Shape.RECTANGLE, 0.001, 0.5, "a box of 0 x 50 pixels holds no image"),
        (Shape.RECTANGLE, 0.5, 0.0, "a box of 50 x 0 pixels holds no image"),
        (Shape.SQUARE, 0.0, 0.001, "a box of 0 x 0 pixels holds no image"),
        (Shape.REFERENCE_SQUARE, 0.0, 0.0, "a box of 0 x 0 pixels holds no image"),
    ],
)
def test_a_box_without_pixels_has_a_reason(
    shape: Shape, width: float, height: float, expected: str
) -> None:
    with pytest.raises(ItemError) as caught:
        plan(Box(0.2, 0.2, width, height), (100, 100), shape)
    assert str(caught.value) == expected


@pytest.mark.parametrize("shape", [Shape.SQUARE, Shape.REFERENCE_SQUARE])
def test_a_thin_box_has_a_square(shape: Shape) -> None:
    cut = plan(Box(0.5, 0.2, 0.001, 0.1), (100, 100), shape)
    assert cut.source == Rectangle(45, 20, 55, 30)


def test_a_cut_of_a_part_is_the_cut_of_the_whole() -> None:
    scene = photograph(60, 50)
    cut = Cut(Rectangle(10, 20, 40, 45), (30, 25))
    part = scene.crop((5, 15, 45, 50))
    assert pixels(cut.render(part, left=5, top=15)).tolist() == (
        pixels(cut.render(scene)).tolist()
    )


def test_rectangles_grow_move_and_join() -> None:
    one = Rectangle(1, 2, 5, 9)
    assert (one.width, one.height, one.area) == (4, 7, 28)
    assert one.grown(2) == Rectangle(-1, 0, 7, 11)
    assert one.grown(2).clipped((6, 10)) == Rectangle(0, 0, 6, 10)
    assert one.moved(-1, 1) == Rectangle(0, 3, 4, 10)
    assert one.around(Rectangle(0, 3, 4, 10)) == Rectangle(0, 2, 5, 10)
