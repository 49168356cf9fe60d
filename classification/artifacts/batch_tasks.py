"""``detect_and_crop_tasks.json``: tasks that a Batch Detection API was given.

Written by ``detect_and_crop --batch-api`` (``--resume-file`` names it) and by the
original; read by ``detect_and_crop``, which asks for these tasks instead of submitting
their images once more::

    [
     {
      "dataset": "caltech",
      "task_name": "detect_for_classifier_caltech_5f0c21aa_task00",
      "task_id": "3c1f",
      "local_images_list_path": "run/batchapi_tasklists/task_list_caltech_5f0c21aa.chunk000.json"
     }
    ]

A task is in it before the next one is submitted. ``local_images_list_path`` is a JSON
list of the task's images, named below the dataset's folder; a path as in the command
line. Further keys, such as the original's ``remote_images_list_url``, do not count, and
are not written again: they may hold a token.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import _json, layout
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterable

_ID = re.compile(r"[-_A-Za-z0-9]{1,128}")


@dataclass(frozen=True, kw_only=True)
class BatchTask:
    """A task that was submitted.

    Attributes:
        dataset: of its images.
        task_name: as it was asked for.
        task_id: as the service calls it; fit for an address and for a file's name.
        local_images_list_path: file of its images.
    """

    dataset: str
    task_name: str
    task_id: str
    local_images_list_path: str

    @property
    def images_list(self) -> Path:
        """Returns the file of its images."""
        return Path(self.local_images_list_path)


_KEYS = [key.name for key in fields(BatchTask)]


def is_task_list(path: Path) -> bool:
    """Says whether a file begins as such a list does, which no journal does."""
    try:
        with path.open("rb") as file:
            return file.read(1) == b"["
    except OSError:  # missing, as a rule; what else is wrong is said by who reads it
        return False


def checked_id(task_id: object, *, where: str = "") -> str:
    """Returns the id of a task that is fit for an address and a file's name.

    Raises:
        ArtifactError: it is not.
    """
    if not isinstance(task_id, str) or not _ID.fullmatch(task_id):
        rule = "the id of a task expected: at most 128 of [-_A-Za-z0-9]"
        raise ArtifactError(rule, where=where)
    return task_id


def read(path: Path) -> list[BatchTask]:
    """Reads the tasks, in the order in which they were submitted.

    Raises:
        ArtifactError: the file is missing or breaks the format, or a task is in it twice.
    """
    with in_file(path):
        document = _json.parse(_json.read_bytes(path))
        if not isinstance(document, list):
            raise ArtifactError("expected a list of tasks at the top level")
        tasks = [_to_task(item, f"[{n}]") for n, item in enumerate(document)]
        if len({task.task_id for task in tasks}) < len(tasks):
            raise ArtifactError("a task_id stands in it twice")
        return tasks


def _to_task(item: object, where: str) -> BatchTask:
    if not isinstance(item, dict):
        raise ArtifactError("an object expected", where=where)
    for key in _KEYS:
        if not isinstance(item.get(key), str) or not item[key] or "\0" in item[key]:
            raise ArtifactError("a text expected", where=f"{where}.{key}")
    checked_id(item["task_id"], where=f"{where}.task_id")
    dataset = layout.checked_name(item["dataset"], where=f"{where}.dataset")
    if "/" in dataset:
        raise ArtifactError("the name of a dataset expected", where=f"{where}.dataset")
    return BatchTask(**{key: item[key] for key in _KEYS})


def write(path: Path, tasks: Iterable[BatchTask]) -> None:
    """Writes the tasks: all of them or, where it fails, what was there before."""
    text = json.dumps([asdict(task) for task in tasks], indent=1, ensure_ascii=False)
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace") + b"\n")
