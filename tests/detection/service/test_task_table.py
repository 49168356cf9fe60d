from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from classification.artifacts.batch_request import BatchRequest
from classification.runtime.errors import ConfigurationError, StorageError
from detection.service import task_table
from detection.service.task_table import TaskTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "sv=2020&sig=SECRET"  # noqa: S105 - what must not stay
REQUEST = BatchRequest(
    name="x",
    caller="jane",
    place=f"https://a.example/c?{TOKEN}",
    images=["a.jpg", "é/b.jpg"],
    threshold=0.5,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "served" / task_table.FILENAME


@pytest.fixture
def table(path: Path) -> Iterator[TaskTable]:
    with TaskTable.open(path) as table:
        yield table


def named(name: str) -> BatchRequest:
    return BatchRequest(name=name, images=["/a.jpg"])


def test_a_task_outlives_its_table(path: Path) -> None:
    with TaskTable.open(path) as table:
        task, is_new = table.submit(REQUEST)
        assert is_new
    with TaskTable.open(path) as table:
        assert table.find(task.id) == task
        assert table.waiting() == [task]
        assert table.request_of(task) == REQUEST
        assert (task.state, task.name, task.caller) == ("running", "x", "jane")


def test_ids_cannot_be_guessed(table: TaskTable) -> None:
    ids = {table.submit(named(f"{number}"))[0].id for number in range(20)}
    assert len(ids) == 20
    assert all(len(id_) == 32 for id_ in ids)


def test_tasks_are_done_in_the_order_of_submission(table: TaskTable) -> None:
    tasks = [table.submit(named(name))[0] for name in "cab"]
    assert table.waiting() == tasks
    assert [table.count_before(task) for task in tasks] == [0, 1, 2]
    table.end(tasks[0], "completed")
    assert table.waiting() == tasks[1:]
    assert table.count_before(tasks[2]) == 1


def test_the_same_request_is_the_same_task_until_it_has_ended(table: TaskTable) -> None:
    task, _ = table.submit(REQUEST)
    assert table.submit(REQUEST) == (task, False)
    assert table.find_same(REQUEST) == task
    assert table.find_same(named("other")) is None
    assert table.submit(named("other"))[1]
    table.end(task, "completed")
    assert table.find_same(REQUEST) is None
    again, is_new = table.submit(REQUEST)
    assert is_new
    assert again.id != task.id


def test_a_request_whose_images_were_listed_is_still_the_same(table: TaskTable) -> None:
    asked = BatchRequest(place="/data")
    task, _ = table.submit(asked)
    table.replace_request(task, asked.with_images(["a.jpg"]))
    assert table.submit(asked) == (task, False)
    kept = table.request_of(task)
    assert kept is not None
    assert list(kept.images) == ["a.jpg"]


def test_how_a_task_ended_stays(table: TaskTable) -> None:
    task, _ = table.submit(REQUEST)
    assert table.end(task, "failed", f"no https://a.example/c?{TOKEN} today")
    assert not table.end(task, "completed")
    found = table.find(task.id)
    assert found is not None
    assert (found.state, found.message) == ("failed", "no https://a.example/c today")
    assert found.has_ended
    assert table.request_of(task) is None
    table.replace_request(task, REQUEST)
    assert table.request_of(task) is None


def test_an_unknown_task_is_none(table: TaskTable) -> None:
    assert table.find("x' OR '1'='1") is None


def test_only_its_user_can_read_the_file(path: Path) -> None:
    path.parent.mkdir()
    path.touch(mode=0o666)
    with TaskTable.open(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_of_a_request_stays_when_its_task_has_ended(path: Path) -> None:
    with TaskTable.open(path) as table:
        tasks = []
        for number in range(50):
            # Not to be packed: what stays would be found as it is.
            place = f"https://a.example/{number}?{TOKEN}"
            tasks.append(table.submit(BatchRequest(place=place, images=["x"]))[0])
        packed = _requests(path)
        assert len(packed) == 50
        for task in tasks:
            table.end(task, "completed")
    content = path.read_bytes()
    assert [blob for blob in packed if blob in content] == []
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def _requests(path: Path) -> list[bytes]:
    database = sqlite3.connect(path)
    rows = database.execute("SELECT request FROM tasks").fetchall()
    database.close()
    return [row[0] for row in rows]


def test_threads_may_use_it_together(table: TaskTable) -> None:
    def work(number: int) -> str:
        task, _ = table.submit(named(f"{number % 10}"))
        table.waiting()
        return task.id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(work, range(100)))
    assert len(set(ids)) == 10


@pytest.mark.parametrize("content", [b"my notes", b"SQLite format 3\0" + b"x" * 2000])
def test_a_file_that_is_no_table_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with (
        pytest.raises(ConfigurationError, match="is not a table of tasks"),
        TaskTable.open(path),
    ):
        pass
    assert path.read_bytes() == content


def test_the_table_of_another_release_is_refused(path: Path) -> None:
    with TaskTable.open(path):
        pass
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 7")
    database.close()
    with (
        pytest.raises(ConfigurationError, match="made by another release"),
        TaskTable.open(path),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match="cannot write"),
        TaskTable.open(tmp_path / "file" / "tasks.sqlite"),
    ):
        pass


def test_a_table_that_somebody_holds_is_one_line(path: Path) -> None:
    with TaskTable.open(path) as table:
        table._database.execute("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match=r"cannot write tasks\.sqlite: .*locked"):
            table.submit(REQUEST)
        other.close()
        assert table.submit(REQUEST)[1]
