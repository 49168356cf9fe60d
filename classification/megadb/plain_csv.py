"""A CSV table of anyone's own: a row for each image, or for each label of an image.

Which column holds what is said by a map, ``file=path,label=genus+species,location=site``:

============  ==================================================================
``file``      path of the image; the one thing that must be there; a backslash is
              read as ``/``
``label``     what is seen; empty: not labelled
``location``  where the camera stood
``sequence``  images taken in one burst share it
``frame``     place in the sequence
``datetime``  the camera's clock; see ``clock``, and also ``8/5/2012 19:23``
``width``,    pixels
``height``
``url``       where the image can be fetched
``rights``    who owns it, under which licence
============  ==================================================================

``+`` joins columns, with a space between them, and with a ``/`` in ``file``; empty cells
drop out. Several rows of one file are several labels of one image, of which all else is
taken from the first row. A second table can be joined by columns that both have, so that
its columns can be used, too.

Row, not line, is meant by numbers in messages: as a spreadsheet counts, the header is 1.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from classification.megadb import clock, csv_rows
from classification.megadb import staging as tables
from classification.megadb.csv_columns import (
    NO_NUMBER,
    ROLES,
    Join,
    Table,
    refuse_missing,
    resolve,
    text_of,
    whole_number,
)
from classification.megadb.csv_rows import NUMBER, Form
from classification.megadb.database import insert, quoted
from classification.runtime import parallel
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

    from classification.megadb.staging import Staging

_NUMBERS = ("frame", "width", "height")
NO_FILE = "no file name"
NO_CELL = "every column that is used is empty"
NO_PARTNER = "the joined table has no such row"
OTHER_LOCATION = "an earlier row of its file has another location, which counts"
UNDECIDED = "day or month first? --dates says; taken as unknown"
A_URL = "a URL where a path is expected; its column is for url="

_logger = logging.getLogger(__name__)


class DateOrder(StrEnum):
    """What stands first in a date that ends with its year."""

    DAY_FIRST = "day-first"
    MONTH_FIRST = "month-first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a table is read.

    Attributes:
        columns: the columns of each role; where empty, columns named as roles are.
        join: a second table, or None.
        form: how both tables are written down.
        date_order: of dates that end with their year; None: as the table's own dates
            show, where a number above 12 does.
    """

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    join: Join | None = None
    form: Form = field(default_factory=Form)
    date_order: DateOrder | None = None


def read(source: Path, staging: Staging, options: Options) -> None:
    """Stages the images of a table.

    Args:
        source: the table; ``.gz``, and a ``.zip`` of one ``.csv``, are unpacked.
        staging: filled.
        options: which column holds what, and how the table is written down.

    Raises:
        ArtifactError: a table is missing, is no CSV, or lacks a column; or rows of the
            joined table have the same key.
    """
    connection = staging.connection
    clock.define(connection)
    with in_file(source):
        names = csv_rows.header(source, options.form)
    tables_read = [Table(source, names, "main")]
    if options.join is not None:
        tables_read.append(_load_joined(connection, options.join, options.form))
    columns = resolve(options.columns, tables_read)
    for name, _ in options.join.keys if options.join else ():
        if tables_read[0].place(name) is None:
            refuse_missing(name, tables_read[:1])
    with in_file(source):
        _load(connection, tables_read, columns, options)
    moment = _moment(connection, options.date_order)
    _list_faults(connection, columns, moment)
    _find_later_rows(connection, columns)
    _stage(connection, moment)
    for table in ("said", "joined", "later"):
        connection.execute(f"DROP TABLE IF EXISTS csv_{table}")


def _load_joined(
    connection: duckdb.DuckDBPyConnection, join: Join, form: Form
) -> Table:
    """Makes ``csv_joined``: the second table, with its keys."""
    with in_file(join.path):
        table = Table(join.path, csv_rows.header(join.path, form), "joined")
    for _, name in join.keys:
        if table.place(name) is None:
            refuse_missing(name, [table])
    with in_file(join.path):
        places = range(len(table.names))
        cells = ", ".join(f'"{place}" VARCHAR' for place in places)
        connection.execute(f"CREATE TABLE csv_joined ({cells}, {NUMBER} BIGINT)")
        for block in csv_rows.blocks(join.path, form, table.names, places):
            if block.ragged:
                _refuse_ragged(table, block.ragged[0])
            query = "INSERT INTO csv_joined BY NAME SELECT * FROM incoming"
            insert(connection, query, block.rows)
        _refuse_repeated(connection, table, [name for _, name in join.keys])
    return table


