"""Standard streams that end no run.

Whatever becomes of stderr, the step goes on: a message is lost, no work. The same holds
for stdout where its reader has read enough (``| head``). Where data for stdout is lost to
a full disk, the step fails.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

# What a text stream's encoding has no letters for is shown as an escape: \u732b.
_ERRORS = "backslashreplace"
_READER_LEFT = frozenset({errno.EPIPE, errno.EINVAL})  # Windows says the second


def prepare() -> None:
    """Make stdin, stdout and stderr usable, before a file is opened.

    A stream that is closed (``2>&-``, ``pythonw``) becomes the null device; otherwise the
    next file to be opened would get its number, and what libraries print would land in it.
    """
    for number in range(3):
        _occupy(number)
    sys.stdin = sys.stdin or _open(0, "r", io.TextIOWrapper)
    sys.stdout = _prepared(sys.stdout, 1, _Stdout)
    sys.stderr = _prepared(sys.stderr, 2, _Stderr)


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _prepared(
    stream: TextIO | None, number: int, wrapper: Callable[..., TextIO]
) -> TextIO:
    """Return what to write to; a stream that somebody put in the place is left alone."""
    if stream is None:
        return _open(number, "w", wrapper)
    if type(stream) is not io.TextIOWrapper or stream.buffer.closed:
        return stream
    stream.flush()
    return wrapper(
        stream.buffer,
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open(number: int, mode: str, wrapper: Callable[..., TextIO]) -> TextIO:
    binary = os.fdopen(number, f"{mode}b", closefd=False)
    return wrapper(binary, encoding="utf-8", errors=_ERRORS, line_buffering=True)


class _Stdout(io.TextIOWrapper):
    """Fails once, with one line, where data is lost; a reader that left loses none."""

    def write(self, text: str, /) -> int:
        """Write text, or lose it."""
        try:
            return super().write(text)
        except OSError as error:
            self.lose(error)
            return len(text)

    def flush(self) -> None:
        """Write what is waiting, or lose it."""
        try:
            super().flush()
        except OSError as error:
            self.lose(error)

    def lose(self, error: OSError) -> None:
        """Lead the stream, and all that is printed to it from now on, into nothing."""
        _discard(self)
        if error.errno not in _READER_LEFT:
            raise StorageError(f"cannot write to stdout: {error.strerror}") from error


class _Stderr(_Stdout):
    """Never fails."""

    def lose(self, error: OSError) -> None:
        """Lead the stream into nothing."""
        del error
        _discard(self)


def _discard(stream: io.TextIOWrapper) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
