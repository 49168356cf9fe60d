"""Keeps large freed blocks of memory in the process, where that is much faster.

The C library of Linux gives a large block back to the system as soon as it is freed, and
gets fresh, zeroed pages for the next: for a network on the processor, whose layers free
and ask for megabytes thousands of times a second, that is a quarter of all its time.
ONNX Runtime has an arena of its own; torch has none on the processor.
"""

from __future__ import annotations

import ctypes
import sys

# Numbers of mallopt's parameters, from the C library's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEEP_BYTES = 1 << 30


def keep_freed_memory(*, one_heap: bool = False) -> bool:
    """Tells the C library to keep blocks of up to a gigabyte; for the whole process.

    Args:
        one_heap: let all threads that are started from now on share one heap, so that
            what one has freed serves another; where few of them run a network at once.

    Returns:
        Whether it could be told: only the GNU C library listens.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(library, "mallopt", None)
    if mallopt is None:
        return False
    settings = {_M_MMAP_THRESHOLD: _KEEP_BYTES, _M_TRIM_THRESHOLD: _KEEP_BYTES}
    if one_heap:
        settings[_M_ARENA_MAX] = 1
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())
