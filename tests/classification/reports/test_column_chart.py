from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.reports.column_chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    ColumnChart,
    column_chart,
    nice_top,
    y_values,
)


def chart(counts: list[tuple[int, ...]]) -> ColumnChart:
    return column_chart(
        counts,
        names=[f"place {number}" for number in range(len(counts))],
        series=("one", "two"),
        ticks=[(0, "0"), (1, "1")],
        marks=(1,),
    )


def test_columns_stand_on_each_other() -> None:
    low, high = chart([(30, 10), (0, 0)]).columns
    assert low.y + low.height == pytest.approx(HEIGHT - BOTTOM)
    assert high.y + high.height == pytest.approx(low.y)
    assert low.height == pytest.approx(3 * high.height, abs=0.2)
    assert high.y == pytest.approx(TOP)
    assert (low.series, high.series) == (0, 1)
    assert high.what == "place 0: 10 two"


def test_places_share_the_width() -> None:
    one, other = chart([(1, 0), (1, 0)]).columns
    middle = (LEFT + WIDTH - RIGHT) / 2
    assert one.x >= LEFT
    assert one.x + one.width < middle < other.x
    assert other.x + other.width <= WIDTH - RIGHT
    assert chart([(1, 0), (1, 0)]).marks == (middle,)


def test_nothing_is_an_empty_chart() -> None:
    empty = chart([(0, 0)])
    assert empty.columns == ()
    assert [tick.text for tick in empty.y_ticks] == ["0", "1"]


@given(st.integers(0, 10**9))
def test_the_axis_is_round_and_high_enough(largest: int) -> None:
    top = nice_top(largest)
    values = y_values(top)
    assert largest <= top <= 2 * max(1, largest)
    assert values[0] == 0
    assert values[-1] == top
    assert 2 <= len(values) <= 6
    assert str(values[1]).rstrip("0") in {"1", "2", "5"}
