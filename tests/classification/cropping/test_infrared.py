"""Infrared pictures have no colour of their own, whatever their tint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from classification.cropping import infrared
from tests.world import photograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINTS = st.tuples(*[st.floats(0.3, 1.0)] * 3)


def grey(height: int = 40, width: int = 50) -> NDArray[np.float64]:
    rows = np.random.default_rng(0).integers(0, 256, (height, width, 1))
    return np.broadcast_to(rows, (height, width, 3)).astype(np.float64)


def is_grey(pixels: NDArray[np.uint8]) -> bool:
    return infrared.own_colour(pixels) < infrared.GREY


@given(TINTS)
def test_a_picture_of_one_tint_is_grey(tint: tuple[float, float, float]) -> None:
    assert is_grey((grey() * tint).astype(np.uint8))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 255))
def test_an_even_picture_of_any_size_is_grey(
    height: int, width: int, level: int
) -> None:
    pixels = np.full((height, width, 3), level, np.uint8)
    assert infrared.own_colour(pixels) == 0
    assert is_grey(pixels)


def test_a_picture_in_colours_is_not() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    assert infrared.own_colour(pixels) > 50
    assert not is_grey(pixels)


def test_half_green_half_brown_is_not_grey() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16], pixels[:, 16:] = (60, 90, 40), (90, 60, 40)
    assert not is_grey(pixels)


def test_a_caption_in_colours_at_the_edge_does_not_count() -> None:
    pixels = grey(40, 50).astype(np.uint8)
    pixels[:4] = (200, 20, 20)
    assert is_grey(pixels)
    pixels[:12] = (200, 20, 20)
    assert not is_grey(pixels)


def test_the_noise_of_a_jpeg_is_no_colour() -> None:
    noise = np.random.default_rng(1).normal(0, 0.6, (40, 50, 3))
    pixels = (grey() * 0.8 + 20 + noise).round().astype(np.uint8)
    assert infrared.own_colour(pixels) == pytest.approx(1.1, abs=0.3)
    assert is_grey(pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (40, 30), (64, 64), (700, 500)])
def test_a_picture_of_any_size_is_made_small(size: tuple[int, int]) -> None:
    scene = photograph().resize(size)
    night = Image.merge("RGB", [scene.convert("L")] * 3)
    assert infrared.colour_of(night) == 0
    if min(size) > 1:
        assert infrared.colour_of(scene) > 10


def test_what_is_small_enough_is_measured_as_it_is() -> None:
    scene = photograph(60, 40)
    assert infrared.colour_of(scene) == infrared.own_colour(np.asarray(scene))
