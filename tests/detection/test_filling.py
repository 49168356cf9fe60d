from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from classification.artifacts import detection_cache
from classification.artifacts.step_log import StepLog
from classification.runtime.errors import ModelError, StorageError
from classification.runtime.name_set import NameSet
from classification.storage.local import LocalStore
from detection import batches, detectors, filling
from tests import world
from tests.detection.detectors.graphs import constant_detector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], (["a", "b", "c"], 0)),
        (["a", "b"], (["a", "b", "c"], 2)),  # cut off: same batches as before
        (["b"], (["a", "c"], 0)),  # the list has changed since
        (["a", "b", "c"], (["a", "b", "c"], 3)),
    ],
)
def test_what_is_left_is_detected_in_the_batches_of_an_undisturbed_run(
    done: list[str], left: tuple[list[str], int]
) -> None:
    assert filling._what_is_left(["a", "b", "c"], NameSet(done)) == left


@pytest.mark.parametrize(
    ("model", "version"), [("default", "lite-20220528"), ("/x/md_v4.1.0.pb", "4.1")]
)
def test_the_version_of_a_model(model: str, version: str) -> None:
    assert filling.version_of(model) == version


FILES = {"a": ["0.jpg", "1.jpg"], "b": ["0.jpg", "1.jpg"]}


def options_for(base: Path, **changed: Any) -> filling.Options:  # noqa: ANN401 - fields of any type
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (20, 32, 16, 24, 0.9, 1, 0, 0)
    given = {
        "model": str(constant_detector(base / "tiny_v7.onnx", output)),
        "cache_dir": base / "cache",
        "detector_version": "7",
        "journal": base / "run.journal",
        "work": batches.Work(threshold=0.1),
        "engine": detectors.Options(device="cpu"),
    }
    return filling.Options(**given | changed)


def draw(base: Path) -> LocalStore:
    for number, dataset in enumerate(FILES):
        for file in FILES[dataset]:
            path = base / "images" / dataset / file
            world.save_jpeg(path, world.photograph(64, 48, seed=number))
    return LocalStore(base / "images")


def fill(
    base: Path, files: Mapping[str, Sequence[str]], options: filling.Options
) -> StepLog:
    log = StepLog(step="test")
    with filling.filled(files, [], LocalStore(base / "images"), options, log):
        pass
    return log


def cached(base: Path, dataset: str) -> list[int]:
    file = detection_cache.open_file(base / "cache", "7", dataset)
    return [len(image.detections or ()) for image in file.images()]


def test_each_dataset_has_a_file_when_the_block_begins(tmp_path: Path) -> None:
    store, options, log = draw(tmp_path), options_for(tmp_path), StepLog(step="test")
    with filling.filled(FILES, [], store, options, log):
        assert [cached(tmp_path, dataset) for dataset in FILES] == [[1, 1], [1, 1]]
        assert options.journal.exists()
    assert not options.journal.exists()
    assert log.counts == {
        filling.DETECTED: 4,
        filling.FAILED: 0,
        filling.OF_EARLIER_RUNS: 0,
    }


def test_the_journal_stays_where_the_block_fails(tmp_path: Path) -> None:
    store, options = draw(tmp_path), options_for(tmp_path)
    with (
        pytest.raises(StorageError, match="full"),
        filling.filled(FILES, [], store, options, StepLog(step="test")),
    ):
        raise StorageError("the disk is full")
    assert options.journal.exists()
    log = fill(tmp_path, {}, options)
    assert log.counts[filling.OF_EARLIER_RUNS] == 4
    assert log.counts[filling.DETECTED] == 0
    assert not options.journal.exists()


def test_a_failure_of_a_run_that_goes_on_is_counted_and_not_tried_again(
    tmp_path: Path,
) -> None:
    store, options = draw(tmp_path), options_for(tmp_path)
    broken = tmp_path / "images/a/0.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    with (
        pytest.raises(KeyboardInterrupt),
        filling.filled(FILES, [], store, options, StepLog(step="test")),
    ):
        raise KeyboardInterrupt
    broken.write_bytes(whole)
    log = fill(tmp_path, {"a": ["0.jpg"]}, options)
    assert log.extra["images_submitted_for_detection"] == []
    assert log.failures == [("a/0.jpg", "empty file")]
    assert log.counts[filling.FAILED] == 1
    log = fill(tmp_path, {"a": ["0.jpg"]}, options)
    assert log.extra["images_submitted_for_detection"] == ["a/0.jpg"]
    assert cached(tmp_path, "a") == [1, 1]


def test_nothing_to_detect_needs_no_model(tmp_path: Path) -> None:
    log = fill(tmp_path, {}, options_for(tmp_path, model="gone.onnx"))
    assert log.counts[filling.DETECTED] == 0
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_told_before_the_model_is_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "cache").write_bytes(b"")
    model = tmp_path / "no_model.onnx"
    model.write_bytes(b"no model")
    with pytest.raises(StorageError, match="cannot write into"):
        fill(tmp_path, FILES, options_for(tmp_path, model=str(model)))
    assert not (tmp_path / "run.journal").exists()


def test_a_model_that_is_not_there_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        fill(tmp_path, FILES, options_for(tmp_path, model="gone.onnx"))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny_v7.onnx"]


def test_the_cache_says_what_the_model_table_knows(tmp_path: Path) -> None:
    draw(tmp_path)
    fill(tmp_path, FILES, options_for(tmp_path))
    header = detection_cache.open_file(tmp_path / "cache", "7", "a").header
    assert header.detector == "tiny_v7.onnx"
    assert "detector_metadata" not in header.info
