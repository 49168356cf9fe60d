from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.boxes import Box
from detection.detectors.letterbox import Letterbox, Placement, rounded_box

SQUARE = Letterbox(width_px=640, height_px=640)


def test_a_wide_image_is_centred_between_bars() -> None:
    assert SQUARE.place(1280, 720) == Placement(0, 140, 640, 360, 640, 640)


def test_a_tall_image_is_centred_too() -> None:
    assert SQUARE.place(720, 1280) == Placement(140, 0, 360, 640, 640, 640)


def test_yolox_puts_it_top_left() -> None:
    box = Letterbox(width_px=640, height_px=640, centred=False)
    assert box.place(1280, 720) == Placement(0, 0, 640, 360, 640, 640)


def test_the_frame_shrinks_to_the_next_stride() -> None:
    box = Letterbox(width_px=1280, height_px=1280, stride_px=64)
    assert box.place(2048, 1536) == Placement(0, 0, 1280, 960, 1280, 960)
    assert box.place(1920, 1080) == Placement(0, 24, 1280, 720, 1280, 768)


def test_a_small_image_is_enlarged() -> None:
    assert SQUARE.place(64, 32) == Placement(0, 160, 640, 320, 640, 640)


def test_a_sliver_keeps_a_pixel() -> None:
    assert SQUARE.place(10_000, 1).height == 1


def test_pixels_lie_where_the_placement_says() -> None:
    image = np.full((32, 64, 3), (255, 51, 0), dtype=np.uint8)
    frame = Letterbox(width_px=64, height_px=64).apply(image)
    assert frame.shape == (3, 64, 64)
    assert frame.dtype == np.float32
    np.testing.assert_allclose(frame[:, 16, 0], [1, 0.2, 0], atol=1e-6)
    np.testing.assert_allclose(frame[:, 47, 63], [1, 0.2, 0], atol=1e-6)
    np.testing.assert_allclose(frame[:, 15, 0], [114 / 255] * 3, atol=1e-6)
    np.testing.assert_allclose(frame[:, 48, 0], [114 / 255] * 3, atol=1e-6)


def test_yolox_pixels_stay_undivided_and_may_be_blue_first() -> None:
    box = Letterbox(
        width_px=64, height_px=64, centred=False, fill=0, divisor=1.0, channels="BGR"
    )
    frame = box.apply(np.full((32, 64, 3), (255, 51, 0), dtype=np.uint8))
    assert frame[:, 0, 0].tolist() == [0, 51, 255]
    assert frame[:, 40, 0].tolist() == [0, 0, 0]


def test_a_shrunk_image_is_averaged() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    frame = Letterbox(width_px=32, height_px=32, divisor=1.0).apply(stripes)
    assert frame.min() > 50
    assert frame.max() < 150


def test_the_image_is_left_alone() -> None:
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image.flags.writeable = False
    Letterbox(width_px=64, height_px=64).apply(image)


def test_corners_in_the_frame_become_fractions_of_the_image() -> None:
    place = SQUARE.place(1280, 720)
    corners = np.array([64, 140 + 36, 320, 140 + 180], dtype=np.float32)
    assert place.to_box(corners) == Box(0.1, 0.1, 0.4, 0.4)


def test_what_sticks_out_is_cut_off() -> None:
    place = SQUARE.place(1280, 720)
    assert place.to_box(np.array([-9, 0, 700, 640], dtype=np.float32)) == Box(
        0, 0, 1, 1
    )
    beside = place.to_box(np.array([0, 0, 640, 100], dtype=np.float32))
    assert beside.height == 0


def test_an_infinite_box_is_the_image() -> None:
    inf = float("inf")
    assert rounded_box(-inf, -inf, inf, inf) == Box(0, 0, 1, 1)


@given(
    st.tuples(*[st.floats(-0.5, 1.5)] * 2).map(sorted),
    st.tuples(*[st.floats(-0.5, 1.5)] * 2).map(sorted),
)
def test_rounded_boxes_stay_inside(x: list[float], y: list[float]) -> None:
    box = rounded_box(x[0], y[0], x[1], y[1])
    assert 0 <= box.left <= box.right <= 1
    assert 0 <= box.top <= box.bottom <= 1
    assert all(round(side, 4) == side for side in (box.left, box.width, box.height))


def test_rounding_both_halves_up_does_not_leave_the_image() -> None:
    assert rounded_box(0.33335, 0, 1, 1).right == 1


@settings(max_examples=50)
@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.sampled_from([None, 32, 64]),
    st.booleans(),
)
def test_the_image_always_fits(
    width: int, height: int, stride: int | None, centred: bool
) -> None:
    box = Letterbox(width_px=640, height_px=640, stride_px=stride, centred=centred)
    place = box.place(width, height)
    assert 0 <= place.left <= place.left + place.width <= place.frame_width <= 640
    assert 0 <= place.top <= place.top + place.height <= place.frame_height <= 640
    if stride:
        assert place.frame_width % stride == place.frame_height % stride == 0


@pytest.mark.parametrize("centred", [False, True])
def test_a_corner_of_the_image_is_a_corner_of_the_box(centred: bool) -> None:
    place = Letterbox(width_px=640, height_px=640, centred=centred).place(1000, 333)
    corners = np.array(
        [
            place.left,
            place.top,
            place.left + place.width / 2,
            place.top + place.height / 2,
        ],
        dtype=np.float32,
    )
    assert place.to_box(corners) == Box(0, 0, 0.5, 0.5)
