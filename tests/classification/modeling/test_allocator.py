"""Keeping freed memory."""

from __future__ import annotations

import ctypes
import sys

from classification.modeling import allocator


def test_says_whether_the_c_library_listens() -> None:
    listens = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")
    assert allocator.keep_freed_memory() is listens
