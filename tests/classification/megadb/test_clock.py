from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.megadb import clock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        clock.define(opened)
        yield opened


def ask(connection: duckdb.DuckDBPyConnection, function: str, said: str | None) -> str:
    row = connection.execute(f"SELECT {function}(?)::VARCHAR", [said]).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    ("said", "wall_clock"),
    [
        ("2012-05-08 19:23:36", "2012-05-08 19:23:36"),
        ("2020-05-30T04:57:37+02:00", "2020-05-30 04:57:37"),
        ("2020-05-30T04:57:37-0800", "2020-05-30 04:57:37"),
        ("2020-05-30T04:57:37.5+02", "2020-05-30 04:57:37.5"),
        ("2020-05-30T02:57:37Z", "2020-05-30 02:57:37"),
        ("2020-05-30 02:57:37 UTC", "2020-05-30 02:57:37"),
        ("2015:04:07 12:30:00", "2015-04-07 12:30:00"),
        ("2015/4/7 1:30", "2015-04-07 01:30:00"),
        ("  2012-05-08  ", "2012-05-08 00:00:00"),
        ("2012-05-08-07", "None"),
        ("2012-13-08 00:00:00", "None"),
        ("0000-00-00 00:00:00", "None"),
        ("2012-05-08 19:23:60", "None"),
        ("2020-05-30 02:57:37 PM", "None"),
        ("31/12/2012 10:00:00", "None"),
        ("12/31/2012 10:00:00", "None"),
        ("infinity", "None"),
        ("epoch", "None"),
        ("1336504216", "None"),
        ("", "None"),
        (None, "None"),
    ],
)
def test_the_cameras_clock(
    connection: duckdb.DuckDBPyConnection, said: str | None, wall_clock: str
) -> None:
    assert ask(connection, clock.WALL_CLOCK, said) == wall_clock


@pytest.mark.parametrize(
    ("said", "instant"),
    [
        ("2020-05-30T04:57:37+02:00", "2020-05-30 02:57:37"),
        ("2020-05-30T04:57:37-03:30", "2020-05-30 08:27:37"),
        ("2020-05-30T04:57:37+02", "2020-05-30 02:57:37"),
        ("2020-05-30T02:57:37Z", "2020-05-30 02:57:37"),
        ("2020-05-30 02:57:37", "2020-05-30 02:57:37"),
        ("2020-05-30", "2020-05-30 00:00:00"),
        ("soon", "None"),
        (None, "None"),
    ],
)
def test_the_instant(
    connection: duckdb.DuckDBPyConnection, said: str | None, instant: str
) -> None:
    assert ask(connection, clock.INSTANT, said) == instant


@settings(max_examples=50)
@given(
    moment=st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1)),  # noqa: DTZ001 - a camera's clock has no zone
    separator=st.sampled_from("T "),
    zone=st.sampled_from(["", "Z", "+00:00", "-11:30", "+0545"]),
)
def test_what_python_writes_is_read_back(
    connection: duckdb.DuckDBPyConnection, moment: datetime, separator: str, zone: str
) -> None:
    said = moment.isoformat(separator) + zone
    row = connection.execute(f"SELECT {clock.WALL_CLOCK}(?)", [said]).fetchone()
    assert row == (moment,)
    row = connection.execute(f"SELECT {clock.INSTANT}(?)", [said]).fetchone()
    offset = datetime.fromisoformat(said).utcoffset()
    assert row == (moment - offset if offset else moment,)
