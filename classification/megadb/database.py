"""DuckDB inside this process: how it is opened, and what it may use."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from classification.runtime import containment, locking, parallel
from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    import duckdb
    import pyarrow as pa

# What does not fit spills to disk, so this bounds memory and not what can be done.
MEMORY_MB = 1500
# With less than this for each thread, DuckDB gives up instead of spilling.
_THREAD_MB = 250
_PREFIX = ".ct-duckdb-"
_LOCK = "lock"
_SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())


@contextmanager
def connect(
    folder: Path,
    *,
    memory_mb: int = MEMORY_MB,
    on_disk: bool = False,
    threads: int | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a database that lives only inside the block.

    Nothing is fetched: extensions that are not built in stay absent.

    Args:
        folder: where it spills to; what it wrote there is gone after the block, and
            what a killed run left is removed before it.
        memory_mb: the most memory it uses before it spills.
        on_disk: keep its tables in a file, too, for more rows than memory holds.
        threads: how many it uses; None for the cores, as far as memory allows.

    Raises:
        StorageError: the folder cannot be written or has a name that DuckDB does not
            take, or the disk is full.
    """
    import duckdb  # noqa: PLC0415 - takes a moment, and --help needs none of it

    check_name(folder)
    _remove_abandoned(folder)
    spill, lock = _spill_folder(folder)
    try:
        database = str(spill / "tables.duckdb") if on_disk else ":memory:"
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(spill),
            "threads": threads or _threads(memory_mb),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "preserve_insertion_order": "true",
        }
        with duckdb.connect(database, config=config) as connection:
            # It goes to stdout, which is for data. In a notebook DuckDB refuses to
            # be told so where it could draw none anyway, for want of ipywidgets.
            with suppress(duckdb.InvalidInputException):
                connection.execute("SET enable_progress_bar = false")
            yield connection
    except duckdb.Error as error:
        if not _is_of_disk(error):
            raise
        reason = str(error).splitlines()[0]
        raise StorageError(f"cannot work in {folder}: {reason}") from error
    finally:
        _remove(spill, lock)


def check_name(path: Path) -> None:
    """Check that DuckDB can open a file or folder of this name.

    Raises:
        StorageError: the name, or that of a folder above, is not UTF-8.
    """
    if not containment.is_utf8(str(path.absolute())):
        raise StorageError(
            f"cannot work in {path.absolute()}: a name in it is not UTF-8, which DuckDB "
            "does not open; rename that folder, or use another"
        )


def _is_of_disk(error: duckdb.Error) -> bool:
    """Tells what a full or broken disk makes of a query from what is wrong with it."""
    import duckdb  # noqa: PLC0415 - as above

    # A database that could not be written is of no use any more, and says so.
    of_disk = (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.FatalException)
    is_lost = isinstance(error, duckdb.TransactionException)
    return isinstance(error, of_disk) or (is_lost and "Failed to commit" in str(error))


def stripped(text: str) -> str:
    """Returns SQL for a text as ``str.strip`` makes it, and null where that is empty.

    Args:
        text: SQL for the text, such as the name of a column.
    """
    # Asking for the two ends first is twenty times faster than to trim all.
    is_plain = " AND ".join(f"{text}[{end}] BETWEEN '!' AND '~'" for end in (1, -1))
    trimmed = f"nullif(trim({text}, '{_SPACES}'), '')"
    return f"CASE WHEN {is_plain} THEN {text} ELSE {trimmed} END"


def quoted(text: str) -> str:
    """Returns SQL for a text that a user gave."""
    return "'" + text.replace("'", "''") + "'"


def repeats(table: str, *columns: str, row: str = "row") -> str:
    """Returns SQL for the rows of which an earlier one has the same in all columns.

    Args:
        table: its name, or that of a query that stands before.
        columns: that are compared.
        row: the column by which rows are ordered, and which is returned.
    """
    same = ", ".join(columns)
    # Hashes are compared first: ten million of them fit into memory, names do not.
    return f"""
        SELECT {row} FROM (
            SELECT {row}, row_number() OVER (PARTITION BY {same} ORDER BY {row}) AS nth
            FROM {table} SEMI JOIN (SELECT hash({same}) AS code FROM {table}
                GROUP BY code HAVING count(*) > 1) ON hash({same}) = code
        ) WHERE nth > 1
    """


def insert(
    connection: duckdb.DuckDBPyConnection, query: str, rows: pa.Table | pa.RecordBatch
) -> None:
    """Runs an ``INSERT`` whose query reads the table ``incoming``, which is ``rows``."""
    connection.register("incoming", rows)
    try:
        connection.execute(query)
    finally:
        connection.unregister("incoming")


@contextmanager
def function(
    connection: duckdb.DuckDBPyConnection, name: str, ask: Callable[[str], str]
) -> Iterator[None]:
    """Lets SQL ask what only Python knows; for few rows, or for distinct values.

    Args:
        connection: in which the function is there, until the block ends.
        name: what SQL calls it.
        ask: takes and returns a text; it is not asked about nulls.
    """
    connection.create_function(name, ask, ["VARCHAR"], "VARCHAR")
    try:
        yield
    finally:
        connection.remove_function(name)


def _threads(memory_mb: int) -> int:
    return max(1, min(parallel.cores(), memory_mb // _THREAD_MB))


def _spill_folder(folder: Path) -> tuple[Path, BinaryIO]:
    """Makes a folder that this run holds; returns it and the lock that says so."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        spill = Path(tempfile.mkdtemp(dir=folder, prefix=_PREFIX))
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}") from error
    try:
        return spill, _hold(spill)
    except StorageError:
        if spill.exists():
            raise
    # Another run took it for abandoned before it was locked.
    return _spill_folder(folder)


def _hold(spill: Path) -> BinaryIO:
    return locking.open_locked(spill / _LOCK, busy=f"another run uses {spill}")


def _remove_abandoned(folder: Path) -> None:
    """Removes what killed runs left; runs that still go on hold theirs."""
    for spill in folder.glob(f"{_PREFIX}*"):
        try:
            lock = _hold(spill)
        except StorageError:
            continue
        _remove(spill, lock)


def _remove(spill: Path, lock: BinaryIO) -> None:
    if not locking.CAN_REMOVE_OPEN:
        lock.close()  # the folder stays where another run has taken it by now
    shutil.rmtree(spill, ignore_errors=True)
    lock.close()
