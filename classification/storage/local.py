"""Images in a folder of this machine."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

from classification.runtime.errors import AbsentError, ItemError, StorageError

# Far above any photograph; a disk image named .jpg must not fill memory.
MAX_BYTES = 1 << 28

# Not to wait on a pipe; bytes as they are on Windows, too.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Stamp(NamedTuple):
    """When a file was last written, and how long it is.

    Attributes:
        modified: nanoseconds since 1970.
        size: in bytes.
    """

    modified: int
    size: int


class LocalStore:
    """A folder; names are paths relative to it, and none leads out of it.

    A link that lies in the folder is followed wherever it leads: who put it there may
    read what it leads to anyway.
    """

    def __init__(self, root: Path) -> None:
        """Names the folder; it need not exist until something is read."""
        self.root = root

    def read(self, name: str) -> bytes:
        """Returns the bytes of ``root/name``; see ``ImageStore.read``."""
        return read_file(_inside(self.root, name))

    def stamp(self, name: str) -> Stamp:
        """Returns what changes when ``root/name`` is replaced.

        Raises:
            ItemError: it is missing, or cannot be looked at.
        """
        try:
            status = _inside(self.root, name).stat()
        except (OSError, ValueError) as error:
            raise _failure_of(error) from error
        return Stamp(status.st_mtime_ns, status.st_size)

    def exists(self, name: str) -> bool:
        """Says whether ``root/name`` is a file; see ``ImageStore.exists``."""
        try:
            return stat.S_ISREG(_inside(self.root, name).stat().st_mode)
        except (FileNotFoundError, NotADirectoryError, ValueError, ItemError):
            return False
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return False  # no file has such a name
            raise StorageError(
                f"cannot look for {self.root / name}: {error.strerror}"
            ) from error


def _inside(root: Path, name: str) -> Path:
    path = Path(name)
    if path.anchor or ".." in path.parts:
        raise ItemError(f"{name!r} leaves its folder")
    return root / path


def read_file(path: Path) -> bytes:
    """Reads a plain, non-empty file; never waits on a pipe or a device.

    Raises:
        ItemError: it is missing, empty, larger than ``MAX_BYTES``, a folder, a pipe,
            or cannot be read.
    """
    try:
        handle = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise _failure_of(error) from error
    try:
        _check(os.fstat(handle))
        # Unbuffered: the whole file is read at once.
        with os.fdopen(handle, "rb", buffering=0, closefd=False) as file:
            data = file.readall()
    except OSError as error:
        raise _failure_of(error) from error
    finally:
        os.close(handle)
    if not data:
        raise ItemError("empty file")
    return data


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise ItemError(f"{kind}, not a file")
    if status.st_size > MAX_BYTES:
        raise ItemError(f"{status.st_size} bytes are more than any image has")


def _failure_of(error: OSError | ValueError) -> ItemError:
    if isinstance(error, FileNotFoundError):
        return AbsentError("no such file")
    text = error.strerror if isinstance(error, OSError) else str(error)
    kind = AbsentError if isinstance(error, NotADirectoryError) else ItemError
    return kind(f"cannot read: {text}")
