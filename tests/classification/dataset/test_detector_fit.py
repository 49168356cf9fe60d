from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts.queried_images import QueriedBox
from classification.dataset import detector_fit
from detection.boxes import Box

LEFT = Box(0.1, 0.1, 0.3, 0.3)
RIGHT = Box(0.6, 0.1, 0.3, 0.3)
NEAR_LEFT = Box(0.12, 0.1, 0.3, 0.3)


def animal(box: Box) -> QueriedBox:
    return QueriedBox("animal", box)


def judge(found: list[QueriedBox], drawn: list[QueriedBox]) -> list[bool]:
    return detector_fit.judge(found, drawn, iou=0.5)


def test_a_box_is_right_where_a_drawn_one_shares_enough() -> None:
    assert judge([animal(NEAR_LEFT), animal(RIGHT)], [animal(LEFT)]) == [True, False]
    assert judge([animal(Box(0.3, 0.1, 0.3, 0.3))], [animal(LEFT)]) == [False]


def test_a_drawn_box_is_found_once_and_by_the_surest() -> None:
    assert judge([animal(LEFT), animal(NEAR_LEFT)], [animal(LEFT)]) == [True, False]
    assert judge([animal(LEFT)] * 3, [animal(LEFT)] * 2) == [True, True, False]


def test_each_box_finds_the_nearest() -> None:
    drawn = [animal(NEAR_LEFT), animal(LEFT)]
    assert judge([animal(LEFT), animal(NEAR_LEFT)], drawn) == [True, True]


def test_kinds_are_kept_apart_and_a_group_is_an_animal() -> None:
    assert judge([animal(LEFT)], [QueriedBox("person", LEFT)]) == [False]
    assert judge([animal(LEFT)], [QueriedBox("group", LEFT)]) == [True]


def test_in_an_empty_image_nothing_is_right() -> None:
    assert judge([animal(LEFT)], []) == [False]
    assert judge([], [animal(LEFT)]) == []


def test_the_curve_is_the_chance_of_being_right() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.1, 1, 40_000)
    right = rng.random(40_000) < confidences**2
    curve = detector_fit.fit(confidences.tolist(), right.tolist())
    at = np.linspace(0.2, 0.95, 10)
    np.testing.assert_allclose(curve(at), at**2, atol=0.06)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_the_curve_never_falls_and_has_the_mean(
    boxes: list[tuple[float, bool]],
) -> None:
    confidences, right = zip(*boxes, strict=True)
    curve = detector_fit.fit(confidences, right)
    assert (np.diff(curve.x) >= 0).all()
    assert (np.diff(curve.y) >= 0).all()
    assert curve.y.min() >= 0
    assert curve.y.max() <= 1
    weights = curve(np.array(confidences))
    assert weights.mean() == pytest.approx(np.mean(right), abs=1e-6)
