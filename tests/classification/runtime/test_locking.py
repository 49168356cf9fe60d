from __future__ import annotations

import errno
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

import pytest

from classification.runtime import locking
from classification.runtime.errors import HeldError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

BUSY = "wait for it"


def test_a_file_is_held_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    held = locking.open_locked(path, busy=BUSY)
    with pytest.raises(StorageError, match=f"^{BUSY}$"):
        locking.open_locked(path, busy=BUSY)
    held.close()
    locking.open_locked(path, busy=BUSY).close()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from classification.runtime.locking import open_locked\n"
        "file = open_locked(pathlib.Path(sys.argv[1]), busy='')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "lock"], check=False)
    assert done.returncode == -9
    locking.open_locked(tmp_path / "lock", busy=BUSY).close()


@pytest.mark.skipif(not locking.CAN_REMOVE_OPEN, reason="none can be removed")
def test_a_file_removed_between_open_and_lock_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    lock = locking._lock

    def lock_after_the_other_run_ended(file: BinaryIO) -> bool:
        path.unlink()
        return lock(file)

    monkeypatch.setattr(locking, "_lock", lock_after_the_other_run_ended)
    with pytest.raises(StorageError, match=f"^{BUSY}$"):
        locking.open_locked(path, busy=BUSY)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        StorageError, match=r"^cannot write .*: (Not a directory|File exists)$"
    ):
        locking.open_locked(tmp_path / "file" / "lock", busy=BUSY)


def test_a_file_is_changed_by_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "v4.1" / "caltech.json"
    with locking.exclusive(path):
        with pytest.raises(StorageError) as refused, locking.exclusive(path):
            pass
        with locking.exclusive(path.with_name("other.json")):
            pass
    assert str(refused.value) == f"another run is writing {path}; wait for it to end"
    with pytest.raises(KeyError), locking.exclusive(path):
        raise KeyError
    (tmp_path / "v4.1" / ".caltech.json.lock").touch()  # left by a killed run
    with locking.exclusive(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match=r"cannot write .*/lock"):
        locking.open_locked(tmp_path / "lock", busy="busy")
    assert not (tmp_path / "outside").exists()


def test_a_moments_work_waits_for_the_other_run(tmp_path: Path) -> None:
    path, done = tmp_path / "a", []

    def work() -> None:
        with locking.exclusive(path, wait=True):
            done.append("second")

    with locking.exclusive(path):
        second = threading.Thread(target=work)
        second.start()
        second.join(0.1)
        done.append("first")
    second.join()
    assert done == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_filled_by_one_run_of_the_same_work(tmp_path: Path) -> None:
    folder = tmp_path / "crops"
    with locking.only_run(folder, "cut", "a.json"):
        with (
            pytest.raises(HeldError) as refused,
            locking.only_run(folder, "cut", "a.json"),
        ):
            pass
        with locking.only_run(folder, "cut", "a.json", "1/2"):
            pass
        with locking.only_run(folder, "other", "a.json"):
            pass
    assert str(refused.value) == (
        f"another run of cut is writing the same into {folder}; wait for it to end"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.ENOLCK, None), (errno.EOPNOTSUPP, None), (errno.EIO, "cannot lock")],
)
def test_a_disk_without_locks_is_not_taken_for_a_busy_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: str | None
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "x")

    fcntl = pytest.importorskip("fcntl")  # Windows has none
    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "lock"
    if error:
        with pytest.raises(StorageError, match=f"^{error} {path}: x$"):
            locking.open_locked(path, busy=BUSY)
        with (
            pytest.raises(StorageError, match=f"^cannot write {path}: x$"),
            locking.held(path, busy=BUSY),
        ):
            pass
        return
    locking.open_locked(path, busy=BUSY).close()
    with pytest.raises(HeldError):
        locking.open_locked(path, busy=BUSY, required=True)
    with locking.held(path, busy=BUSY), locking.held(path, busy=BUSY):
        pass
    assert list(tmp_path.iterdir()) == []