def _refuse_ragged(table: Table, number: int) -> None:
    raise ArtifactError(f"{len(table.names)} cells expected", where=f"row {number}")


def _refuse_repeated(
    connection: duckdb.DuckDBPyConnection, table: Table, names: Sequence[str]
) -> None:
    key = ", ".join(table.cell(name) for name in names)
    whole = " AND ".join(f"{table.cell(name)} IS NOT NULL" for name in names)
    repeated = connection.execute(
        f"""
        SELECT {NUMBER}, [{key}] FROM (
            SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY {NUMBER}) AS nth
            FROM csv_joined AS joined WHERE {whole}
        ) AS joined WHERE nth > 1 ORDER BY {NUMBER} LIMIT 1
        """
    ).fetchall()
    for number, cells in repeated:
        raise ArtifactError(
            f"{', '.join(map(repr, cells))} stands in an earlier row, too",
            where=f"row {number}, column {','.join(names)}",
        )


def _load(
    connection: duckdb.DuckDBPyConnection,
    found: Sequence[Table],
    columns: Mapping[str, tuple[str, ...]],
    options: Options,
) -> None:
    """Makes ``csv_said``: what each row says, by role, as text."""
    main = found[0]
    roles = ", ".join(f"{role} VARCHAR" for role in ROLES)
    connection.execute(
        f"CREATE TABLE csv_said ({NUMBER} BIGINT, is_alone BOOLEAN, {roles})"
    )
    keys = options.join.keys if options.join else ()
    said = ", ".join(
        f"{text_of(role, names, found)} AS {role}" for role, names in columns.items()
    )
    join = " AND ".join(
        f"{main.cell(one)} = {found[-1].cell(two)}" for one, two in keys
    )
    query = f"INSERT INTO csv_said BY NAME SELECT main.{NUMBER}, {said}, " + (
        f"joined.{NUMBER} IS NULL AS is_alone FROM incoming AS main "
        f"LEFT JOIN csv_joined AS joined ON {join}"
        if keys
        else "FALSE AS is_alone FROM incoming AS main"
    )
    used = [name for names in columns.values() for name in names]
    places = main.places([*used, *(one for one, _ in keys)])
    blocks = csv_rows.blocks(main.path, options.form, main.names, places)
    for block in parallel.ahead(blocks):
        insert(connection, query, block.rows)
        _list_ragged(connection, block.ragged, main)


def _list_ragged(
    connection: duckdb.DuckDBPyConnection, ragged: Sequence[int], table: Table
) -> None:
    import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

    if ragged:
        items = [f"row {number}" for number in ragged]
        reason = f"{len(table.names)} cells expected, as the header has"
        rows = pa.table({"item": items, "reason": [reason] * len(items)})
        query = f"INSERT INTO {tables.SKIPPED} BY NAME SELECT * FROM incoming"
        insert(connection, query, rows)


def _moment(connection: duckdb.DuckDBPyConnection, order: DateOrder | None) -> str:
    """Returns SQL for the time that ``datetime`` says, null where it cannot be read."""
    order = order or _find_order(connection)
    if order is None:
        return f"{clock.WALL_CLOCK}(datetime)"
    days = {DateOrder.DAY_FIRST: "%d/%m/%Y", DateOrder.MONTH_FIRST: "%m/%d/%Y"}[order]
    formats = ", ".join(f"'{days}{time}'" for time in _TIMES)
    return (
        f"coalesce({clock.WALL_CLOCK}(datetime), try_strptime({_SLASHED}, [{formats}]))"
    )


_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_SLASHED = r"regexp_replace(datetime, '[.-]', '/', 'g')"
_YEAR_LAST = r"^([0-9]{1,2})/([0-9]{1,2})/[0-9]{4}\b"


def _find_order(connection: duckdb.DuckDBPyConnection) -> DateOrder | None:
    """Returns what stands first in dates that end with their year, if they show it."""
    one, other = (
        f"max(regexp_extract({_SLASHED}, '{_YEAR_LAST}', {group})::INTEGER)"
        for group in (1, 2)
    )
    [(first, second)] = connection.execute(
        f"SELECT {one}, {other} FROM csv_said "
        f"WHERE regexp_matches({_SLASHED}, '{_YEAR_LAST}')"
    ).fetchall()
    if first is None:
        return None
    if (first > _MONTHS) == (second > _MONTHS):
        _logger.warning(
            "its dates do not show whether the day or the month stands first, and are "
            "taken as unknown; --dates %s or --dates %s says so",
            *DateOrder,
        )
        return None
    return DateOrder.DAY_FIRST if first > _MONTHS else DateOrder.MONTH_FIRST


