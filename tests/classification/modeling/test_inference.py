"""What every engine shares."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from classification.modeling import inference


@given(
    hnp.arrays(
        np.float32,
        (3, 4),
        elements=st.floats(-1000, 1000, width=32),
    )
)
def test_softmax(logits: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    found = inference.softmax(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    exact = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, exact / exact.sum(1, keepdims=True), atol=1e-6)


def test_cuda_index() -> None:
    assert inference.cuda_index("cpu") is None
    assert inference.cuda_index("cuda") == 0
    assert inference.cuda_index("cuda:3") == 3
