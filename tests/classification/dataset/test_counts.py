from __future__ import annotations

import pytest

from classification.dataset.counts import Fractions


def test_train_is_what_is_left() -> None:
    assert Fractions(0.2, 0.3).targets == pytest.approx((0.5, 0.2, 0.3))