_MONTHS = 12


def _list_faults(
    connection: duckdb.DuckDBPyConnection,
    columns: Mapping[str, tuple[str, ...]],
    moment: str,
) -> None:
    """Lists rows without a file, and cells that cannot be read."""
    _list_rows(connection, f"coalesce({', '.join(ROLES)}) IS NULL", NO_CELL)
    _list_rows(
        connection,
        f"file IS NULL AND coalesce({', '.join(ROLES)}) IS NOT NULL",
        NO_FILE,
    )
    _list_rows(connection, "is_alone AND file IS NOT NULL", NO_PARTNER)
    for role in _NUMBERS:
        unreadable = f"{role} IS NOT NULL AND {whole_number(role)} IS NULL"
        _list_cells(connection, columns, role, unreadable, NO_NUMBER)
    undecided = f"regexp_matches({_SLASHED}, '{_YEAR_LAST}')"
    unreadable = f"datetime IS NOT NULL AND {moment} IS NULL"
    if "strptime" not in moment:
        _list_cells(
            connection,
            columns,
            "datetime",
            f"{unreadable} AND {undecided}",
            UNDECIDED,
        )
        unreadable += f" AND NOT {undecided}"
    _list_cells(connection, columns, "datetime", unreadable, clock.UNREADABLE)


def _list_rows(
    connection: duckdb.DuckDBPyConnection, condition: str, reason: str
) -> None:
    connection.execute(
        f"INSERT INTO {tables.SKIPPED} BY NAME SELECT 'row ' || {NUMBER} AS item, "
        f"{quoted(reason)} AS reason FROM csv_said WHERE {condition}"
    )


def _list_cells(
    connection: duckdb.DuckDBPyConnection,
    columns: Mapping[str, tuple[str, ...]],
    role: str,
    condition: str,
    reason: str,
) -> None:
    if role in columns:
        column = quoted(f", column {'+'.join(columns[role])}: ")
        connection.execute(
            f"INSERT INTO {tables.SKIPPED} BY NAME "
            f"SELECT 'row ' || {NUMBER} || {column} || {role} AS item, "
            f"{quoted(reason)} AS reason FROM csv_said "
            f"WHERE file IS NOT NULL AND {condition}"
        )


def _find_later_rows(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, tuple[str, ...]]
) -> None:
    """Makes ``csv_later``: rows of a file that an earlier row has, and that row."""
    # Hashes are compared first: ten million of them fit into memory, names do not.
    connection.execute(
        f"""
        CREATE TABLE csv_later AS
        WITH repeated AS (
            SELECT hash(file) AS code FROM csv_said WHERE file IS NOT NULL
            GROUP BY code HAVING count(*) > 1
        ), ordered AS (
            SELECT {NUMBER}, location,
            first_value({NUMBER}) OVER same AS first,
            first_value(location) OVER same AS first_location
            FROM csv_said SEMI JOIN repeated ON hash(file) = code
            WINDOW same AS (PARTITION BY file ORDER BY {NUMBER})
        )
        SELECT {NUMBER}, first, location <> first_location AS is_elsewhere
        FROM ordered WHERE {NUMBER} <> first
        """
    )
    elsewhere = f"{NUMBER} IN (SELECT {NUMBER} FROM csv_later WHERE is_elsewhere)"
    _list_cells(connection, columns, "location", elsewhere, OTHER_LOCATION)


def _stage(connection: duckdb.DuckDBPyConnection, moment: str) -> None:
    numbers = ", ".join(f"{whole_number(role)} AS {role}" for role in _NUMBERS)
    connection.execute(
        f"""
        INSERT INTO {tables.IMAGES} BY NAME
        SELECT {NUMBER} AS row, {NUMBER}::VARCHAR AS id, file, location, sequence,
        {moment} AS datetime, {numbers}, url, rights,
        CASE WHEN contains(file, '://') THEN {quoted(A_URL)} END AS problem
        FROM csv_said ANTI JOIN csv_later USING ({NUMBER}) WHERE file IS NOT NULL
        """
    )
    connection.execute(
        f"""
        INSERT INTO {tables.LABELS} BY NAME
        SELECT {NUMBER} AS row, coalesce(first, {NUMBER})::VARCHAR AS image_id, label,
        '{tables.IMAGE_LEVEL}' AS level
        FROM csv_said LEFT JOIN csv_later USING ({NUMBER})
        WHERE file IS NOT NULL AND label IS NOT NULL
        """
    )
