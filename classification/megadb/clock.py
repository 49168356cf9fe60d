"""Times as metadata states them, for SQL.

A location by day, and an animal's hours, need the camera's own clock, so a time zone
that a source states is read and dropped: ``2020-05-30T04:57:37+02:00`` is 04:57:37.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# What is asked for by name in SQL, once ``define`` was called.
WALL_CLOCK, INSTANT = "wall_clock", "instant"

UNREADABLE = "its time cannot be read and is taken as unknown"

_DATE = r"([0-9]{4})[-:/]([0-9]{1,2})[-:/]([0-9]{1,2})"
_TIME = r"([0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)"
_ZONE = r"(?:Z|UTC|([+-])([0-9]{2})(?::?([0-9]{2}))?)"
_USUAL = (
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_MOMENT = rf"{_DATE}(?:(?:T|\s+){_TIME}\s*{_ZONE}?)?"


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Teaches a connection two functions of text.

    ``wall_clock(text)`` is the time on the camera's clock, ``instant(text)`` the same in
    UTC, or as the camera's clock has it where the text names no zone. They read
    ``2012-05-08 19:23:36`` with ``-``, ``/`` or EXIF's ``:`` between the parts of the
    date, a blank or ``T`` before the time, seconds and fractions or none, and a zone or
    none. A date alone is its midnight. Anything else, such as a day before a month, is
    null.
    """
    is_usual = f"said SIMILAR TO '{_USUAL}'"
    connection.execute(
        f"CREATE OR REPLACE TEMP MACRO {WALL_CLOCK}(said) AS CASE "
        # Nearly all files write this, and to cut and cast is ten times faster.
        f"WHEN {is_usual} THEN try_cast(said[:19] AS TIMESTAMP) "
        f"WHEN regexp_full_match(trim(said), '{_MOMENT}') THEN try_cast(trim("
        f"regexp_replace(trim(said), '^{_MOMENT}$', '\\1-\\2-\\3 \\4')) AS TIMESTAMP) "
        "END"
    )
    sign, hours, minutes = map(_zone_part, (2, 3, 4))
    connection.execute(
        f"CREATE OR REPLACE TEMP MACRO {INSTANT}(said) AS {WALL_CLOCK}(said) - "
        f"(CASE WHEN {is_usual} THEN {_minutes('said[20]', 'said[21:22]', 'said[24:25]')} "
        f"ELSE {_minutes(sign, hours, minutes)} END) * INTERVAL 1 MINUTE"
    )


def _minutes(sign: str, hours: str, minutes: str) -> str:
    """Returns SQL for how far a zone is ahead of UTC, given SQL for its parts."""
    return (
        f"CASE {sign} WHEN '-' THEN -1 ELSE 1 END * "
        f"(coalesce(60 * try_cast({hours} AS INTEGER), 0) "
        f"+ coalesce(try_cast({minutes} AS INTEGER), 0))"
    )


def _zone_part(group: int) -> str:
    return f"regexp_extract(trim(said), '{_TIME}\\s*{_ZONE}$', {group})"
