from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from classification.runtime import memory

# Blocks that were freed in a heap that cannot shrink, since one behind them is in use.
_CODE = """
from classification.runtime import memory
def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) // 256
import ctypes
ctypes.CDLL(None).mallopt(-3, 1 << 30)  # no block has pages of its own
blocks = [b"x" * (8 << 20) for _ in range(20)]
last = b"x" * 100_000
del blocks
before = held()
memory.give_back()
print(before - held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library")
def test_freed_blocks_go_back() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _CODE], capture_output=True, check=True
    )
    assert int(ended.stdout) > 100


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_one(name: str | None) -> None:
        raise OSError(f"no library {name}")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", without_one)
    monkeypatch.setattr(memory, "_trim", memory._trim.__wrapped__)
    memory.give_back()
