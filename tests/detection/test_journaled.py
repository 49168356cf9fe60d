from __future__ import annotations

import json
from pathlib import Path

from classification.artifacts.step_log import StepLog
from classification.runtime.journal import Journal
from detection import journaled, models
from detection.models import ModelFile

BOX = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.5, 0.5]}


def test_each_image_of_the_journal_is_told_and_counted(tmp_path: Path) -> None:
    images = [
        {"file": "a.jpg", "detections": [BOX, BOX]},
        {"file": "b.jpg", "detections": []},
        {"file": "c.jpg", "detections": None, "failure": "truncated"},
    ]
    log = StepLog(step="test")
    with Journal.open(tmp_path / "journal", key="x") as kept:
        kept.append({"image": image, "note": ""} for image in images[:2])
        kept.append([{"image": images[2], "note": "odd"}])
        documents = list(journaled.documents(kept, log))
    assert [json.loads(document) for document in documents] == images
    assert log.counts == {"images": 3, "boxes": 2, "failed": 1, "images_with_boxes": 1}
    assert log.failures == [("c.jpg", "truncated")]
    assert log.notes == [("c.jpg", "odd")]


def test_an_empty_journal_counts_to_zero(tmp_path: Path) -> None:
    log = StepLog(step="test")
    with Journal.open(tmp_path / "journal", key="x") as kept:
        assert list(journaled.documents(kept, log)) == []
    assert set(log.counts.values()) == {0}


def test_what_is_said_of_a_detector() -> None:
    own = ModelFile(path=Path("x.onnx"), name="x.onnx")
    assert journaled.info(own) == {"format_version": "1.6", "detector": "x.onnx"}
    known = models.find("MDV5A")
    named = ModelFile(path=Path("x.pt"), name="md_v5a.0.0.pt", known=known)
    said = journaled.info(named, {"when": "now"})
    assert list(said) == ["format_version", "detector", "when", "detector_metadata"]
    assert said["detector_metadata"]["typical_detection_threshold"] == 0.2
