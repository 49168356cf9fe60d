"""Crops that are decoded and made small once, for all epochs after the first.

Decoding whole crops is most of what a loader does. Here the pixels that an augmentation
starts from are kept: filled as crops are first seen, usable at once and by later runs
over the same crops. What is kept is exactly what would be made anew, so that a run does
not depend on what it finds here.

A folder holds segments, each a file of pixels one crop after the other and an index of
fixed records. A process appends to a segment of its own and reads those of all, so that
processes of one run, and runs at the same time, share what they have. Pixels are synced
before the records that name them are written: after a kill or a power cut at most the last 64
MiB are made again. A record has the digest of the crop's bytes, so that the pixels of a
crop that was replaced since are made again, too.

Size on disk: 3 bytes a pixel. At 300 px a varied crop of usual shape takes up to 0.5 MB
(its shorter side is at most 1.15 times 300), one that is not varied 0.27 MB; 100,000 of
them 50 and 27 GB. ``max_bytes`` bounds it, and a twentieth of the disk is left free:
crops for which there is no room are decoded each time.
"""

from __future__ import annotations

import os
import shutil
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from classification.runtime import journal, locking
from classification.runtime.atomic import check_writable
from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

_VERSION = 2
_INDEX, _PIXELS = ".index", ".pixels"
_SYNC_BYTES = 64 << 20
_MOST_SEGMENTS = 4096
_SHARE_LEFT_FREE = 0.05
_RECORD = np.dtype(
    [
        ("row", "<u4"),
        ("height", "<u2"),
        ("width", "<u2"),
        ("offset", "<u8"),
        ("digest", "V16"),
        ("check", "<u4"),
    ]
)
_CHECKED_BYTES = _RECORD.itemsize - 4


def key(names: Iterable[str], *, root: Path, prepared: str) -> str:
    """Returns a name for a folder that holds these crops, prepared in this way.

    Args:
        names: of the crops, in row order.
        root: folder of the crops.
        prepared: how their pixels are prepared, with all that they depend on.
    """
    parts = (_VERSION, str(root.resolve()), prepared)
    return journal.digest((*parts, *names))[:32]


