"""What every engine shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from classification.modeling import catalog, inference, preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray


@given(
    hnp.arrays(
        np.float32,
        (3, 4),
        elements=st.floats(-1000, 1000, width=32),
    )
)
def test_softmax(logits: NDArray[np.float32]) -> None:
    found = inference.softmax(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    exact = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, exact / exact.sum(1, keepdims=True), atol=1e-6)


def test_cuda_index() -> None:
    assert inference.cuda_index("cpu") is None
    assert inference.cuda_index("cuda") == 0
    assert inference.cuda_index("cuda:3") == 3


@pytest.mark.parametrize(("threads", "calls"), [(0, [5]), (1, [1] * 5), (3, [1] * 5)])
def test_a_runner_takes_images_one_by_one_or_all_at_once(
    threads: int, calls: list[int]
) -> None:
    seen = []

    def logits(images: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(len(images))
        return images.mean(axis=(2, 3))

    squares = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    found = inference.Runner(logits, catalog.IMAGENET, threads)(squares)
    assert seen == calls
    images = preprocessing.normalise(squares, catalog.IMAGENET)
    expected = inference.softmax(images.mean(axis=(2, 3)))
    np.testing.assert_allclose(found, expected, atol=1e-6)
