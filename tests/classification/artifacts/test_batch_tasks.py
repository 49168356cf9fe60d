from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import batch_tasks
from classification.artifacts.batch_tasks import BatchTask
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

TASK: dict[str, Any] = {
    "dataset": "caltech",
    "task_name": "detect_for_classifier_caltech_20201231_task00",
    "task_id": "3c1f",
    "local_images_list_path": "lists/é.json",
}


def save(folder: Path, document: object) -> Path:
    path = folder / "resume.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_the_original_s_list_is_read_without_its_addresses(tmp_path: Path) -> None:
    entry = TASK | {"remote_images_list_url": "https://x/?sig=SECRET"}
    path = save(tmp_path, [entry])
    tasks = batch_tasks.read(path)
    assert tasks == [BatchTask(**TASK)]
    assert str(tasks[0].images_list) == "lists/é.json"
    batch_tasks.write(path, tasks)
    assert "SECRET" not in path.read_text(encoding="utf-8")
    assert batch_tasks.read(path) == tasks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_id": "../x"}, "[0].task_id: the id of a task expected"),
        ({"task_id": ""}, "[0].task_id: a text expected"),
        ({"task_id": 7}, "[0].task_id: a text expected"),
        ({"dataset": None}, "[0].dataset: a text expected"),
        ({"dataset": "../x"}, "[0].dataset: '../x' leaves its folder"),
        ({"dataset": "a/b"}, "[0].dataset: the name of a dataset expected"),
        ({"local_images_list_path": "a\0b"}, "[0].local_images_list_path: a text"),
    ],
)
def test_a_task_that_breaks_the_format(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = save(tmp_path, [TASK | change])
    with pytest.raises(ArtifactError) as refused:
        batch_tasks.read(path)
    assert str(refused.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "expected a list of tasks at the top level"),
        (["x"], "[0]: an object expected"),
        ([TASK, TASK], "a task_id stands in it twice"),
    ],
)
def test_a_list_that_breaks_the_format(
    tmp_path: Path, document: object, message: str
) -> None:
    path = save(tmp_path, document)
    with pytest.raises(ArtifactError) as refused:
        batch_tasks.read(path)
    assert str(refused.value) == f"{path}: {message}"


def test_it_is_told_from_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert not batch_tasks.is_task_list(path)
    path.write_text("ct-journal 1")
    assert not batch_tasks.is_task_list(path)
    batch_tasks.write(path, [])
    assert batch_tasks.is_task_list(path)
    assert batch_tasks.read(path) == []
