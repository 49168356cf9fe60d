"""A chart of columns, one on the other: where its rectangles, ticks and texts stand.

Coordinates are those of a ``viewBox``: x to the right, y down, of ``WIDTH`` by ``HEIGHT``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 720, 200
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 34

_STEPS = (1, 2, 5, 10)
_TICKS = 4
_GAP = 0.15  # of a column's room


@dataclass(frozen=True, slots=True)
class Column:
    """A rectangle.

    Attributes:
        x: left end.
        y: upper end.
        width: to the right.
        height: downwards.
        series: which of the numbers of its place it is, from 0 on.
        what: place, number and meaning in words.
    """

    x: float
    y: float
    width: float
    height: float
    series: int
    what: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A text at an axis: how far along it, in the chart's coordinates."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnChart:
    """A chart.

    Attributes:
        columns: its rectangles.
        x_ticks: along the lower edge.
        y_ticks: from 0 upwards.
        series: names of the series, in order.
        marks: where a line from top to bottom stands.
    """

    columns: tuple[Column, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[str, ...]
    marks: tuple[float, ...] = ()


def column_chart(
    counts: Sequence[Sequence[int]],
    *,
    names: Sequence[str],
    series: Sequence[str],
    ticks: Sequence[tuple[float, str]],
    marks: Sequence[float] = (),
) -> ColumnChart:
    """Lays out a chart.

    Args:
        counts: at each place along the lower edge, a number of each series.
        names: of the places.
        series: names of the series.
        ticks: texts along the lower edge, and at how many places from the left.
        marks: lines from top to bottom, at how many places from the left.
    """
    room = (WIDTH - LEFT - RIGHT) / max(1, len(counts))
    top = nice_top(max((sum(numbers) for numbers in counts), default=0))
    scale = (HEIGHT - TOP - BOTTOM) / top
    columns = [
        Column(
            round(LEFT + room * (place + _GAP / 2), 1),
            round(HEIGHT - BOTTOM - scale * end, 1),
            round(room * (1 - _GAP), 1),
            round(scale * number, 1),
            which,
            f"{names[place]}: {number:,} {series[which]}",
        )
        for place, numbers in enumerate(counts)
        for which, (number, end) in enumerate(
            zip(numbers, accumulate(numbers), strict=True)
        )
        if number
    ]
    return ColumnChart(
        columns=tuple(columns),
        x_ticks=tuple(Tick(round(LEFT + room * at, 1), text) for at, text in ticks),
        y_ticks=tuple(
            Tick(round(HEIGHT - BOTTOM - scale * value, 1), f"{value:,}")
            for value in y_values(top)
        ),
        series=tuple(series),
        marks=tuple(round(LEFT + room * at, 1) for at in marks),
    )


def nice_top(largest: int) -> int:
    """Returns a round number that is not below ``largest``, at least 1."""
    step = _step(max(1, largest))
    return step * -(-max(1, largest) // step)


def y_values(top: int) -> list[int]:
    """Returns round numbers from 0 to ``top``."""
    return list(range(0, top + 1, _step(top)))


def _step(largest: int) -> int:
    power = 1
    while True:
        for step in _STEPS:
            if largest <= _TICKS * step * power:
                return step * power
        power *= 10
