"""Temporary files, in the folder that ``TMPDIR`` names.

What is too much for memory goes into a file without a name, so that nothing is left
behind even if the process is killed.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BUFFER_BYTES = 256 << 10


def write_down(chunks: Iterable[bytes]) -> BinaryIO:
    """Writes bytes into a file without a name; returns it, at its beginning.

    Args:
        chunks: read one after the other; what it raises is raised here.

    Raises:
        StorageError: the temporary folder is full, or is not there.
    """
    with told():
        file = cast("BinaryIO", tempfile.TemporaryFile(buffering=_BUFFER_BYTES))  # noqa: SIM115 - the caller closes it
    try:
        for chunk in chunks:
            try:
                file.write(chunk)
            except OSError as error:
                raise _to_storage_error(error) from error
        with told():
            file.flush()
            file.seek(0)
    except BaseException:
        with suppress(OSError):  # it tries once more to write what there is no room for
            file.close()
        raise
    return file


@contextmanager
def folder(prefix: str) -> Iterator[Path]:
    """Makes a folder that is gone when the block ends.

    Args:
        prefix: of its name.

    Raises:
        StorageError: the temporary folder is full, or is not there.
    """
    with told():
        made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    with made as name:
        yield Path(name)


@contextmanager
def told() -> Iterator[None]:
    """Names the temporary folder where it cannot be written.

    Raises:
        StorageError: in the place of an OSError inside the block.
    """
    try:
        yield
    except OSError as error:
        raise _to_storage_error(error) from error


def _to_storage_error(error: OSError) -> StorageError:
    reason = error.strerror or error
    return StorageError(f"temporary file: {reason} (see TMPDIR)")
