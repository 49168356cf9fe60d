"""The append-only journal that lets a long step go on after it was killed.

A journal is a text file beside the step's output. The first line names the work (a
digest of inputs and options); each further line holds one record, a JSON document
behind its CRC-32. Records survive the death of the process as soon as ``append``
returns, and a torn last line is cut off when the journal is opened again::

    ct-journal 1 5f0c…e1
    8d3b21aa {"i":0,"failure":null,…}

The file is locked while it is open, so a second run on the same output ends with
one line instead of mixing its records in.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from array import array
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from classification.runtime import locking
from classification.runtime.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC = "ct-journal 1"
_READ_BYTES = 1 << 20


def digest(parts: Iterable[object]) -> str:
    """Returns a SHA-256 hex digest of what a run does: its inputs and options; see ``key``.

    Args:
        parts: JSON-encodable values (strings, numbers, None, lists, dicts) in a
            fixed order; streamed, so a million file names cost no memory.
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(json.dumps(part, sort_keys=True).encode() + b"\n")
    return total.hexdigest()


def key(**parts: Iterable[object]) -> str:
    """Return what tells a run from others, by parts, so that it can be said what differs.

    Args:
        parts: what ``digest`` takes, by what a person calls it: ``images``, ``options``.
    """
    return " ".join(f"{name}={digest(values)[:32]}" for name, values in parts.items())


def differences(one: str, other: str) -> str:
    """Say in which parts two keys differ; see ``key``."""
    parts = [
        dict(part.partition("=")[::2] for part in text.split()) for text in (one, other)
    ]
    names = [name for name in parts[0] if parts[0][name] != parts[1].get(name)]
    is_known = parts[0].keys() == parts[1].keys() and any(parts[0].values())
    return " and ".join(names) if is_known else "inputs or options"


class Journal:
    """An open, locked journal; use as a context manager.

    Attributes:
        path: where it is.
        records: number of records that were there when it was opened.
    """

    def __init__(self, path: Path, file: BinaryIO, records: int) -> None:
        """Takes over an open file; call ``Journal.open`` instead."""
        self.path = path
        self.records = records
        self._file = file

    @classmethod
    def open(cls, path: Path, *, key: str, restart: bool = False) -> Self:
        """Opens the journal of the work ``key``, or begins one.

        Args:
            path: the journal file, beside the step's output.
            key: digest of inputs and options (see ``key`` and ``digest``).
            restart: throw away what an earlier run left, whatever its key.

        Raises:
            ConfigurationError: the journal holds records of other inputs or options, or
                the file is no journal at all, which no option throws away.
            StorageError: the file cannot be opened, or another run holds it.
        """
        busy = f"another run is writing {path}; wait for it to end"
        file = locking.open_locked(path, busy=busy)
        header = f"{_MAGIC} {key}\n".encode()
        try:
            with _naming_errors(path):
                return cls(path, file, _begin(path, file, header, restart=restart))
        except BaseException:
            with suppress(OSError):
                file.close()
            raise

    def __enter__(self) -> Self:
        """Returns the journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file, which frees the lock; the journal stays on disk."""
        with suppress(OSError):  # append or sync has already said that it failed
            self._file.close()

    def append(self, records: Iterable[Any]) -> None:
        """Adds records; they outlive the process once this returns.

        Raises:
            StorageError: the disk is full; what was appended before is safe.
        """
        lines = b"".join(_to_line(record) for record in records)
        with _naming_errors(self.path):
            self._file.write(lines)
            self._file.flush()

    def sync(self) -> None:
        """Makes what was appended outlive the machine, too."""
        with _naming_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def read(self) -> Iterator[Any]:
        """Yields every record from the first, one at a time."""
        file, start, lines = self._file, 0, [b""]
        while lines:
            file.seek(start)
            # Not through another handle: on Windows it could not read the locked byte.
            lines = file.readlines(_READ_BYTES)
            records = lines if start else lines[1:]
            start = file.tell()
            file.seek(0, os.SEEK_END)
            for line in records:
                yield json.loads(line[9:])

    def read_latest(self, name_of: Callable[[Any], str]) -> Iterator[Any]:
        """Yield the last record of each name, in the order in which names first appear.

        So what was done anew takes the place of what it supersedes. A record takes 16
        bytes of memory.

        Args:
            name_of: returns the name that a record is of.
        """
        hashes, offsets = array("q"), array("q")
        self._file.flush()
        with self.path.open("rb") as file:
            file.readline()
            offset = file.tell()
            for line in file:
                hashes.append(hash(name_of(json.loads(line[9:]))))
                offsets.append(offset)
                offset += len(line)
            for position in _latest(np.array(hashes, np.int64)):
                file.seek(offsets[position])
                yield json.loads(file.readline()[9:])

    def remove(self) -> None:
        """Close and delete the journal: the step's output is complete."""
        with _naming_errors(self.path):
            locking.remove(self.path, self._file)


@contextmanager
def _naming_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot write {path}: {reason}") from error


def _latest(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each hash stands last, in the order in which they stand first."""
    _, first = np.unique(hashes, return_index=True)
    _, from_end = np.unique(hashes[::-1], return_index=True)
    return (len(hashes) - 1 - from_end)[np.argsort(first)]


def _begin(path: Path, file: BinaryIO, header: bytes, *, restart: bool) -> int:
    """Leaves ``file`` ready to append to; returns the number of records it holds."""
    found = file.readline()
    _refuse_foreign(path, found)
    records, end = _count_records(file)
    if restart or not found.endswith(b"\n") or not records:
        file.truncate(0)
        file.seek(0)
        file.write(header)
        file.flush()
        return 0
    _check_header(path, found, header)
    file.truncate(end)
    file.seek(end)
    return records


def _refuse_foreign(path: Path, found: bytes) -> None:
    start = found[: len(_MAGIC)]
    if start != _MAGIC.encode()[: len(start)]:
        raise ConfigurationError(f"{path} is not a journal; move it out of the way")


def _check_header(path: Path, found: bytes, expected: bytes) -> None:
    if found != expected:
        one, other = (
            header.decode(errors="replace").removeprefix(_MAGIC).strip()
            for header in (found, expected)
        )
        raise ConfigurationError(
            f"{path} belongs to a run with other {differences(one, other)}; "
            "--restart throws it away and begins again"
        )


def _to_line(record: object) -> bytes:
    payload = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def _count_records(file: BinaryIO) -> tuple[int, int]:
    """Counts whole records from the current position; returns (number, end offset)."""
    count, end = 0, file.tell()
    for line in file:
        if not _is_whole(line):
            break
        count += 1
        end += len(line)
    return count, end


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"\n") and line[:8] == b"%08x" % zlib.crc32(line[9:-1])
