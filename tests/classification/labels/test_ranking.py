from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.labels import ranking

# Ties, and numbers halfway between two roundings as nearly as doubles can be.
TENTHS = st.integers(0, 10).map(lambda n: n / 10)
HALVES = st.integers(0, 20_000).map(lambda n: n / 20_000)
PROBABILITIES = TENTHS | HALVES | st.floats(0, 1.001)


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rows, columns = draw(st.integers(0, 4)), draw(st.integers(1, 6))
    count = rows * columns
    values = draw(st.lists(PROBABILITIES, min_size=count, max_size=count))
    return np.array(values, np.float64).reshape(rows, columns)


@given(tables(), TENTHS)
def test_rank_is_a_stable_sort_of_each_row(
    table: np.ndarray[tuple[int, int], np.dtype[np.float64]], threshold: float
) -> None:
    expected = [
        sorted(
            [
                (index, round(value, 4))
                for index, value in enumerate(row)
                if value >= threshold
            ],
            key=lambda pair: -pair[1],
        )
        for row in table.tolist()
    ]
    assert ranking.rank(table, threshold) == expected


@given(st.lists(PROBABILITIES))
def test_rounding_is_python_s(values: list[float]) -> None:
    rounded = ranking.round_exactly(np.array(values, np.float64)).tolist()
    assert rounded == [round(value, 4) for value in values]


def test_rounding_is_python_s_at_every_halfway_point() -> None:
    halves = (np.arange(10_000) + 0.5) / 10_000
    values = np.concatenate([halves, np.nextafter(halves, 0), np.nextafter(halves, 1)])
    expected = [round(value, 4) for value in values.tolist()]
    assert ranking.round_exactly(values).tolist() == expected
    assert np.round(values, 4).tolist() != expected


def test_relative_to_truth_is_the_lead_over_the_true_category() -> None:
    table = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
    np.testing.assert_array_equal(
        ranking.relative_to_truth(table, [1, 1]), [[0.25, 0, 0], [0, 0, 0]]
    )


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_thresholds_at_the_ends(threshold: float) -> None:
    table = np.array([[0.0, 1.0]])
    kept = {0.0: [[(1, 1.0), (0, 0.0)]], 1.0: [[(1, 1.0)]]}
    assert ranking.rank(table, threshold) == kept[threshold]
