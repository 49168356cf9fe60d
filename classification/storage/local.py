"""Images in a folder of this machine."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from classification.runtime.contents import Stamp
from classification.runtime.errors import AbsentError, ItemError, StorageError
from classification.storage import ImageStore

# Far above any photograph; a disk image named .jpg must not fill memory.
MAX_BYTES = 1 << 28

# Not to wait on a pipe; bytes as they are on Windows, too.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Presence:
    """A folder that must not vanish while it is worked with."""

    def __init__(self, root: Path) -> None:
        """Note on which disk the folder is; one that is not there cannot vanish."""
        self._root = root
        self._device = _device_of(root)

    def check(self) -> None:
        """See that the folder is there, if it ever was; for when a file is missing.

        Raises:
            StorageError: it is gone, or its disk is, so that nothing is known of files.
        """
        if self._device is not None and _device_of(self._root) != self._device:
            raise StorageError(
                f"{self._root} vanished in the middle of the run; see that the folder and "
                "its disk are there, and run the same again"
            )


def _device_of(folder: Path) -> int | None:
    try:
        status = folder.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev if stat.S_ISDIR(status.st_mode) else None


class LocalStore(ImageStore):
    """A folder; names are paths relative to it, and none leads out of it.

    A link that lies in the folder is followed wherever it leads: who put it there may
    read what it leads to anyway.
    """

    def __init__(self, root: Path) -> None:
        """Names the folder; it need not exist until something is read."""
        self.root = root
        self._presence = Presence(root)

    def load(self, name: str) -> tuple[bytes, Stamp]:
        """Return the bytes of ``root/name``, and its stamp; see ``ImageStore.load``."""
        try:
            return load_file(_inside(self.root, name))
        except ItemError:
            self._presence.check()
            raise

    def stamp(self, name: str) -> Stamp:
        """Return the stamp of ``root/name``; see ``ImageStore.stamp``."""
        try:
            return stamp_file(_inside(self.root, name))
        except ItemError:
            self._presence.check()
            raise

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


def stamp_file(path: Path) -> Stamp:
    """Return what changes when a file is replaced.

    Raises:
        ItemError: it is missing, or cannot be looked at.
    """
    try:
        return _stamp_of(path.stat())
    except (OSError, ValueError) as error:
        raise _failure_of(error) from error


def _stamp_of(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns)


def read_file(path: Path) -> bytes:
    """Returns the bytes of a file; see ``load_file``."""
    return load_file(path)[0]


def load_file(path: Path) -> tuple[bytes, Stamp]:
    """Read a plain, non-empty file; never wait on a pipe or a device.

    Returns:
        Its bytes, and its stamp from before they were read.

    Raises:
        ItemError: it is missing, empty, larger than ``MAX_BYTES``, a folder, a pipe,
            or cannot be read.
    """
    try:
        handle = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        # Windows opens no folder.
        if isinstance(error, PermissionError) and os.path.isdir(path):  # noqa: PTH112 - it raises nothing
            raise ItemError("a folder, not a file") from error
        raise _failure_of(error) from error
    try:
        status = os.fstat(handle)
        _check(status)
        # Unbuffered: the whole file is read at once.
        with os.fdopen(handle, "rb", buffering=0, closefd=False) as file:
            data = file.readall()
    except OSError as error:
        raise _failure_of(error) from error
    finally:
        os.close(handle)
    if not data:
        raise ItemError("empty file")
    return data, _stamp_of(status)


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
