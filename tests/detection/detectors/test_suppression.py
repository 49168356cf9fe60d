from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.boxes import Box, intersection_over_union
from detection.detectors import suppression
from detection.detectors.suppression import suppress

if TYPE_CHECKING:
    from numpy.typing import NDArray


def boxes(*rows: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def kept(
    corners: NDArray[np.float32],
    scores: list[float],
    categories: list[int] | None = None,
    overlap: float = 0.45,
) -> list[int]:
    found = suppress(
        corners,
        np.array(scores, dtype=np.float32),
        np.array(categories or [0] * len(scores), dtype=np.intp),
        overlap=overlap,
    )
    return [int(at) for at in found]


def test_the_surer_of_two_boxes_stays() -> None:
    # 10 x 10 and 10 x 8 of it: intersection 80, union 100
    assert kept(boxes((0, 0, 10, 10), (0, 0, 10, 8)), [0.6, 0.9]) == [1]


def test_overlap_at_the_limit_is_allowed() -> None:
    corners = boxes((0, 0, 10, 10), (0, 0, 10, 5))
    assert kept(corners, [0.9, 0.8], overlap=0.5) == [0, 1]
    assert kept(corners, [0.9, 0.8], overlap=0.49) == [0]


def test_a_dropped_box_drops_none() -> None:
    # b overlaps a and c by 1/2 each; a and c do not overlap enough
    row = boxes((0, 0, 30, 10), (10, 0, 40, 10), (20, 0, 50, 10))
    assert kept(row, [0.9, 0.8, 0.7], overlap=0.45) == [0, 2]


def test_categories_do_not_drop_each_other() -> None:
    corners = boxes((0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 10, 10))
    assert kept(corners, [0.7, 0.9, 0.8], [0, 1, 0]) == [1, 2]


def test_categories_far_apart_are_kept_apart_at_negative_places() -> None:
    corners = boxes((-50, -50, -40, -40), (0, 0, 1, 1), (-50, -50, -40, -40))
    assert kept(corners, [0.9, 0.8, 0.7], [0, 1, 1]) == [0, 1, 2]


def test_equal_scores_keep_their_order() -> None:
    corners = boxes((0, 0, 1, 1), (5, 5, 6, 6), (9, 9, 10, 10))
    assert kept(corners, [0.5, 0.5, 0.5]) == [0, 1, 2]


def test_no_boxes() -> None:
    assert kept(boxes(), []) == []


def test_empty_boxes_stay() -> None:
    assert kept(boxes((1, 1, 1, 1), (1, 1, 1, 1)), [0.9, 0.8]) == [0, 1]


def test_no_more_than_the_limit_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "MAX_BOXES", 2)
    corners = boxes((0, 0, 1, 1), (5, 5, 6, 6), (9, 9, 10, 10))
    assert kept(corners, [0.1, 0.9, 0.5]) == [1, 2]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.integers(0, 20),
            st.integers(1, 20),
            st.integers(1, 20),
            st.integers(0, 2),
            st.integers(1, 99),
        ),
        max_size=12,
    )
)
def test_it_is_what_the_plain_definition_says(
    rows: list[tuple[int, int, int, int, int, int]],
) -> None:
    corners = boxes(*((x, y, x + w, y + h) for x, y, w, h, _, _ in rows))
    scores = [score / 100 for *_, score in rows]
    categories = [category for *_, category, _ in rows]
    expected: list[int] = []
    for at in sorted(range(len(rows)), key=lambda at: (-scores[at], at)):
        if all(
            categories[other] != categories[at]
            or intersection_over_union(_box(rows[other]), _box(rows[at])) <= 0.45
            for other in expected
        ):
            expected.append(at)
    assert kept(corners, scores, categories) == expected


def _box(row: tuple[int, int, int, int, int, int]) -> Box:
    return Box(*row[:4])


@pytest.mark.slow
def test_torchvision_agrees() -> None:
    torch = pytest.importorskip("torch")
    from torchvision.ops import batched_nms  # noqa: PLC0415 - slow to import

    rng = np.random.default_rng(3)
    start = rng.uniform(0, 500, (2000, 2))
    corners = np.concatenate((start, start + rng.uniform(5, 120, (2000, 2))), axis=1)
    corners = corners.astype(np.float32)
    scores = rng.permutation(2000).astype(np.float32) / 2000
    categories = rng.integers(0, 3, 2000)
    found = suppress(corners, scores, categories, overlap=0.45)
    expected = batched_nms(
        torch.from_numpy(corners),
        torch.from_numpy(scores),
        torch.from_numpy(categories),
        0.45,
    )
    assert found.tolist() == expected.tolist()[: suppression.MAX_BOXES]
