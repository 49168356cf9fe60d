"""``tasks.sqlite``: the tasks of a detection service, which outlive it.

One row a task, in the order of submission. A task is there before its id is told, and
stays when it has ended. Whatever its images and addresses are is kept until then and no
longer, since an address may hold a token; only the service's user can read the file.

========  ==================================================================
column    what it holds
========  ==================================================================
number    1, 2, 3 … in the order of submission
id        what the task is called by those who ask
name      of the request
caller    who asked
state     running, completed, failed, problem or canceled
message   why it ended as it did; never a token
request   what was asked for, packed; NULL once the task has ended
digest    SHA-256 of what was asked for, to know the same request again
========  ==================================================================

A task that waits is ``running``, as one that is worked on: so nothing has to be put right
after a kill.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import threading
import zlib
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from classification.artifacts import batch_request
from classification.artifacts.batch_response import RUNNING
from classification.runtime.addresses import without_tokens
from classification.runtime.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from classification.artifacts.batch_request import BatchRequest

FILENAME = "tasks.sqlite"
_VERSION = 1
_SCHEMA = f"""
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    caller TEXT NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL DEFAULT '',
    request BLOB, digest TEXT NOT NULL
);
CREATE INDEX by_state ON tasks (state, number);
CREATE INDEX by_digest ON tasks (digest);
PRAGMA user_version = {_VERSION};
"""
_COLUMNS = "number, id, name, caller, state, message"
_SAME = f"SELECT {_COLUMNS} FROM tasks WHERE digest = ? AND state = ?"  # noqa: S608 - our own words


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task.

    Attributes:
        number: its place in the order of submission.
        id: what it is called.
        name: of the request; may be empty.
        caller: who asked; may be empty.
        state: as the Batch Detection API calls it.
        message: why it ended as it did; may be empty.
    """

    number: int
    id: str
    name: str
    caller: str
    state: str
    message: str = field(default="", compare=False)

    @property
    def has_ended(self) -> bool:
        """Says whether nothing is to be done any more."""
        return self.state != RUNNING


class TaskTable:
    """The open table; several threads may use it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Takes over a connection; call ``TaskTable.open`` instead."""
        self._database = database
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Opens the table, or makes one that only this user can read.

        Raises:
            ConfigurationError: the file is no such table.
            StorageError: it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            path.chmod(0o600)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False
        )
        with closing(connection) as database:
            _prepare(database, path)
            yield cls(database)

    def submit(self, request: BatchRequest) -> tuple[Task, bool]:
        """Adds a task; the same request is the same task until that has ended.

        So a client that did not hear the answer may ask again.

        Returns:
            The task, and whether it is new.
        """
        body = request.encode()
        digest = hashlib.sha256(body).hexdigest()
        with self._changing() as database:
            found = database.execute(_SAME, (digest, RUNNING)).fetchone()
            if found:
                return _to_task(found), False
            row = (secrets.token_hex(16), request.name, request.caller, RUNNING)
            inserted = database.execute(
                "INSERT INTO tasks (id, name, caller, state, request, digest) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (*row, zlib.compress(body, 1), digest),
            )
            return _to_task((inserted.lastrowid, *row, "")), True

    def find_same(self, request: BatchRequest) -> Task | None:
        """Returns the task of the same request, if that has not ended."""
        digest = hashlib.sha256(request.encode()).hexdigest()
        with self._lock:
            found = self._database.execute(_SAME, (digest, RUNNING)).fetchone()
        return _to_task(found) if found else None

    def find(self, task_id: str) -> Task | None:
        """Returns a task, or None where there is none of this id."""
        found = self._select("id = ?", task_id)
        return found[0] if found else None

    def waiting(self) -> list[Task]:
        """Returns the tasks that are to be done, in the order of submission."""
        return self._select("state = ?", RUNNING)

    def count_before(self, task: Task) -> int:
        """Returns how many tasks are to be done before this one."""
        with self._lock:
            (count,) = self._database.execute(
                "SELECT count(*) FROM tasks WHERE state = ? AND number < ?",
                (RUNNING, task.number),
            ).fetchone()
        return int(count)

    def request_of(self, task: Task) -> BatchRequest | None:
        """Returns what was asked for, or None once the task has ended."""
        with self._lock:
            found = self._database.execute(
                "SELECT request FROM tasks WHERE number = ? AND state = ?",
                (task.number, RUNNING),
            ).fetchone()
        return batch_request.parse(zlib.decompress(found[0])) if found else None

    def replace_request(self, task: Task, request: BatchRequest) -> None:
        """Keeps another form of what was asked for, such as one with its images."""
        with self._changing() as database:
            database.execute(
                "UPDATE tasks SET request = ? WHERE number = ? AND state = ?",
                (zlib.compress(request.encode(), 1), task.number, RUNNING),
            )

    def end(self, task: Task, state: str, message: str = "") -> bool:
        """Ends a task, and forgets its addresses; one that has ended stays as it is.

        Returns:
            Whether it had not ended before.
        """
        with self._changing() as database:
            changed = database.execute(
                "UPDATE tasks SET state = ?, message = ?, request = NULL "
                "WHERE number = ? AND state = ?",
                (state, without_tokens(message), task.number, RUNNING),
            )
            return changed.rowcount == 1

    def _select(self, condition: str, value: str) -> list[Task]:
        query = f"SELECT {_COLUMNS} FROM tasks WHERE {condition} ORDER BY number"  # noqa: S608 - our own words
        with self._lock:
            return [_to_task(row) for row in self._database.execute(query, (value,))]

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A change that is on the disk when the block ends, or not made at all."""
        try:
            with self._lock, self._database as database:
                database.execute("BEGIN IMMEDIATE")
                yield database
        except sqlite3.OperationalError as error:
            raise StorageError(f"cannot write {FILENAME}: {error}") from error


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    """Makes the table where there is none, and sees that it is ours where there is."""
    try:
        database.execute(
            "PRAGMA secure_delete = ON"
        )  # what is forgotten is overwritten
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{path} is not a table of tasks: {error}") from error
    if version not in {0, _VERSION}:
        raise ConfigurationError(f"{path} was made by another release of this service")


def _to_task(row: tuple[object, ...]) -> Task:
    number, *texts = row
    return Task(
        number=int(str(number)), **dict(zip(_TEXTS, map(str, texts), strict=True))
    )


_TEXTS = ("id", "name", "caller", "state", "message")
