from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from classification.runtime.atomic import check_writable, replacing, together
from classification.runtime.errors import StorageError
from tests.disk import largest_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sync", [True, False])
def test_the_file_appears_when_the_block_ends(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "a" / "b.bin"
    with replacing(path, sync=sync) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert names(path.parent) == ["b.bin"]


def test_an_old_file_is_kept_until_then(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_d36_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_d26_a_bare_file_name_is_a_file_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with replacing(Path("bare.json")) as file:
        file.write(b"1")
    assert names(tmp_path) == ["bare.json"]


def test_the_file_has_the_rights_any_new_file_has(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with replacing(tmp_path / "a"):
        pass
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode


def test_a_parent_that_is_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    path = tmp_path / "a" / "b"
    with pytest.raises(StorageError) as raised, replacing(path):
        pass
    assert str(raised.value).startswith(f"cannot write {path}: ")


def test_a_folder_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        path = tmp_path / name
        with pytest.raises(StorageError) as raised, replacing(path):
            pass
        assert str(raised.value) == f"cannot write {path}: not a plain file"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["folder", "pipe"]


def test_what_a_link_leads_to_is_replaced_in_its_own_folder(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "real").write_bytes(b"old")
    (tmp_path / "second").symlink_to("first")
    (tmp_path / "first").symlink_to(Path("disk", "real"))
    with replacing(tmp_path / "second") as file:
        file.write(b"new")
        assert len(names(disk)) == 2
    assert (disk / "real").read_bytes() == b"new"
    assert (tmp_path / "second").readlink() == Path("first")
    assert (tmp_path / "first").readlink() == Path("disk", "real")
    assert names(disk) == ["real"]
    assert names(tmp_path) == ["disk", "first", "second"]


def test_what_a_dangling_link_leads_to_is_made_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "new" / "file")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "new" / "file").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


def test_a_link_that_a_list_names_is_replaced_itself(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "link").symlink_to("other")
    with replacing(tmp_path / "link", follow=False) as file:
        file.write(b"new")
    assert (tmp_path / "other").read_bytes() == b"other"
    assert (tmp_path / "link").read_bytes() == b"new"
    assert not (tmp_path / "link").is_symlink()


def test_a_circle_of_links_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with (
        pytest.raises(StorageError, match="not a plain file"),
        replacing(tmp_path / "a"),
    ):
        pass
    assert (tmp_path / "a").is_symlink()


@pytest.mark.parametrize("stream", ["/dev/stdout", "/dev/stderr", "/dev/fd/1"])
def test_a_stream_is_no_file_even_where_it_leads_to_one(
    tmp_path: Path, stream: str
) -> None:
    (tmp_path / "link").symlink_to(stream)
    program = f"""
from pathlib import Path
from classification.runtime.atomic import replacing
from classification.runtime.errors import StorageError
from tests.disk import largest_file
for path in {stream!r}, "link", "/dev/null":
    try:
        with replacing(Path(path)) as file:
            file.write(b"new")
    except StorageError:
        continue
    raise SystemExit(9)
"""
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            stdout=out,
            stderr=out,
            check=False,
        )
    assert done.returncode == 0, (tmp_path / "out").read_text()
    assert names(tmp_path) == ["link", "out"]
    assert Path(stream).exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with (
        largest_file(1 << 16),
        pytest.raises(StorageError) as raised,
        replacing(path) as file,
    ):
        file.write(bytes(1 << 20))
    assert str(raised.value) == f"cannot write {path}: File too large"
    assert names(tmp_path) == []


def test_whether_a_folder_can_be_written_is_known_beforehand(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot write into .*: Not a directory"):
        check_writable(tmp_path / "file" / "folder")
    with pytest.raises(StorageError, match=r"cannot write into .*: File exists"):
        check_writable(tmp_path / "file")


def test_files_appear_together(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    with together():
        for path in (old, new):
            with replacing(path) as file:
                file.write(b"new")
        with together(), replacing(tmp_path / "inner"):
            pass
        assert old.read_bytes() == b"old"
        assert not new.exists()
    assert [old.read_bytes(), new.read_bytes()] == [b"new"] * 2
    assert names(tmp_path) == ["inner", "new", "old"]
    with replacing(old) as file:
        file.write(b"at once")
    assert old.read_bytes() == b"at once"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_d36_none_of_the_files_appears_where_one_fails(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write_half() -> None:
        with together():
            with replacing(path) as file:
                file.write(b"new")
            with replacing(tmp_path / "b"):
                raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_file_that_cannot_take_its_place_is_named(tmp_path: Path) -> None:
    def write() -> None:
        with together():
            with replacing(tmp_path / "a") as file:
                file.write(b"new")
            (tmp_path / "a").mkdir()

    with pytest.raises(StorageError, match=rf"^cannot write {tmp_path}/a: "):
        write()
    assert names(tmp_path) == ["a"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from classification.runtime.atomic import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"a half that is longer than the whole")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_is_gone_once_the_file_is_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    for _ in range(2):
        ended = subprocess.run([sys.executable, "-c", _KILLED, path], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert len(names(tmp_path)) == 1
        assert not path.exists()
    with replacing(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["a"]


def test_two_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with replacing(path) as outer:
        outer.write(b"one")
        with replacing(path) as inner:
            inner.write(b"two")
        assert path.read_bytes() == b"two"
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
def test_a_link_in_the_place_of_the_half_written_file_is_not_written_through(
    make: str, tmp_path: Path
) -> None:
    path, outside = tmp_path / "a" / "b.bin", tmp_path / "outside"
    outside.write_bytes(b"kept")
    path.parent.mkdir()
    with replacing(path) as file:
        [half_written] = path.parent.iterdir()
        file.write(b"first")
    getattr(half_written, make)(outside)
    with replacing(path) as file:
        file.write(b"second")
    assert path.read_bytes() == b"second"
    assert outside.read_bytes() == b"kept"


def test_two_that_write_one_file_on_a_disk_without_locks_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    fcntl = pytest.importorskip("fcntl")  # Windows has none
    monkeypatch.setattr(fcntl, "flock", refuse)
    test_two_that_write_one_file_do_not_mix(tmp_path)


_KILLED_TOGETHER = """
import os, signal, sys
from pathlib import Path
from classification.runtime.atomic import replacing, together
with together():
    for name in "ab":
        with replacing(Path(sys.argv[1]) / name) as file:
            file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_run_left_that_wrote_files_together_is_gone_with_the_next(
    tmp_path: Path,
) -> None:
    for _ in range(2):
        subprocess.run([sys.executable, "-c", _KILLED_TOGETHER, tmp_path], check=False)
        assert len(names(tmp_path)) == 2
    with together():
        for name in "ab":
            with replacing(tmp_path / name) as file:
                file.write(b"whole")
    assert names(tmp_path) == ["a", "b"]


def test_another_run_may_take_the_name_of_what_has_taken_its_place(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    with together():
        with replacing(path) as file:
            file.write(b"first")
        with replacing(path) as file:
            file.write(b"second")
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["a"]
