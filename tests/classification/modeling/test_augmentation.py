from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from classification.modeling import augmentation, preprocessing, sampling
from tests.world import photograph, pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    from classification.modeling.augmentation import Pixels

SIDE = 32
COUNT = 1500


def draws(count: int, *, seed: int = 0) -> list[list[float]]:
    numbers = sampling.uniforms(
        np.arange(count), augmentation.DRAWS, seed=seed, epoch=0
    )
    rows: list[list[float]] = numbers.tolist()
    return rows


def ours(name: str, crop: Pixels, count: int = COUNT) -> Pixels:
    return np.stack(
        [augmentation.augment(name, crop, SIDE, row) for row in draws(count)]
    )


@pytest.fixture(scope="module")
def gradient() -> Pixels:
    """Returns a crop that tells where each pixel came from: red by x, green by y."""
    y, x = np.mgrid[0:90, 0:120]
    levels = [80 + 100 * x / 119, 80 + 100 * y / 89, np.full(x.shape, 40)]
    return np.stack(levels, axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def originals(gradient: Pixels) -> Pixels:
    """Returns what torchvision makes of it by the description of the original."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIDE, interpolation=Image.Resampling.BILINEAR),
            v2.RandomRotation((-90, 90)),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomVerticalFlip(0.1),
            v2.RandomGrayscale(0.1),
            v2.ColorJitter(0.25, 0.25, 0.25, 0),
        ]
    )
    state, others = torch.get_rng_state(), random.getstate()
    torch.manual_seed(0)
    random.seed(0)
    crop = Image.fromarray(gradient)
    made = np.stack([np.asarray(transform(crop)) for _ in range(COUNT)])
    torch.set_rng_state(state)
    random.setstate(others)
    return made


def is_black(images: Pixels) -> Pixels:
    return images.max(axis=-1) < 10


def share_of_black(images: Pixels) -> Pixels:
    return is_black(images).mean(axis=(1, 2))


def is_grey(images: Pixels) -> Pixels:
    return np.ptp(images.astype(int), axis=-1).max(axis=(1, 2)) <= 2


def colour_of_the_middle(images: Pixels) -> Pixels:
    middle = images[:, SIDE // 2 - 2 : SIDE // 2 + 2, SIDE // 2 - 2 : SIDE // 2 + 2]
    return middle.mean(axis=(1, 2))


def slope(images: Pixels, axis: int, channel: int) -> Pixels:
    """Returns how a channel rises along an axis in the middle of each image."""
    quarter = slice(SIDE // 2 - 6, SIDE // 2 + 6)
    middle = images[:, quarter, quarter, channel].astype(float)
    return np.diff(middle, axis=axis).mean(axis=(1, 2))


MEASURES: dict[str, Callable[[Pixels], Pixels]] = {
    "black corners": share_of_black,
    "red": lambda images: colour_of_the_middle(images)[:, 0],
    "green": lambda images: colour_of_the_middle(images)[:, 1],
    "blue": lambda images: colour_of_the_middle(images)[:, 2],
    "saturation": lambda images: np.ptp(colour_of_the_middle(images), axis=1),
    "mean": lambda images: images.mean(axis=(1, 2, 3)),
    "contrast": lambda images: images.std(axis=(1, 2, 3)),
    "part across, mirrored or not": lambda images: slope(images, 2, 0),
    "part across, turned": lambda images: slope(images, 1, 0),
    "part down, upside down or not": lambda images: slope(images, 1, 1),
    "part down, turned": lambda images: slope(images, 2, 1),
}


@pytest.mark.parametrize("measure", MEASURES)
def test_original_is_distributed_as_the_original(
    measure: str, gradient: Pixels, originals: Pixels
) -> None:
    """Compares the distributions of what can be seen: Kolmogorov and Smirnov's test."""
    measured = [
        MEASURES[measure](made) for made in (ours("original", gradient), originals)
    ]
    assert farthest_apart(*measured) < 1.95 * math.sqrt(2 / COUNT)  # 0.1 %


def farthest_apart(left: Pixels, right: Pixels) -> float:
    both = np.sort(np.concatenate([left, right]))
    shares = [
        np.sort(sample).searchsorted(both, side="right") / len(sample)
        for sample in (left, right)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


@pytest.mark.parametrize("name", ["original", "standard"])
def test_a_crop_made_small_for_a_cache_is_varied_alike(
    name: str, gradient: Pixels
) -> None:
    large = Image.fromarray(gradient).resize((640, 480), Image.Resampling.BICUBIC)
    small = augmentation.prepare(name, large, SIDE)
    assert small.shape == (37, 49, 3)
    apart = ours(name, small, 200).astype(int) - ours(name, pixels(large), 200)
    assert np.median(np.abs(apart)) <= 2
    assert abs(apart.mean()) < 1


def test_original_is_grey_as_often_as_the_original(
    gradient: Pixels, originals: Pixels
) -> None:
    shares = [is_grey(ours("original", gradient)).mean(), is_grey(originals).mean()]
    np.testing.assert_allclose(shares, 0.1, atol=3 * math.sqrt(0.09 / COUNT))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("order", augmentation._ORDERS)
def test_colours_in_one_pass_are_pillows_in_three(
    order: tuple[int, int, int], grey: bool
) -> None:
    # Neither too dark nor too bright: only the single pass cuts off once.
    image = Image.fromarray((pixels(photograph()) * 0.5 + 50).astype(np.uint8))
    factors = (1.2, 0.8, 1.25)
    changed = image.convert("L").convert("RGB") if grey else image
    changes = (
        v2.functional.adjust_brightness,
        v2.functional.adjust_contrast,
        v2.functional.adjust_saturation,
    )
    for which in order:
        changed = changes[which](changed, factors[which])
    fused = augmentation._coloured(image, factors, order, grey=grey)
    apart = pixels(fused).astype(int) - pixels(changed)
    assert np.abs(apart).max() <= 4
    assert abs(apart.mean()) < 1.75  # Pillow rounds down three times, by halves


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [-90, -37.5, 0, 12, 90])
def test_a_turn_that_mirrors_is_pillows_turn_and_then_its_mirror(
    degrees: float, mirrored: bool, flipped: bool
) -> None:
    image = photograph(50, 50)
    expected = image.rotate(degrees, Image.Resampling.NEAREST)
    if mirrored:
        expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if flipped:
        expected = expected.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    turned = augmentation._turned(image, degrees, mirrored=mirrored, flipped=flipped)
    same = (pixels(turned) == pixels(expected)).all(axis=-1)
    # Where a point lies between two pixels, either is the nearest.
    assert same.mean() > 0.98


@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.floats(0.01, 1),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=32, max_size=32),
)
def test_a_part_lies_in_the_image(
    width: int, height: int, smallest: float, numbers: list[float]
) -> None:
    left, top, right, bottom = augmentation.part_box(
        width, height, numbers, smallest=smallest
    )
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_a_long_image_gives_its_middle() -> None:
    numbers = [0.999] * augmentation.DRAWS
    assert augmentation.part_box(400, 30, numbers, smallest=0.99) == (180, 0, 220, 30)
    assert augmentation.part_box(30, 400, numbers, smallest=0.99) == (0, 180, 30, 220)


