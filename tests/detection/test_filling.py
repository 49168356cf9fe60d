from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from classification.artifacts import detection_cache, image_contents
from classification.artifacts.step_log import StepLog
from classification.cropping import queried
from classification.runtime.contents import Contents, digest
from classification.runtime.errors import (
    ConfigurationError,
    ModelError,
    StorageError,
)
from classification.runtime.model_digest import digest_of
from classification.runtime.name_set import NameSet
from classification.storage.local import LocalStore
from detection import batches, detectors, filling
from tests import world
from tests.detection.detectors.graphs import constant_detector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


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


def interrupt(base: Path, options: filling.Options) -> None:
    """Ends a run after it has detected all."""
    with (
        pytest.raises(KeyboardInterrupt),
        filling.filled(
            FILES, [], LocalStore(base / "images"), options, StepLog(step="test")
        ),
    ):
        raise KeyboardInterrupt


def test_a_failure_of_a_run_that_goes_on_is_counted_and_tried_again_if_it_changed(
    tmp_path: Path,
) -> None:
    draw(tmp_path)
    options = options_for(tmp_path)
    broken = tmp_path / "images/a/0.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(b"no image")
    interrupt(tmp_path, options)
    log = StepLog(step="test")
    with (
        pytest.raises(KeyboardInterrupt),
        filling.filled(
            {"a": ["0.jpg"]}, [], LocalStore(tmp_path / "images"), options, log
        ),
    ):
        raise KeyboardInterrupt
    assert log.extra["images_submitted_for_detection"] == []
    assert [name for name, _ in log.failures] == ["a/0.jpg"]
    broken.write_bytes(whole)
    log = fill(tmp_path, {"a": ["0.jpg"]}, options)
    assert log.extra["images_submitted_for_detection"] == ["a/0.jpg"]
    assert log.counts[filling.FAILED] == 0
    assert cached(tmp_path, "a") == [1, 1]


def recorded(base: Path, dataset: str) -> dict[str, Contents]:
    record = image_contents.find(base / f"cache/v7/{dataset}.json")
    assert record is not None
    return dict(record.images())


def contents(base: Path, name: str) -> Contents:
    store = LocalStore(base / "images")
    return Contents(digest(store.read(name)), store.stamp(name))


def test_the_cache_knows_its_images_and_detector(tmp_path: Path) -> None:
    draw(tmp_path)
    fill(tmp_path, FILES, options_for(tmp_path))
    for dataset, files in FILES.items():
        expected = {file: contents(tmp_path, f"{dataset}/{file}") for file in files}
        assert recorded(tmp_path, dataset) == expected
    record = image_contents.find(tmp_path / "cache/v7/a.json")
    assert record is not None
    assert record.header.detector == digest_of(tmp_path / "tiny_v7.onnx")


def test_an_image_that_changed_after_the_kill_is_detected_anew_alone(
    tmp_path: Path,
) -> None:
    draw(tmp_path)
    options = options_for(tmp_path)
    interrupt(tmp_path, options)
    world.save_jpeg(tmp_path / "images/b/1.jpg", world.photograph(30, 20, seed=9))
    log = fill(tmp_path, FILES, options)
    assert log.extra["images_submitted_for_detection"] == ["b/1.jpg"]
    assert log.counts[filling.OF_EARLIER_RUNS] == 3
    fresh = options_for(tmp_path, cache_dir=tmp_path / "fresh")
    fill(tmp_path, FILES, fresh)
    for dataset in FILES:
        for name in (f"{dataset}.json", f"{dataset}.json.images.jsonl.gz"):
            found = (tmp_path / "cache/v7" / name).read_bytes()
            assert found == (tmp_path / "fresh/v7" / name).read_bytes()


