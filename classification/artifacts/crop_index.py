"""``.crops.sqlite`` in a folder of crops: what each crop's record says, without opening it.

Written by ``crop_detections`` and ``detect_and_crop``; read by them, ``run_classifier`` and
``create_classification_dataset``. An SQLite database with ``user_version`` 1 and one table::

    crops(
      name BLOB PRIMARY KEY,    -- of the crop, relative to the folder, as the disk spells it
      size INTEGER,             -- of the crop, in bytes
      modified INTEGER,         -- when the crop was written, in nanoseconds since 1970
      record BLOB,              -- the comment in the crop (crop_record); empty: it has none
      image_size INTEGER,       -- of its image, as the place said when the image was read
      image_modified INTEGER,   -- likewise; NULL in all three: the place said nothing
      image_tag TEXT            -- MD5 or ETag of a server
    )

The crops are the truth, and this is a cache: a row whose ``size`` or ``modified`` is not
the file's does not count, a missing one costs opening the crop, and the file can be deleted
at any time. Where it cannot be used (a folder that is read-only, a disk that knows no
locks, a damaged file), steps say so and open the crops.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple, Self

from classification.artifacts import crop_record
from classification.runtime.contents import Stamp
from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from classification.artifacts.crop_record import CropRecord

FILENAME = ".crops.sqlite"
_VERSION = 1
_WAIT_S = 60.0
_AT_ONCE = 512  # rows that are written together
_SCHEMA = """
CREATE TABLE crops (
  name BLOB PRIMARY KEY, size INTEGER, modified INTEGER, record BLOB,
  image_size INTEGER, image_modified INTEGER, image_tag TEXT
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_INSERT = "INSERT OR REPLACE INTO crops VALUES (?, ?, ?, ?, ?, ?, ?)"
_SELECT = (
    "SELECT CAST(ifnull(record, ' ') AS BLOB), image_size, image_modified, image_tag FROM crops "
    "WHERE name = ? AND size = ? AND modified = ?"
)

_logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """What is known of a crop.

    Attributes:
        crop: stamp of its file.
        record: what it was made of; None where it says nothing.
        image: stamp of its image when that was read; None where it is not known.
    """

    crop: Stamp
    record: CropRecord | None
    image: Stamp | None


class CropIndex:
    """The open index; where it cannot be used, it knows nothing and keeps nothing."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open the file; best call ``open``, which closes it."""
        self._path = path
        self._writable = writable
        self._rows: list[tuple[object, ...]] = []
        self._database: sqlite3.Connection | None = None
        try:
            if writable or path.is_file():
                self._database = self._connect()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    @classmethod
    @contextmanager
    def open(cls, crops_dir: Path, *, writable: bool = False) -> Iterator[Self]:
        """Open the index of a folder of crops.

        Args:
            crops_dir: the folder.
            writable: rows are to be added, and the file is made if missing; several runs
                may do so at a time.

        Raises:
            StorageError: the disk is full.
        """
        with closing(cls(crops_dir / FILENAME, writable=writable)) as index:
            yield index
            index.flush()

    def find(self, name: str, crop: Stamp) -> Entry | None:
        """Return what is known of a crop; None where nothing is, or of another file.

        Args:
            name: of the crop, relative to the folder.
            crop: stamp of its file.
        """
        if self._database is None:
            return None
        key = (os.fsencode(name), crop.size, crop.modified)
        try:
            row = self._database.execute(_SELECT, key).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        if row is None:
            return None
        text, size, *further = row
        record = crop_record.decode(text)
        if text and record is None:
            return None  # damaged
        image = None if size is None else Stamp(size, *further)
        return Entry(crop, record, image)

    def add(self, name: str, entry: Entry) -> None:
        """Note what is known of a crop; rows are written some hundred at a time."""
        if self._database is None or not self._writable:
            return
        record = b"" if entry.record is None else crop_record.encode(entry.record)
        image = (None, None, None) if entry.image is None else entry.image
        crop = entry.crop
        self._rows.append((os.fsencode(name), crop.size, crop.modified, record, *image))
        if len(self._rows) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write the rows that were added."""
        rows, self._rows = self._rows, []
        if self._database is None or not rows:
            return
        try:
            with self._database as database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany(_INSERT, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    @property
    def is_lost(self) -> bool:
        """Say whether the file is gone although it is open: its folder vanished."""
        return self._database is not None and not self._path.exists()

    def close(self) -> None:
        """Close the file; rows that are not written are lost."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _connect(self) -> sqlite3.Connection:
        """Open the file; a damaged one is begun anew where it may be written.

        Raises:
            OSError: it is a link, or cannot be removed.
            sqlite3.Error: it cannot be used.
        """
        try:
            return _connect(self._path, writable=self._writable)
        except sqlite3.OperationalError:
            raise  # it may be sound
        except sqlite3.DatabaseError:
            if not self._writable:
                raise
        self._path.unlink()
        return _connect(self._path, writable=True)

    def _give_up(self, error: Exception) -> None:
        """Go on without the index, except on a disk that is full: crops need it, too.

        Raises:
            StorageError: the disk is full.
        """
        self.close()
        self._rows = []
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StorageError(f"cannot write {self._path}: {error}") from error
        _logger.warning(
            "%s cannot be used, so crops are opened one by one to see what they were cut "
            "from: %s",
            self._path,
            getattr(error, "strerror", None) or error,
        )


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open the file, and see that it is an index.

    Raises:
        OSError: it is a link.
        sqlite3.OperationalError: it cannot be used here.
        sqlite3.DatabaseError: it is damaged, or something else.
    """
    if path.is_symlink():
        raise OSError("it is a link")
    database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
    try:
        # A crop may be lost in a power cut, too: no need to wait for the disk.
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA trusted_schema = OFF")
        if writable:
            _make(database)
        else:
            database.execute("PRAGMA query_only = ON")
        _check(database)
    except BaseException:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection) -> None:
    """See that the table is of this version.

    Raises:
        sqlite3.DatabaseError: it is not.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        raise sqlite3.DatabaseError(f"version {version}, not {_VERSION}")
    try:
        database.execute(_SELECT, (b"", 0, 0)).fetchone()
    except sqlite3.OperationalError as error:
        raise sqlite3.DatabaseError(str(error)) from error


def _make(database: sqlite3.Connection) -> None:
    """Make the table where the file is empty."""
    with database:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
