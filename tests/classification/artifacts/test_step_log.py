from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import _json, step_log
from classification.artifacts.step_log import StepLog
from classification.runtime.errors import StorageError
from classification.runtime.shards import Shard

if TYPE_CHECKING:
    from pathlib import Path


def test_a_log_says_how_the_run_went(tmp_path: Path) -> None:
    log = StepLog(
        step="crop_detections",
        options={"threshold": 0.8},
        failures=[("b.jpg", "truncated"), ("a.jpg", "no such file")],
        notes=[("c.tif", "16-bit pixels reduced to 8")],
        counts={"images": 3},
        extra={"images_failed_download_or_crop": ["b.jpg"]},
        started=time.time() - 12.34,
    )
    path = step_log.write(tmp_path / "logs", log)
    assert re.fullmatch(r"crop_detections_log_\d{8}_\d{6}\.json", path.name)
    document = _json.read_object(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", document.pop("started"))
    assert 12.3 <= document.pop("seconds") < 60
    assert document.pop("version")
    assert document == {
        "step": "crop_detections",
        "options": {"threshold": 0.8},
        "counts": {"images": 3},
        "failures": [
            {"item": "a.jpg", "reason": "no such file"},
            {"item": "b.jpg", "reason": "truncated"},
        ],
        "notes": [{"item": "c.tif", "reason": "16-bit pixels reduced to 8"}],
        "images_failed_download_or_crop": ["b.jpg"],
    }


def test_the_log_of_a_shard_says_which(tmp_path: Path) -> None:
    log = StepLog(step="x", options={"a": 1}, shard=Shard(3, 10), started=0.0)
    path = step_log.write(tmp_path, log)
    assert path.name.startswith("x.shard-003-of-010_log_")
    assert _json.read_object(path)["options"] == {"a": 1, "shard": "3/10"}


def test_d39_runs_of_the_same_second_get_files_of_their_own(tmp_path: Path) -> None:
    log = StepLog(step="x", started=0.0)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: step_log.write(tmp_path, log), range(16)))
    assert len(set(paths)) == 16
    assert {path.name.rpartition("_")[2] for path in paths} >= {"2.json", "16.json"}
    assert all(_json.read_object(path)["step"] == "x" for path in paths)


def test_an_item_whose_name_is_not_utf8_is_logged(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    path = step_log.write(tmp_path, StepLog(step="x", failures=[(name, "bad")]))
    assert _json.read_object(path)["failures"] == [{"item": name, "reason": "bad"}]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^cannot write .*: "):
        step_log.write(tmp_path / "file" / "logs", StepLog(step="x"))