class CropCache:
    """Prepared pixels by row; a context manager, safe to use from many threads.

    Attributes:
        is_full: there was no room for a crop.
    """

    def __init__(
        self, folder: Path, rows: int, *, max_bytes: int | None = None
    ) -> None:
        """Opens what is there, and a segment to append to.

        Args:
            folder: of this cache alone: its name should be ``key``'s.
            rows: number of rows of the split.
            max_bytes: most bytes that all segments may hold; None for what the disk
                has.

        Raises:
            StorageError: the folder cannot be written.
        """
        check_writable(folder)
        self.is_full = False
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._records = np.zeros(rows, _RECORD)
        self._segment_of = np.full(rows, -1, np.int16)
        self._mapped: dict[int, NDArray[np.uint8]] = {}
        self._known: dict[int, int] = {}
        self._waiting: list[bytes] = []
        self._unsynced = 0
        self._own = _open_own(folder)
        self.refresh()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Keeps what was added, and closes the files."""
        self.sync()
        self._mapped.clear()
        self._own.close()

    def __len__(self) -> int:
        """Returns how many rows can be read, as of the last ``refresh``."""
        return int(np.count_nonzero(self._segment_of >= 0))

    def size(self) -> int:
        """Returns how many bytes of pixels all segments hold."""
        return sum(path.stat().st_size for path in self._folder.glob(f"*{_PIXELS}"))

    def refresh(self) -> None:
        """Makes readable what this and other processes have added; for each epoch."""
        self.sync()
        for path in sorted(self._folder.glob(f"*{_INDEX}")):
            if path.stem.isdecimal():
                self._map(int(path.stem))
        self._room = self._measure_room()

    def get(self, row: int, digest: bytes) -> NDArray[np.uint8] | None:
        """Returns the pixels of a row, read-only; None where they have to be made.

        Args:
            row: its number.
            digest: of the crop's bytes as they are now, 16 bytes.
        """
        segment = int(self._segment_of[row])
        if segment < 0:
            return None
        record = self._records[row]
        if record["digest"].tobytes() != digest:
            return None
        height, width, offset = (
            int(record[key]) for key in ("height", "width", "offset")
        )
        pixels = self._mapped[segment][offset : offset + 3 * height * width]
        return pixels.reshape(height, width, 3)

    def put(self, row: int, digest: bytes, pixels: NDArray[np.uint8]) -> None:
        """Keeps the pixels of a row, where there is room.

        Args:
            row: its number.
            digest: of the crop's bytes that they were made of, 16 bytes.
            pixels: shape [height, width, 3].
        """
        with self._lock:
            if self.is_full or pixels.nbytes > self._room:
                self.is_full = True
                return
            try:
                offset = self._own.append(pixels)
            except OSError:  # the disk is full, or gone: training goes on without
                self.is_full = True
                return
            self._room -= pixels.nbytes
            self._unsynced += pixels.nbytes
            self._waiting.append(_record(row, pixels, offset, digest))
            if self._unsynced >= _SYNC_BYTES:
                self._sync()
                self._room = self._measure_room()

    def sync(self) -> None:
        """Makes what was added outlive the machine."""
        with self._lock:
            self._sync()

    def _sync(self) -> None:
        try:
            self._own.commit(self._waiting)
        except OSError:
            self.is_full = True
        self._waiting, self._unsynced = [], 0

    def _measure_room(self) -> int:
        disk = shutil.disk_usage(self._folder)
        room = disk.free - int(_SHARE_LEFT_FREE * disk.total)
        if self._max_bytes is not None:
            room = min(room, self._max_bytes - self.size())
        return room

    def _map(self, segment: int) -> None:
        """Makes the further records of a segment readable."""
        known = self._known.get(segment, 0)
        records = _read_records(self._folder / f"{segment}{_INDEX}", known)
        if not len(records):
            return
        self._known[segment] = known + len(records)
        pixels = self._folder / f"{segment}{_PIXELS}"
        if not pixels.is_file() or not pixels.stat().st_size:
            return  # somebody took it away
        self._mapped[segment] = np.memmap(pixels, np.uint8, "r")
        is_whole = _ends(records) <= len(self._mapped[segment])
        there = records[is_whole & (records["row"] < len(self._records))]
        self._records[there["row"]] = there
        self._segment_of[there["row"]] = segment


@dataclass(frozen=True)
class _Segment:
    """The files that a process appends to."""

    index: BinaryIO
    pixels: BinaryIO

    def append(self, pixels: NDArray[np.uint8]) -> int:
        """Writes pixels at the end; returns where they begin."""
        offset = self.pixels.seek(0, os.SEEK_END)
        data = memoryview(pixels.tobytes())
        while data:
            data = data[self.pixels.write(data) :]
        return offset

    def commit(self, records: list[bytes]) -> None:
        """Adds records, after the pixels that they name."""
        if records:
            os.fsync(self.pixels.fileno())
            self.index.seek(0, os.SEEK_END)
            self.index.write(b"".join(records))
            self.index.flush()

    def close(self) -> None:
        self.pixels.close()
        self.index.close()


def _open_own(folder: Path) -> _Segment:
    """Opens the first segment that no other process appends to."""
    for number in range(_MOST_SEGMENTS):
        path = folder / f"{number}{_INDEX}"
        try:
            index = locking.open_locked(path, busy="")
        except StorageError:
            continue
        try:
            return _mended(index, path)
        except OSError as error:
            index.close()
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
    raise StorageError(f"cannot write {folder}: too many runs use it")


def _mended(index: BinaryIO, path: Path) -> _Segment:
    """Cuts off what a killed run left half done."""
    pixels_path = path.with_suffix(_PIXELS)
    pixels_path.touch()
    pixels = pixels_path.open("r+b", buffering=0)
    records = _read_records(path)
    lacking = np.flatnonzero(_ends(records) > pixels_path.stat().st_size)
    records = records[: lacking[0]] if len(lacking) else records
    index.truncate(records.nbytes)
    pixels.truncate(int(_ends(records).max(initial=0)))
    return _Segment(index, pixels)


def _ends(records: NDArray[np.void]) -> NDArray[np.int64]:
    """Returns where the pixels of each record end."""
    sizes = 3 * records["height"].astype(np.int64) * records["width"]
    ends: NDArray[np.int64] = records["offset"].astype(np.int64) + sizes
    return ends


def _record(row: int, pixels: NDArray[np.uint8], offset: int, digest: bytes) -> bytes:
    height, width, _ = pixels.shape
    record = np.array((row, height, width, offset, np.void(digest), 0), _RECORD)
    record["check"] = zlib.crc32(record.tobytes()[:_CHECKED_BYTES])
    return record.tobytes()


def _read_records(path: Path, first: int = 0) -> NDArray[np.void]:
    """Returns the records from a position to the first that is torn or damaged."""
    with path.open("rb") as file:
        file.seek(first * _RECORD.itemsize)
        data = file.read()
    records = np.frombuffer(data, _RECORD, len(data) // _RECORD.itemsize)
    for number, check in enumerate(records["check"].tolist()):
        start = number * _RECORD.itemsize
        if zlib.crc32(data[start : start + _CHECKED_BYTES]) != check:
            return records[:number]
    return records
