"""Keeping freed memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys

from classification.modeling import allocator


def test_says_whether_the_c_library_listens() -> None:
    listens = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")
    assert allocator.keep_freed_memory() is listens


def test_threads_may_share_a_heap() -> None:
    code = "from classification.modeling import allocator as a; print(a.keep_freed_memory(one_heap=True))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    )
    listens = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")
    assert ended.stdout.split() == [str(listens).encode()]
