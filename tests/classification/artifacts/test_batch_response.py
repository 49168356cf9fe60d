from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import batch_response
from classification.artifacts.batch_response import BatchResponse, BatchStatus
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://account.blob.core.windows.net/async-api/3c1f/d.json"
TOKEN = "?sv=2020&sig=SECRET"  # noqa: S105 - what must not be shown


def answer(status: object = "completed", **message: object) -> dict[str, Any]:
    urls = {"detections": URL + TOKEN}
    return {
        "TaskId": "3c1f",
        "Status": {
            "request_status": status,
            "message": {
                "num_failed_shards": 2,
                "output_file_urls": urls,
                **message,
            },
        },
    }


def save(folder: Path, document: object) -> Path:
    path = folder / "3c1f.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ArtifactError) as refused:
        batch_response.read(path)
    text = str(refused.value)
    assert "SECRET" not in text
    return text.removeprefix(f"{path}: ")


def test_a_completed_task(tmp_path: Path) -> None:
    assert batch_response.read(save(tmp_path, answer())) == BatchResponse(
        task="3c1f", detections_url=URL + TOKEN, failed_shards=2
    )


def test_the_number_of_failed_shards_may_be_absent(tmp_path: Path) -> None:
    document = answer()
    del document["Status"]["message"]["num_failed_shards"]
    assert batch_response.read(save(tmp_path, document)).failed_shards == 0


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            "running",
            (
                "the task is 'running'; ask for the task again later, and save the "
                "new answer"
            ),
        ),
        ("failed", "the task is 'failed'; submit the images again"),
        ("problem", "the task is 'problem'; submit the images again"),
        ("canceled", "the task is 'canceled'; submit the images again"),
        ("odd", "'odd' is none of completed, running, failed, problem, canceled"),
    ],
)
def test_d38_a_task_that_is_not_completed(
    status: str, message: str, tmp_path: Path
) -> None:
    path = save(tmp_path, answer(status))
    assert refusal(path) == f"Status.request_status: {message}"


def test_what_the_service_said_is_repeated_without_its_tokens(tmp_path: Path) -> None:
    said = f"cannot list {URL}{TOKEN} today"
    status = {"request_status": "failed", "message": said}
    path = save(tmp_path, {"TaskId": "3c1f", "Status": status})
    assert refusal(path) == (
        f"Status.request_status: the task is 'failed' (cannot list {URL} today); "
        "submit the images again"
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "TaskId: a text expected"),
        ({"TaskId": 3}, "TaskId: a text expected"),
        ({"TaskId": "3c1f"}, "Status: an object expected"),
        (
            {"TaskId": "3c1f", "Status": "completed"},
            "Status: an object expected",
        ),
        (answer(status=None), "Status.request_status: a text expected"),
        (
            answer(output_file_urls=None),
            "Status.message.output_file_urls: an object expected",
        ),
        (
            answer(output_file_urls={}),
            "Status.message.output_file_urls.detections: a text expected",
        ),
        (
            answer(num_failed_shards=-1),
            "Status.message.num_failed_shards: a number expected",
        ),
        (
            answer(num_failed_shards=True),
            "Status.message.num_failed_shards: a number expected",
        ),
        (
            {**answer(), "TaskId": "other"},
            (
                "Status.message.output_file_urls.detections: "
                f"{URL} is not in the folder of TaskId other"
            ),
        ),
        (
            answer(output_file_urls={"detections": "x" + TOKEN}),
            (
                "Status.message.output_file_urls.detections: "
                "x is not in the folder of TaskId 3c1f"
            ),
        ),
    ],
)
def test_what_breaks_the_format_is_refused_with_its_address(
    document: object, message: str, tmp_path: Path
) -> None:
    assert refusal(save(tmp_path, document)) == message


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (answer(), True),
        ({"Status": "x"}, True),
        ({"TaskId": "x"}, True),
        ({"images": []}, False),
        ({}, False),
    ],
)
def test_an_answer_is_told_from_detections_by_its_keys(
    document: object, expected: bool, tmp_path: Path
) -> None:
    assert batch_response.is_response(save(tmp_path, document)) is expected


def test_a_large_file_is_no_answer_and_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_bytes(b" " * (batch_response._LARGEST_BYTES + 1))
    assert batch_response.is_response(path) is False


def test_a_small_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"images")
    with pytest.raises(ArtifactError) as refused:
        batch_response.is_response(path)
    assert str(refused.value) == (
        f"{path}: not JSON: Expecting value: line 1 column 1 (char 0)"
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    response = BatchResponse(task="3c1f", detections_url=URL + TOKEN, failed_shards=2)
    assert batch_response.to_dict(response) == answer()
    path = save(tmp_path, batch_response.to_dict(response))
    assert batch_response.read(path) == response
    assert "SECRET" not in repr(response)


@pytest.mark.parametrize("status", ["running", "failed", "odd", "completed"])
def test_how_far_a_task_is(status: str) -> None:
    said = BatchStatus(task="3c1f", status=status, said="3 of 10 images are done")
    assert batch_response.status_from_dict(said.to_dict()) == said


def test_what_is_said_of_a_task_has_no_token() -> None:
    said = BatchStatus(task="3c1f", status="failed", said=f"no {URL}{TOKEN} today")
    found = batch_response.status_from_dict(said.to_dict())
    assert found.said == f"no {URL} today"
    assert batch_response.status_from_dict(answer("completed")).said == ""


@pytest.mark.parametrize("document", [{}, {"TaskId": "x"}, {"Status": {}}])
def test_what_is_no_answer(document: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError):
        batch_response.status_from_dict(document)
