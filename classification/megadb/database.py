"""DuckDB inside this process: how it is opened, and what it may use."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

# What does not fit spills to disk, so this bounds memory and not what can be done.
MEMORY_MB = 1500
_PREFIX = ".ct-duckdb-"


@contextmanager
def connect(
    folder: Path, *, memory_mb: int = MEMORY_MB, on_disk: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a database that lives only inside the block.

    Nothing is fetched: extensions that are not built in stay absent.

    Args:
        folder: where it spills to; what it wrote there is gone after the block, and
            what a killed run left is removed before it.
        memory_mb: the most memory it uses before it spills.
        on_disk: keep its tables in a file, too, for more rows than memory holds.

    Raises:
        StorageError: the folder cannot be written.
    """
    import duckdb  # noqa: PLC0415 - takes a moment, and --help needs none of it

    spill = _spill_folder(folder)
    try:
        database = str(spill / "tables.duckdb") if on_disk else ":memory:"
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(spill),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "preserve_insertion_order": "true",
        }
        with duckdb.connect(database, config=config) as connection:
            yield connection
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _spill_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=folder, prefix=_PREFIX))
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}") from error
