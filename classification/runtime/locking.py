"""Files that one run holds at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from classification.runtime.errors import HeldError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

# A link is not followed: whoever can put one there would choose what is written over.
_FLAGS = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)
_WAIT_S = 0.02
# What a disk says that knows no locks, such as some of clusters.
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})


@contextmanager
def exclusive(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Keeps every other run that asks for ``path`` out, until the block ends.

    For a file that is read, changed and replaced as a whole. What is locked is a file of
    its own beside it (beside what a link leads to), ``.<name>.lock``, since ``path`` itself changes hands; it is gone
    after the block, and one that a killed run left does no harm.

    Args:
        path: the file to be changed; it need not exist, nor its folder.
        wait: wait for the other run; for what takes moments.

    Raises:
        HeldError: another run is at it, and it is not waited for.
        StorageError: the folder cannot be written.
    """
    behind = Path(os.path.realpath(path))
    lock = behind.with_name(f".{behind.name}.lock")
    busy = f"another run is writing {path}; wait for it to end"
    with _open_waiting(lock, busy) if wait else open_locked(lock, busy=busy):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def only_run(folder: Path, step: str, *work: object) -> Iterator[None]:
    """Keeps a second run of the same work out of a folder, until the block ends.

    Runs of other work, such as other shards, may fill the folder at the same time: each
    file in it appears whole, whoever writes it. What is locked is ``.<step>-<digest of
    the work>.lock`` in the folder.

    Args:
        folder: is filled by the step; made if missing.
        step: name of the step.
        work: tells this run from others of the step; what has the same text is the same.

    Raises:
        HeldError: another run is at it.
        StorageError: the folder cannot be written.
    """
    told = "\n".join(map(str, work)).encode(errors="surrogateescape")
    digest = hashlib.blake2b(told, digest_size=8).hexdigest()
    lock = folder / f".{step}-{digest}.lock"
    busy = (
        f"another run of {step} is writing the same into {folder}; wait for it to end"
    )
    with open_locked(lock, busy=busy):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def open_locked(path: Path, *, busy: str, required: bool = False) -> BinaryIO:
    """Opens a file, made if missing, that no other run has open in this way.

    The lock ends when the file is closed or the process dies, however it dies. On
    Windows, and on a disk that knows no locks, there is none.

    Args:
        path: the file; its folder is made if missing.
        busy: what to say where another run holds it.
        required: refuse a disk that knows no locks, as if the file were held.

    Raises:
        HeldError: another run holds it.
        StorageError: it cannot be written, or is a link.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, _FLAGS, 0o666), "r+b")
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot write {path}: {reason}") from error
    try:
        if not _lock(file) and required:
            path.unlink()
        # Another run may have ended, and removed it, between open and lock.
        if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise FileNotFoundError  # noqa: TRY301 - as if it had been removed
    except (BlockingIOError, FileNotFoundError):
        file.close()
        raise HeldError(busy) from None
    except OSError as error:
        file.close()
        reason = error.strerror or error
        raise StorageError(f"cannot lock {path}: {reason}") from error
    return file


def _open_waiting(path: Path, busy: str) -> BinaryIO:
    while True:
        try:
            return open_locked(path, busy=busy)
        except HeldError:
            time.sleep(_WAIT_S)


def _lock(file: BinaryIO) -> bool:
    """Locks an open file; returns whether there are locks."""
    try:
        import fcntl  # noqa: PLC0415 - absent on Windows, where there is no lock
    except ImportError:
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True
