"""Files that one run holds at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import filelock

from classification.runtime.errors import HeldError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

# A link is not followed: whoever can put one there would choose what is written over.
_FLAGS = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)
_WAIT_S = 0.02
# Without it, as on Windows, what is open can be neither removed nor replaced.
CAN_REMOVE_OPEN = find_spec("fcntl") is not None
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
    with held(lock, busy=busy, wait=wait):
        yield


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
    with held(lock, busy=busy):
        yield


@contextmanager
def held(lock: Path, *, busy: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock file until the block ends, and remove it then.

    A lock ends with its process, however that ends; a lock file that stays is harmless.
    On a disk without locks, such as some of clusters, the block runs unlocked.

    Args:
        lock: the lock file; its folder is made if missing.
        busy: the error's text where another run holds it.
        wait: wait for the other run.

    Raises:
        HeldError: another run holds it.
        StorageError: it cannot be written, or is a link.
    """
    timeout = -1 if wait else 0
    file = filelock.FileLock(
        lock, timeout, poll_interval=_WAIT_S, fallback_to_soft=False
    )
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file.acquire()
    except filelock.Timeout:
        raise HeldError(busy) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            reason = error.strerror or error
            raise StorageError(f"cannot write {lock}: {reason}") from error
    try:
        yield
    finally:
        if CAN_REMOVE_OPEN:  # elsewhere release does it
            with suppress(OSError):
                lock.unlink()  # while locked: whoever has it open sees that it is gone
        file.release()


def open_locked(path: Path, *, busy: str, required: bool = False) -> BinaryIO:
    """Opens a file, made if missing, that no other run has open in this way.

    The lock ends when the file is closed or the process dies, however it dies. On a disk
    that knows no locks there is none.

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
        if sys.platform == "win32" and path.is_symlink():
            raise OSError(errno.ELOOP, "it is a link")  # noqa: TRY301 - as O_NOFOLLOW
        file = os.fdopen(os.open(path, _FLAGS, 0o666), "r+b")
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot write {path}: {reason}") from error
    try:
        if not _lock(file) and required:
            remove(path, file)
            raise BlockingIOError  # noqa: TRY301 - as if it were held
        # Another run may have ended, and removed it, between open and lock; on Windows
        # none can.
        if CAN_REMOVE_OPEN and not os.path.samestat(
            path.stat(), os.fstat(file.fileno())
        ):
            raise FileNotFoundError  # noqa: TRY301 - as if it had been removed
    except (BlockingIOError, FileNotFoundError):
        file.close()
        raise HeldError(busy) from None
    except OSError as error:
        file.close()
        reason = error.strerror or error
        raise StorageError(f"cannot lock {path}: {reason}") from error
    return file


def remove(path: Path, file: BinaryIO) -> None:
    """Remove and close a file of ``open_locked``, so that no other run loses its own.

    Raises:
        OSError: it cannot be removed.
    """
    if CAN_REMOVE_OPEN:
        path.unlink(missing_ok=True)  # while locked: nobody else can hold it yet
        file.close()
    else:
        file.close()
        with suppress(PermissionError):  # another run has it open now
            path.unlink(missing_ok=True)


if sys.platform == "win32":
    import msvcrt

    # Nobody else can read what is locked, so it lies behind all that a file holds. The
    # system takes no place behind the last of 31 bits.
    _LOCKED_BYTE = (1 << 31) - 2

    def _lock(file: BinaryIO) -> bool:
        """Locks an open file at its beginning; returns whether there are locks."""
        handle = file.fileno()
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True

else:

    def _lock(file: BinaryIO) -> bool:
        """Locks an open file; returns whether there are locks."""
        try:
            import fcntl  # noqa: PLC0415 - not every system has it
        except ImportError:
            return False
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise
        return True