def test_what_a_killed_run_cached_is_detected_anew_if_it_changed(
    tmp_path: Path,
) -> None:
    draw(tmp_path)
    options = options_for(tmp_path)
    interrupt(tmp_path, options)
    image_contents.remove(tmp_path / "cache/v7/b.json")  # killed before it was written
    world.save_jpeg(tmp_path / "images/b/1.jpg", world.photograph(30, 20, seed=9))
    log = fill(tmp_path, {}, options)  # the cache has boxes of all
    assert log.extra["images_submitted_for_detection"] == ["b/1.jpg"]
    fill(tmp_path, FILES, options_for(tmp_path, cache_dir=tmp_path / "fresh"))
    for name in ("b.json", "b.json.images.jsonl.gz"):
        found = (tmp_path / "cache/v7" / name).read_bytes()
        assert found == (tmp_path / "fresh/v7" / name).read_bytes()


def boxes_of(base: Path) -> dict[str, queried.CachedBoxes]:
    return {
        dataset: queried.open_cache(base / "cache", "7", dataset, NameSet(files))
        for dataset, files in FILES.items()
    }


def test_images_that_changed_are_found_and_asked_for_again(tmp_path: Path) -> None:
    store, options = draw(tmp_path), options_for(tmp_path)
    fill(tmp_path, FILES, options)
    looked = {"store": store, "verify": False, "threads": 2}
    assert filling.find_changed(boxes_of(tmp_path), **looked) == {}  # type: ignore[arg-type]
    world.save_jpeg(tmp_path / "images/b/0.jpg", world.photograph(90, 70, seed=8))
    (tmp_path / "images/a/0.jpg").unlink()  # where it is now, nobody asks here
    changed = filling.find_changed(boxes_of(tmp_path), **looked)  # type: ignore[arg-type]
    assert changed == {"b": {"0.jpg": contents(tmp_path, "b/0.jpg")}}
    before = detection_cache.open_file(tmp_path / "cache", "7", "b")
    unchanged = [image for image in before.images() if image.file == "1.jpg"]
    fill(tmp_path, {"b": ["0.jpg"]}, options)
    after = list(detection_cache.open_file(tmp_path / "cache", "7", "b").images())
    assert after[1:] == unchanged
    (box,) = after[0].detections or ()
    (old,) = unchanged[0].detections or ()
    assert box != old  # of an image of another size
    assert recorded(tmp_path, "b")["0.jpg"] == contents(tmp_path, "b/0.jpg")


def test_an_image_that_changed_and_fails_now_has_no_boxes_any_more(
    tmp_path: Path,
) -> None:
    store, options = draw(tmp_path), options_for(tmp_path)
    fill(tmp_path, FILES, options)
    (tmp_path / "images/a/0.jpg").write_bytes(b"no image")
    changed = filling.find_changed(boxes_of(tmp_path), store, verify=False, threads=1)
    assert list(changed["a"]) == ["0.jpg"]
    fill(tmp_path, {"a": ["0.jpg"]}, options)
    assert cached(tmp_path, "a") == [0, 1]


def test_a_detector_that_was_trained_anew_is_not_mixed_in(tmp_path: Path) -> None:
    draw(tmp_path)
    options = options_for(tmp_path)
    fill(tmp_path, {"a": ["0.jpg"]}, options)
    filling.refuse_retrained(
        [detection_cache.open_file(tmp_path / "cache", "7", "a")], options.model
    )
    before = (tmp_path / "cache/v7/a.json").read_bytes()
    constant_detector(tmp_path / "tiny_v7.onnx", np.ones((252, 8), np.float32))
    cache = [detection_cache.open_file(tmp_path / "cache", "7", "a")]
    said = r"a\.json holds boxes of another detector of this name .*--detector-version"
    with pytest.raises(ConfigurationError, match=said):
        filling.refuse_retrained(cache, options.model)
    with (
        pytest.raises(ConfigurationError, match=said),
        filling.filled(
            {"a": ["1.jpg"]},
            cache,
            LocalStore(tmp_path / "images"),
            options,
            StepLog(step="test"),
        ),
    ):
        pass
    assert (tmp_path / "cache/v7/a.json").read_bytes() == before


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
