"""``<task id>.json``: what the Batch Detection API answers when asked for a task.

Sent by ``batch_service`` and kept by whoever asks it ``GET /task/<task id>``; read by
``cache_batchapi_outputs``, and by ``detect_and_crop --batch-api``, which keeps none::

    {
     "TaskId": "3c1f",
     "Status": {
      "request_status": "completed",
      "message": {
       "num_failed_shards": 0,
       "output_file_urls": {
        "detections": "https://account.blob.core.windows.net/async-api/3c1f/detections.json?sv=2020"
       }
      }
     }
    }

``request_status`` is ``running``, ``completed``, ``failed``, ``problem`` or ``canceled``;
``message`` is an object once the task is completed, and text before. The folder that the
detections lie in has the task's id as its name. The address may hold a token, so it is
never shown whole. Other keys are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from classification.artifacts import _json
from classification.runtime.addresses import shown, without_tokens
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMPLETED, RUNNING, CANCELED = "completed", "running", "canceled"
FAILED, PROBLEM = "failed", "problem"

_WAY_OUT_BY_STATUS = {
    RUNNING: "ask for the task again later, and save the new answer",
    FAILED: "submit the images again",
    PROBLEM: "submit the images again",
    CANCELED: "submit the images again",
}
_TASK, _STATUS = "TaskId", "Status"
# An answer is a few hundred bytes; a detections JSON of this size is no answer.
_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class BatchResponse:
    """A task that is completed.

    Attributes:
        task: its id.
        detections_url: where its detections JSON is; never to be shown.
        failed_shards: number of parts of the images that were not looked at.
    """

    task: str
    detections_url: str = field(repr=False)
    failed_shards: int


@dataclass(frozen=True, kw_only=True)
class BatchStatus:
    """How far a task is.

    Attributes:
        task: its id.
        status: one of those that the format names, or another.
        said: what the service says of it, without tokens; may be empty.
    """

    task: str
    status: str
    said: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns the answer of a task that is not completed."""
        return {
            _TASK: self.task,
            _STATUS: {"request_status": self.status, "message": self.said},
        }


def status_from_dict(document: Mapping[str, Any]) -> BatchStatus:
    """Returns how far a task is, whatever its status is called.

    Raises:
        ArtifactError: it is no answer of the service.
    """
    status = _object(document, _STATUS)
    message = status.get("message")
    return BatchStatus(
        task=_text(document, _TASK),
        status=_text(status, "request_status", _STATUS),
        said=without_tokens(message) if isinstance(message, str) else "",
    )


def to_dict(response: BatchResponse) -> dict[str, Any]:
    """Returns the answer of a task that is completed."""
    message = {
        "num_failed_shards": response.failed_shards,
        "output_file_urls": {"detections": response.detections_url},
    }
    return {
        _TASK: response.task,
        _STATUS: {"request_status": COMPLETED, "message": message},
    }


def is_response(path: Path) -> bool:
    """Says whether a JSON file is such an answer, rather than a detections JSON.

    Raises:
        ArtifactError: it is a small file, and no JSON object.
    """
    with in_file(path):
        if path.is_file() and path.stat().st_size > _LARGEST_BYTES:
            return False
        return not {_TASK, _STATUS}.isdisjoint(_json.read_object(path))


def from_dict(document: Mapping[str, Any]) -> BatchResponse:
    """Returns the completed task.

    Raises:
        ArtifactError: it is not completed, or its detections are of another task.
    """
    task = _text(document, _TASK)
    status = _object(document, _STATUS)
    place = f"{_STATUS}.message"
    _refuse_unfinished(_text(status, "request_status", _STATUS), status.get("message"))
    message = _object(status, "message", _STATUS)
    urls = _object(message, "output_file_urls", place)
    place_of_url = f"{place}.output_file_urls"
    url = _text(urls, "detections", place_of_url)
    folder = shown(url).split("/")[-2:-1]
    if folder != [task]:
        raise ArtifactError(
            f"{shown(url)} is not in the folder of {_TASK} {task}",
            where=f"{place_of_url}.detections",
        )
    failed = message.get("num_failed_shards", 0)
    if isinstance(failed, bool) or not isinstance(failed, int) or failed < 0:
        raise ArtifactError("a number expected", where=f"{place}.num_failed_shards")
    return BatchResponse(task=task, detections_url=url, failed_shards=failed)


def _refuse_unfinished(status: str, message: object) -> None:
    if status == COMPLETED:
        return
    where = f"{_STATUS}.request_status"
    if status not in _WAY_OUT_BY_STATUS:
        known = ", ".join((COMPLETED, *_WAY_OUT_BY_STATUS))
        raise ArtifactError(f"{status!r} is none of {known}", where=where)
    said = f" ({without_tokens(message)})" if isinstance(message, str) else ""
    raise ArtifactError(
        f"the task is {status!r}{said}; {_WAY_OUT_BY_STATUS[status]}", where=where
    )


def _text(document: Mapping[str, Any], key: str, place: str = "") -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise ArtifactError("a text expected", where=f"{place}.{key}".lstrip("."))
    return value


def _object(document: Mapping[str, Any], key: str, place: str = "") -> dict[str, Any]:
    value = document.get(key)
    if not isinstance(value, dict):
        raise ArtifactError("an object expected", where=f"{place}.{key}".lstrip("."))
    return value


def read(path: Path) -> BatchResponse:
    """Reads the answer of a completed task.

    Raises:
        ArtifactError: the task is not completed, or the file breaks the format.
    """
    with in_file(path):
        return from_dict(_json.read_object(path))
