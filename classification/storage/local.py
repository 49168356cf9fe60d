"""Images in a folder of this machine."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from pathlib import Path


class LocalStore:
    """A folder; names are paths relative to it."""

    def __init__(self, root: Path) -> None:
        """Names the folder; it need not exist until something is read."""
        self.root = root

    def read(self, name: str) -> bytes:
        """Returns the bytes of ``root/name``; see ``ImageStore.read``."""
        return read_file(self.root / name)


def read_file(path: Path) -> bytes:
    """Reads a plain, non-empty file; never waits on a pipe or a device.

    Raises:
        ItemError: it is missing, empty, a folder, a pipe, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise ItemError(_reason(error)) from error
    with os.fdopen(handle, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise ItemError(f"{kind}, not a file")
        try:
            data = file.read()
        except OSError as error:
            raise ItemError(_reason(error)) from error
    if not data:
        raise ItemError("empty file")
    return data


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot read: {text}"
