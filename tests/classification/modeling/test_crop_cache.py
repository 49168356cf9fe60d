from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.modeling import crop_cache
from classification.modeling.crop_cache import CropCache
from classification.runtime.errors import StorageError
from tests.commands import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ROWS = 20
DIGEST = bytes(range(16))


def pixels(row: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(row)
    return rng.integers(0, 256, (10 + row, 20, 3), np.uint8)


def fill(cache: CropCache, rows: range) -> None:
    for row in rows:
        cache.put(row, DIGEST, pixels(row))


def kept(cache: CropCache) -> list[int]:
    found = {row: cache.get(row, DIGEST) for row in range(ROWS)}
    for row, held in found.items():
        assert held is None or (held == pixels(row)).all()
    return [row for row, held in found.items() if held is not None]


def test_keeps_pixels_for_later_runs(tmp_path: Path) -> None:
    with CropCache(tmp_path, ROWS) as cache:
        fill(cache, range(5))
        assert kept(cache) == []
        cache.refresh()
        assert kept(cache) == list(range(5))
        fill(cache, range(5, 9))
    with CropCache(tmp_path, ROWS) as cache:
        assert kept(cache) == list(range(9))
        assert len(cache) == 9
        fill(cache, range(9, 12))
        cache.refresh()
        assert kept(cache) == list(range(12))
        assert cache.size() == sum(pixels(row).nbytes for row in range(12))


def test_runs_at_the_same_time_share_what_they_have(tmp_path: Path) -> None:
    with CropCache(tmp_path, ROWS) as one, CropCache(tmp_path, ROWS) as other:
        fill(one, range(3))
        fill(other, range(3, 6))
        for cache in (one, other, one):
            cache.refresh()
        assert kept(one) == kept(other) == list(range(6))


def test_a_crop_that_was_replaced_is_made_again(tmp_path: Path) -> None:
    with CropCache(tmp_path, ROWS) as cache:
        fill(cache, range(2))
        cache.refresh()
        newer = DIGEST[::-1]
        assert cache.get(0, newer) is None
        cache.put(0, newer, pixels(7))
        cache.refresh()
        found = cache.get(0, newer)
        assert found is not None
        assert (found == pixels(7)).all()


@pytest.mark.parametrize("cut", [1, 35, 36, 50])
def test_what_was_half_written_is_cut_off(tmp_path: Path, cut: int) -> None:
    with CropCache(tmp_path, ROWS) as cache:
        fill(cache, range(4))
    index = tmp_path / "0.index"
    os.truncate(index, index.stat().st_size - cut)
    left = 4 - -(-cut // 36)
    with CropCache(tmp_path, ROWS) as cache:
        assert kept(cache) == list(range(left))
        assert cache.size() == sum(pixels(row).nbytes for row in range(left))
        fill(cache, range(10, 12))
        cache.refresh()
        assert kept(cache) == [*range(left), 10, 11]


@pytest.mark.parametrize("damage", [b"\0", b"ct-journal 1"])
def test_a_damaged_index_costs_what_follows(tmp_path: Path, damage: bytes) -> None:
    with CropCache(tmp_path, ROWS) as cache:
        fill(cache, range(4))
    with (tmp_path / "0.index").open("r+b") as index:
        index.seek(36 + 12)
        index.write(damage + b"\xff")
    with CropCache(tmp_path, ROWS) as cache:
        assert kept(cache) == [0]


@pytest.mark.parametrize("left", [0, 1])
def test_pixels_that_are_gone_are_made_again(tmp_path: Path, left: int) -> None:
    with CropCache(tmp_path, ROWS) as one:
        fill(one, range(4))
        one.sync()
        os.truncate(tmp_path / "0.pixels", left * pixels(0).nbytes)
        with CropCache(tmp_path, ROWS) as other:
            assert kept(other) == list(range(left))
    with CropCache(tmp_path, ROWS) as again:
        assert kept(again) == list(range(left))
        fill(again, range(2, 4))
        again.refresh()
        assert kept(again) == [*range(left), 2, 3]


def test_a_segment_without_its_pixels_is_empty(tmp_path: Path) -> None:
    with CropCache(tmp_path, ROWS) as one:
        fill(one, range(4))
        one.sync()
        (tmp_path / "0.pixels").unlink()
        with CropCache(tmp_path, ROWS) as other:
            assert kept(other) == []
    with CropCache(tmp_path, ROWS) as again:
        assert kept(again) == []


def test_is_bounded(tmp_path: Path) -> None:
    most = pixels(0).nbytes + pixels(1).nbytes
    with CropCache(tmp_path, ROWS, max_bytes=most) as cache:
        fill(cache, range(1))
        assert not cache.is_full
        fill(cache, range(1, 5))
        assert cache.is_full
    with CropCache(tmp_path, ROWS, max_bytes=most) as cache:
        fill(cache, range(5, 7))
        cache.refresh()
        assert kept(cache) == [0, 1]
        assert cache.size() <= most


def test_a_full_disk_is_no_room(tmp_path: Path) -> None:
    with CropCache(tmp_path, ROWS) as cache, open("/dev/full", "wb", 0) as full:  # noqa: PTH123 - no path
        cache._own.pixels.close()
        cache._own = crop_cache._Segment(cache._own.index, full)
        fill(cache, range(2))
        assert cache.is_full
        assert kept(cache) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"):
        CropCache(tmp_path / "file" / "cache", ROWS)


def test_many_threads_fill_it(tmp_path: Path) -> None:
    with CropCache(tmp_path, ROWS) as cache:
        threads = [
            threading.Thread(target=fill, args=(cache, range(start, ROWS, 4)))
            for start in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cache.refresh()
        assert kept(cache) == list(range(ROWS))


KILLED = """
import sys
from pathlib import Path
from tests.classification.modeling.test_crop_cache import *

cache = CropCache(Path(sys.argv[1]), ROWS)
fill(cache, range(5))
cache.sync()
fill(cache, range(5, 9))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_what_was_synced(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False
    )
    assert done.returncode == -signal.SIGKILL
    with CropCache(tmp_path, ROWS) as cache:
        assert kept(cache) == list(range(5))
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "0.index",
            "0.pixels",
        ]


def test_a_cache_is_of_its_crops_and_of_how_they_are_prepared(tmp_path: Path) -> None:
    keys = {
        crop_cache.key(names, root=root, prepared=prepared)
        for names in (["a", "b"], ["b", "a"], ["a"])
        for root in (tmp_path, tmp_path / "x")
        for prepared in ("square 224", "square 300")
    }
    assert len(keys) == 12
