"""Files that appear whole or not at all; a link is followed to the file behind it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
import tempfile
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from classification.runtime import locking
from classification.runtime.errors import HeldError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_Waiting: TypeAlias = tuple[Path, Path, BinaryIO]  # temporary, path, the open file


@contextmanager
def replacing(
    path: Path, *, sync: bool = True, follow: bool = True
) -> Iterator[BinaryIO]:
    """Opens a temporary file that becomes ``path`` when the block ends well.

    Until then ``path`` keeps what it held; where the block raises, it still does,
    and the temporary file is gone. Missing parent folders are made.

    Args:
        path: the file to write.
        sync: flush to the disk before the rename; only files that are written by
            the thousand, such as crops, may leave this to the system.
        follow: replace the file that a link leads to, as one expects of an output that
            one names; without it the link is replaced, as is safe where a list names
            the file, since the link may lead to another file of the list.

    Raises:
        StorageError: the folder cannot be written, the disk is full, or ``path`` is
            a folder, a device, a pipe or a stream such as /dev/stdout.
    """
    waiting = _WAITING.get()
    try:
        target = destination(path, follow=follow)
        target.parent.mkdir(parents=True, exist_ok=True)
        file, temporary = _open_temporary(target)
        with _gone_on_failure(temporary, file):
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_UMASK)
            if waiting is None:
                _appear(temporary, target, file, sync=sync)
        if waiting is not None:
            waiting.append((temporary, target, file))
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def together() -> Iterator[None]:
    """Lets the files of ``replacing`` that end in this block appear at its end.

    They do so one right after the other, in the order in which they were written. Where
    the block raises, none does. Until then they cannot be read. It holds for the thread
    that enters it, and blocks within it are part of it.

    Raises:
        StorageError: a file cannot take its place.
    """
    if _WAITING.get() is not None:
        yield
        return
    waiting: list[_Waiting] = []
    token = _WAITING.set(waiting)
    try:
        yield
        for temporary, path, file in waiting:
            try:
                _appear(temporary, path, file, sync=True)
            except OSError as error:
                reason = error.strerror or error
                raise StorageError(f"cannot write {path}: {reason}") from error
    finally:
        _WAITING.reset(token)
        for temporary, _, file in waiting:
            _discard(temporary, file)


def check_writable(folder: Path) -> None:
    """Sees, before hours of work, that files can be made in a folder; makes it.

    Raises:
        StorageError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".ct-probe.tmp"
        probe.touch()
        probe.unlink(missing_ok=True)  # another run may have been faster
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot write into {folder}: {reason}") from error


def _open_temporary(path: Path) -> tuple[BinaryIO, Path]:
    """Opens the file that is to become ``path``.

    Its name follows from that of ``path``, so that what a killed run left is written
    over by the next one. It is locked until it has taken its place; who finds it locked,
    or finds a link there, takes another name.
    """
    # The log of the next run has another time in its name.
    name = _TIME.sub("", path.name)
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()
    temporary = path.with_name(f".ct-{digest}.tmp")
    try:
        file = locking.open_locked(temporary, busy=_TAKEN, required=True)
    except HeldError:
        pass
    except StorageError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise
        if cause.errno != errno.ELOOP:
            raise cause from None
    else:
        if os.fstat(file.fileno()).st_nlink == 1:
            file.truncate()
            return file, temporary
        file.close()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".ct-", suffix=".tmp")
    return os.fdopen(handle, "wb"), Path(name)


@contextmanager
def _gone_on_failure(temporary: Path, file: BinaryIO) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _discard(temporary, file)
        raise


def _discard(temporary: Path, file: BinaryIO) -> None:
    """Closes a file, and removes it if it is still under its temporary name.

    Once it has taken its place that name is free, and another run may have taken it;
    Windows keeps what is open from being removed.
    """
    with suppress(OSError, ValueError):  # ValueError: it is closed
        if not locking.CAN_REMOVE_OPEN or os.path.samestat(
            temporary.stat(), os.fstat(file.fileno())
        ):
            locking.remove(temporary, file)
    with suppress(OSError):
        file.close()


def _appear(temporary: Path, path: Path, file: BinaryIO, *, sync: bool) -> None:
    if not locking.CAN_REMOVE_OPEN:
        file.close()  # nor is it renamed where another run has taken it by now
    temporary.replace(path)
    file.close()  # only now: until here nobody else may take the name
    if sync:
        _sync_folder(path.parent)


def destination(path: Path, *, follow: bool = True) -> Path:
    """Return the file that writing ``path`` changes: what its links lead to.

    Args:
        path: names it.
        follow: false if ``path`` is not to be followed where it is itself a link.

    Raises:
        StorageError: it is a folder, a device, a pipe, a stream such as /dev/stdout,
            also where that leads to a plain file, or a circle of links.
    """
    place = path
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(place.parent)
        if folder in {"/dev", "/dev/fd"} or folder.startswith("/proc/"):
            break
        place = Path(folder, place.name)
        if not (follow and place.is_symlink()):
            if place.exists() and not place.is_file():
                break
            return place
        place = place.parent / place.readlink()
    raise StorageError(f"cannot write {path}: not a plain file")


def _read_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


# What waits for the end of ``together``; None outside of it.
_WAITING: ContextVar[list[_Waiting] | None] = ContextVar("_WAITING", default=None)
_TAKEN = "another run is writing it, or the disk knows no locks"
_TIME = re.compile(r"_\d{8}_\d{6}(?=\.json$)")
_MOST_LINKS = 40  # as many as Linux follows
_UMASK = _read_umask()  # once, at import: reading it is not thread-safe


def _sync_folder(folder: Path) -> None:
    if sys.platform != "win32":  # where no folder can be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