def test_none_is_what_evaluation_sees() -> None:
    crop = photograph(80, 60)
    (numbers,) = draws(1)
    made = augmentation.augment("none", pixels(crop), SIDE, numbers)
    assert (made == preprocessing.square(crop, SIDE)).all()


def test_standard_keeps_animals_upright_and_is_grey_by_fifths(
    gradient: Pixels,
) -> None:
    made = ours("standard", gradient)
    assert np.median(slope(made, 1, 1)) > 0
    assert is_grey(made).mean() == pytest.approx(0.2, abs=0.04)
    mirrored = slope(made, 2, 0) < 0
    assert mirrored.mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("which", range(len(augmentation._CHANGES)))
def test_each_change_of_standard_leaves_something_to_see(which: int) -> None:
    image = photograph(60, 60)
    for strength in (-1.0, -0.4, 0.0, 0.7, 1.0):
        changed = augmentation._CHANGES[which](image, strength)
        assert (changed.mode, changed.size) == ("RGB", image.size)
        assert pixels(changed).std() > 3


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5)])
@pytest.mark.parametrize("name", augmentation.NAMES)
def test_tiny_and_thin_crops_are_squares_too(name: str, size: tuple[int, int]) -> None:
    crop = np.full((size[1], size[0], 3), 200, np.uint8)
    for numbers in draws(20):
        made = augmentation.augment(name, crop, SIDE, numbers)
        assert made.shape == (SIDE, SIDE, 3)
        assert made.dtype == np.uint8


@pytest.mark.parametrize("name", augmentation.NAMES)
def test_the_same_numbers_give_the_same_pixels(name: str) -> None:
    crop = pixels(photograph(90, 70))
    made = [ours(name, crop, 20) for _ in range(2)]
    assert (made[0] == made[1]).all()
