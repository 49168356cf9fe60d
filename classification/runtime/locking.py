"""Files that one run holds at a time."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A link is not followed: whoever can put one there would choose what is written over.
_FLAGS = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Keeps every other run that asks for ``path`` out, until the block ends.

    For a file that is read, changed and replaced as a whole. What is locked is a file of
    its own beside it, ``.<name>.lock``, since ``path`` itself changes hands; it is gone
    after the block, and one that a killed run left does no harm.

    Args:
        path: the file to be changed; it need not exist, nor its folder.

    Raises:
        StorageError: another run is at it, or the folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    busy = f"another run is writing {path}; wait for it to end"
    with open_locked(lock, busy=busy):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def open_locked(path: Path, *, busy: str) -> BinaryIO:
    """Opens a file, made if missing, that no other run has open in this way.

    The lock ends when the file is closed or the process dies, however it dies. On
    Windows there is no lock.

    Args:
        path: the file; its folder is made if missing.
        busy: what to say where another run holds it.

    Raises:
        StorageError: it cannot be written, is a link, or another run holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, _FLAGS, 0o666), "r+b")
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot write {path}: {reason}") from error
    try:
        _lock(file)
        # Another run may have ended, and removed it, between open and lock.
        if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise FileNotFoundError
    except OSError:
        file.close()
        raise StorageError(busy) from None
    return file


def _lock(file: BinaryIO) -> None:
    try:
        import fcntl  # noqa: PLC0415 - absent on Windows, where there is no lock
    except ImportError:
        return
    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
