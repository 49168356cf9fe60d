"""The evaluation transform, compared with torchvision's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import transforms

from classification.modeling import catalog, preprocessing
from tests import world

if TYPE_CHECKING:
    from PIL import Image

sides = st.integers(1, 90)


def _torchvision(side: int) -> transforms.Compose:
    return transforms.Compose(
        [
            transforms.Resize(side, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(catalog.IMAGENET.mean, catalog.IMAGENET.std),
        ]
    )


def _compare(image: Image.Image, side: int) -> None:
    squares = preprocessing.square(image, side)[None]
    found = preprocessing.normalise(squares, catalog.IMAGENET)[0]
    np.testing.assert_allclose(found, _torchvision(side)(image).numpy(), atol=1e-6)


@settings(max_examples=60)
@given(width=sides, height=sides, side=st.sampled_from([8, 15, 32]))
def test_equals_torchvision(width: int, height: int, side: int) -> None:
    image = world.photograph(96, 96, seed=width * 100 + height).resize((width, height))
    _compare(image, side)


@pytest.mark.parametrize("size", [(640, 480), (301, 777), (300, 300), (200, 123)])
def test_equals_torchvision_at_real_sizes(size: tuple[int, int]) -> None:
    image = world.photograph(*size)
    _compare(image, 300)


def test_signed_normalisation() -> None:
    image = world.photograph(16, 16)
    squares = preprocessing.square(image, 16)[None]
    found = preprocessing.normalise(squares, catalog.SIGNED)
    expected = (np.asarray(image).transpose(2, 0, 1).astype(np.float32) - 127) / 128
    np.testing.assert_array_equal(found, expected[None])
    assert found.flags.c_contiguous


def test_resized_size() -> None:
    assert preprocessing.resized_size(400, 301, 300) == (398, 300)
    assert preprocessing.resized_size(301, 400, 300) == (300, 398)
