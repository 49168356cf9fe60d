"""Gives memory that was freed back to the system."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def give_back() -> None:
    """Lets the C library return what it keeps of freed blocks, where it can be told to.

    After it freed a block of some megabytes it keeps the next ones for later use, and
    what comes next may not fit into them. Takes some milliseconds: worth it after
    hundreds of megabytes were freed, and nowhere else.
    """
    if trim := _trim():
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """Returns ``malloc_trim``; None where the C library is not GNU's."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return getattr(library, "malloc_trim", None)
