"""Sorting more than memory holds: sorted runs in temporary files, merged while read.

The files have no name, so nothing is left behind even if the process is killed. They
are in the folder that ``TMPDIR`` names.
"""

from __future__ import annotations

import heapq
import struct
from contextlib import ExitStack
from operator import itemgetter
from typing import IO, TYPE_CHECKING, TypeAlias

from classification.runtime import scratch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Record: TypeAlias = tuple[str, bytes]

MEMORY_BYTES = 64 << 20

_OVERHEAD_BYTES = 200  # of a pair, a text and its bytes as Python objects
_LENGTHS = struct.Struct("<II")
_by_key = itemgetter(0)


def sort_records(
    records: Iterable[Record], *, memory_bytes: int = MEMORY_BYTES
) -> Iterator[Record]:
    """Yields records sorted by key; those of the same key in the order they came.

    Args:
        records: keys, in which no lone surrogate stands, with anything.
        memory_bytes: how much of it may be in memory at a time.

    Raises:
        StorageError: the temporary folder is full.
    """
    with ExitStack() as files:
        runs: list[IO[bytes]] = []
        for run, is_last in _cut(records, memory_bytes):
            run.sort(key=_by_key)
            if is_last:
                yield from heapq.merge(*map(_read, runs), run, key=_by_key)
            else:
                runs.append(_spill(run, files))


def _cut(
    records: Iterable[Record], memory_bytes: int
) -> Iterator[tuple[list[Record], bool]]:
    """Yields as many records at a time as memory takes, and whether they are the last."""
    run: list[Record] = []
    size = 0
    for record in records:
        if size > memory_bytes:
            yield run, False
            run, size = [], 0
        size += len(record[0]) + len(record[1]) + _OVERHEAD_BYTES
        run.append(record)
    yield run, True


def _spill(run: list[Record], files: ExitStack) -> IO[bytes]:
    """Moves records out of memory."""
    file = files.enter_context(scratch.write_down(map(_to_bytes, run)))
    run.clear()
    return file


def _to_bytes(record: Record) -> bytes:
    key, value = record
    text = key.encode()
    return _LENGTHS.pack(len(text), len(value)) + text + value


def _read(file: IO[bytes]) -> Iterator[Record]:
    while lengths := file.read(_LENGTHS.size):
        key_bytes, value_bytes = _LENGTHS.unpack(lengths)
        yield file.read(key_bytes).decode(), file.read(value_bytes)
