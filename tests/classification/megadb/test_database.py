from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classification.megadb import database
from classification.runtime.errors import StorageError
from tests.disk import largest_file

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import os, pathlib, signal, sys
from classification.megadb import database
with database.connect(pathlib.Path(sys.argv[1]), on_disk=True) as connection:
    connection.execute("CREATE TABLE t AS SELECT 1")
    print("open", flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def test_nothing_is_left_after_the_block(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with database.connect(folder, on_disk=True) as connection:
        assert connection.execute("SELECT 42").fetchall() == [(42,)]
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", HOLD, tmp_path, "die"], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    with database.connect(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_keeps_its_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, "stay"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with database.connect(tmp_path):
            assert len(list(tmp_path.iterdir())) == 2
        assert len(list(tmp_path.iterdir())) == 1
        other.communicate()
    assert other.returncode == 0


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError) as refusal,
        database.connect(tmp_path / "file" / "x"),
    ):
        pass
    expected = f"cannot write {tmp_path}/file/x: Not a directory"
    assert str(refusal.value) == expected


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    query = "SELECT list(i::VARCHAR || repeat('x', 100)) FROM range(1000000) t(i)"
    with (
        pytest.raises(StorageError) as refusal,
        database.connect(tmp_path, memory_mb=20) as connection,
    ):
        connection.execute(query).fetchall()
    assert str(refusal.value).startswith(f"cannot work in {tmp_path}: Out of Memory")
    assert len(str(refusal.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


TEXT = st.text(st.sampled_from("aé\u0301 \t\n\x1c\x85\xa0\u2003\u3000\u200b~!"))


@settings(max_examples=10)
@given(st.lists(TEXT, max_size=50))
@example(["", " ", "a\u0301 ", "\u0301a", "a\r\n", "\ufeffa"])
def test_text_is_stripped_as_python_does(texts: list[str]) -> None:
    with duckdb.connect() as connection:
        connection.register("said", pa.table({"t": pa.array(texts, pa.string())}))
        query = f"SELECT {database.stripped('t')} FROM said"
        found = [text for (text,) in connection.execute(query).fetchall()]
    assert found == [text.strip() or None for text in texts]


@given(st.text().filter(lambda text: "\0" not in text))
@settings(max_examples=10)
@example("it's")
def test_quoted_text_is_read_back(text: str) -> None:
    with duckdb.connect() as connection:
        query = f"SELECT {database.quoted(text)}"
        assert connection.execute(query).fetchall() == [(text,)]


def test_rows_are_inserted_and_forgotten() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
        query = "INSERT INTO t SELECT a + 1 FROM incoming"
        database.insert(connection, query, pa.table({"a": [1, 2]}))
        assert connection.execute("FROM t").fetchall() == [(2,), (3,)]
        with pytest.raises(duckdb.CatalogException):
            connection.execute("FROM incoming")


def test_sql_asks_python_until_the_block_ends(tmp_path: Path) -> None:
    with database.connect(tmp_path) as connection:
        query = "SELECT shout(name) FROM (VALUES ('elk'), (NULL)) AS names(name)"
        with database.function(connection, "shout", str.upper):
            assert connection.execute(query).fetchall() == [("ELK",), (None,)]
        with pytest.raises(duckdb.CatalogException):
            connection.execute(query)


@pytest.mark.parametrize("size", [20_000, 200_000])
def test_a_disk_that_is_full_while_rows_are_inserted_is_one_line(
    tmp_path: Path, size: int
) -> None:
    rows = pa.table({"text": [f"{number:0100}" for number in range(50_000)]})

    def insert() -> None:
        with database.connect(tmp_path, on_disk=True) as connection:
            connection.execute("CREATE TABLE t (text VARCHAR)")
            database.insert(connection, "INSERT INTO t SELECT * FROM incoming", rows)

    with largest_file(size), pytest.raises(StorageError) as refused:
        insert()
    assert str(refused.value).startswith(f"cannot work in {tmp_path}: ")
    assert len(str(refused.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
