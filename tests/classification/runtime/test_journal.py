from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.runtime import journal
from classification.runtime.errors import ConfigurationError, StorageError
from classification.runtime.journal import Journal, digest
from tests.disk import largest_file

if TYPE_CHECKING:
    from pathlib import Path

KEY = digest(["detect", 0.1])

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def written(path: Path, *records: object, key: str = KEY) -> Path:
    with Journal.open(path, key=key) as opened:
        opened.append(records)
    return path


def records(path: Path, key: str = KEY) -> list[Any]:
    with Journal.open(path, key=key) as opened:
        found = list(opened.read())
        assert len(found) == opened.records
        return found


def test_a_digest_is_of_values_and_of_their_order() -> None:
    assert digest(["a", "b"]) == digest(iter(["a", "b"]))
    assert len(digest([])) == 64
    different = [["a", "b"], ["b", "a"], ["ab"], ["a\nb"], [["a", "b"]], ["a", None]]
    assert len({digest(parts) for parts in different}) == len(different)
    assert digest([{"a": 1, "b": 2}]) == digest([{"b": 2, "a": 1}])


def test_records_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = written(tmp_path / "a" / "out.journal", {"i": 0}, ["x", None, 1.5])
    assert records(path) == [{"i": 0}, ["x", None, 1.5]]
    written(path, "more")
    assert records(path) == [{"i": 0}, ["x", None, 1.5], "more"]


@settings(max_examples=30)
@given(found=st.lists(JSON, max_size=6))
def test_any_json_comes_back_equal(
    tmp_path_factory: pytest.TempPathFactory, found: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    assert records(written(path, *found)) == found


def test_a_name_that_is_not_utf8_comes_back_equal(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    assert records(written(tmp_path / "j", name)) == [name]


@settings(max_examples=40)
@given(data=st.data())
def test_a_torn_end_costs_the_torn_records_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = written(tmp_path_factory.mktemp("journal") / "j", *range(5))
    whole = path.read_bytes()
    length = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:length])
    kept = max(0, whole[:length].count(b"\n") - 1)
    assert records(path) == list(range(kept))
    written(path, *range(kept, 5))
    assert path.read_bytes() == whole


def test_a_damaged_record_and_what_follows_it_are_cut_off(tmp_path: Path) -> None:
    path = written(tmp_path / "j", "aaa", "bbb", "ccc")
    path.write_bytes(path.read_bytes().replace(b"bbb", b"bxb"))
    assert records(path) == ["aaa"]


def test_another_key_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = written(tmp_path / "j", 1)
    with pytest.raises(ConfigurationError) as raised:
        Journal.open(path, key=digest(["other"]))
    assert str(raised.value) == (
        f"{path} belongs to a run with other inputs or options; "
        "--restart throws it away and begins again"
    )
    assert records(path) == [1]


def test_what_differs_is_said(tmp_path: Path) -> None:
    def of(*images: str, threshold: float = 0.1) -> str:
        return journal.key(images=images, detector=["d"], options=[threshold])

    path = written(tmp_path / "j", 1, key=of("a", "b"))
    assert records(path, key=of("a", "b")) == [1]
    for key, said in (
        (of("a"), "images"),
        (of("a", threshold=0.2), "images and options"),
        (f"{of('a', 'b')} shard=1/2", "inputs or options"),
    ):
        with pytest.raises(ConfigurationError, match=f"a run with other {said}; "):
            Journal.open(path, key=key)


def test_the_last_record_of_a_name_is_in_the_place_of_the_first(
    tmp_path: Path,
) -> None:
    given = [["a", 1], ["b", 1], ["a", 2], ["\N{BEAR FACE}", 1], ["b", 2], ["a", 3]]
    path = written(tmp_path / "j", *given)
    with Journal.open(path, key=KEY) as opened:
        latest = opened.read_latest(operator.itemgetter(0))
        assert next(latest) == ["a", 3]
        opened.append([["c", 1], ["b", 3]])
        assert list(latest) == [["b", 2], ["\N{BEAR FACE}", 1]]
        names = operator.itemgetter(0)
        assert list(opened.read_latest(names)) == [
            *(["a", 3], ["b", 3], ["\N{BEAR FACE}", 1], ["c", 1]),
        ]


def test_an_empty_journal_has_no_latest_record(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", key=KEY) as opened:
        assert list(opened.read_latest(str)) == []


def test_a_journal_of_another_key_without_records_is_begun_again(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "j", key=digest(["other"]))
    written(path, "mine")
    assert records(path) == ["mine"]


def test_restart_throws_away_what_was_there(tmp_path: Path) -> None:
    path = written(tmp_path / "j", 1, 2)
    key = digest(["other"])
    with Journal.open(path, key=key, restart=True) as opened:
        assert opened.records == 0
        opened.append(["new"])
    assert records(path, key) == ["new"]


@pytest.mark.parametrize("content", [b"my notes\n", b'{"checkpoint": []}', b"\0" * 99])
@pytest.mark.parametrize("restart", [True, False])
def test_a_file_that_is_no_journal_is_never_thrown_away(
    tmp_path: Path, content: bytes, restart: bool
) -> None:
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        Journal.open(path, key=KEY, restart=restart)
    assert str(raised.value) == f"{path} is not a journal; move it out of the way"
    assert path.read_bytes() == content


def test_d39_a_second_run_on_the_same_output_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal.open(path, key=KEY):
        code = (
            "import sys, pathlib\n"
            "from classification.runtime.journal import Journal\n"
            "from classification.runtime.errors import StorageError\n"
            "try:\n"
            "    Journal.open(pathlib.Path(sys.argv[1]), key=sys.argv[2])\n"
            "except StorageError as error:\n"
            "    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, path, KEY],
            capture_output=True,
            text=True,
            check=True,
        )
    expected = f"another run is writing {path}; wait for it to end\n"
    assert done.stdout == expected
    assert records(path) == []


def test_it_is_free_again_after_the_process_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "j"
    code = (
        "import os, signal, sys, pathlib\n"
        "from classification.runtime.journal import Journal\n"
        "opened = Journal.open(pathlib.Path(sys.argv[1]), key=sys.argv[2])\n"
        "opened.append([1, 2, 3])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path, KEY], check=False)
    assert done.returncode == -9
    assert records(path) == [1, 2, 3]


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", key=KEY) as opened:
        opened.append([1])
        opened.sync()
        opened.remove()
    assert not (tmp_path / "j").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "j"):
        with pytest.raises(StorageError) as raised:
            Journal.open(path, key=KEY)
        assert str(raised.value).startswith(f"cannot write {path}: ")


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = written(tmp_path / "j", "kept")
    with (
        largest_file(1 << 16),
        Journal.open(path, key=KEY) as opened,
        pytest.raises(StorageError) as raised,
    ):
        opened.append(["x" * (1 << 20)])
    assert str(raised.value) == f"cannot write {path}: File too large"
    assert records(path) == ["kept"]


def test_the_lines_are_as_the_docstring_says(tmp_path: Path) -> None:
    path = written(tmp_path / "j", {"i": 0, "failure": None})
    header, line = path.read_bytes().splitlines()
    assert header == f"ct-journal 1 {KEY}".encode()
    crc, _, payload = line.partition(b" ")
    assert len(crc) == 8
    assert json.loads(payload) == {"i": 0, "failure": None}
    assert payload == b'{"i":0,"failure":null}'


def test_nan_is_refused(tmp_path: Path) -> None:
    with (
        Journal.open(tmp_path / "j", key=KEY) as opened,
        pytest.raises(ValueError, match="not JSON compliant"),
    ):
        opened.append([float("nan")])
