"""The evaluation transform, compared with torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import transforms

from classification.modeling import catalog, preprocessing
from classification.modeling.preprocessing import Preprocessing
from tests import world

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


@settings(max_examples=60, deadline=None)
@given(width=sides, height=sides, side=st.sampled_from([8, 15, 32]))
def test_equals_torchvision(width: int, height: int, side: int) -> None:
    image = world.photograph(96, 96, seed=width * 100 + height).resize((width, height))
    out = np.empty((3, side, side), np.float32)
    preprocessing.fill(image, Preprocessing(image_size=side), out)
    np.testing.assert_allclose(out, _torchvision(side)(image).numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [(640, 480), (301, 777), (300, 300), (200, 123)])
def test_equals_torchvision_at_real_sizes(size: tuple[int, int]) -> None:
    image = world.photograph(*size)
    out = np.empty((3, 300, 300), np.float32)
    preprocessing.fill(image, Preprocessing(image_size=300), out)
    np.testing.assert_allclose(out, _torchvision(300)(image).numpy(), atol=1e-6)


def test_signed_normalisation() -> None:
    image = world.photograph(16, 16)
    out = np.empty((3, 16, 16), np.float32)
    preprocessing.fill(
        image, Preprocessing(image_size=16, normalisation=catalog.SIGNED), out
    )
    expected = (np.asarray(image).transpose(2, 0, 1).astype(np.float32) - 127) / 128
    np.testing.assert_array_equal(out, expected)


def test_resized_size() -> None:
    assert preprocessing.resized_size(400, 301, 300) == (398, 300)
    assert preprocessing.resized_size(301, 400, 300) == (300, 398)
