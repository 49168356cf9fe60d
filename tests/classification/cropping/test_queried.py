from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import queried_images
from classification.cropping import queried
from classification.runtime.name_set import NameSet

if TYPE_CHECKING:
    from pathlib import Path

BOX = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.2, 0.2]}
UNSURE = {**BOX, "conf": 0.3}


def write_cache(base: Path) -> None:
    document = {
        "info": {"detector": "md_v4.1.0.pb", "format_version": "1.0"},
        "detection_categories": {"1": "animal"},
        "images": [
            {"file": "a.jpg", "detections": [UNSURE, BOX]},
            {"file": "b.jpg", "detections": None, "failure": "truncated"},
            {"file": "z.jpg", "detections": [BOX]},
        ],
    }
    (base / "v4.1").mkdir()
    (base / "v4.1/d.json").write_text(json.dumps(document), encoding="utf-8")


def test_which_crops_a_training_set_has(tmp_path: Path) -> None:
    write_cache(tmp_path)
    image = {"dataset": "d", "class": "elk", "label": ["deer"]}
    drawn = [{"category": "animal", "bbox": [0, 0, 1, 1]}]
    path = tmp_path / "queried_images.json"
    names = {"d/a.jpg": image, "d/b.jpg": image, "d/c.jpg": {**image, "bbox": drawn}}
    path.write_text(json.dumps(names), encoding="utf-8")
    images = queried_images.open_file(path)
    undrawn = queried.find_undrawn(images.images())
    boxes = {"d": queried.open_cache(tmp_path, "4.1", "d", undrawn["d"])}
    undetected = queried.find_undetected(images.images(), boxes)
    assert {name: list(files) for name, files in undetected.items()} == {"d": ["b.jpg"]}
    jobs = queried.jobs(images, boxes, threshold=0.5, detector_version="4.1")
    assert [crop.name for job in jobs for crop in job.wanted] == [
        "d/c.jpg___crop00.jpg",
        "d/a.jpg___crop01_mdv4.1.jpg",
    ]


def test_drawn_boxes_are_never_looked_up_and_strangers_never_cropped(
    tmp_path: Path,
) -> None:
    """The cache knows ``a.jpg``, whose boxes people drew, and ``z.jpg``, not asked for."""
    write_cache(tmp_path)
    drawn = {"dataset": "d", "class": "elk", "label": ["deer"], "bbox": []}
    path = tmp_path / "queried_images.json"
    path.write_text(json.dumps({"d/a.jpg": drawn}), encoding="utf-8")
    images = queried_images.open_file(path)
    undrawn = queried.find_undrawn(images.images())
    assert {dataset: len(names) for dataset, names in undrawn.items()} == {"d": 0}
    boxes = {"d": queried.open_cache(tmp_path, "4.1", "d", undrawn["d"])}
    assert boxes["d"].file is None
    assert queried.find_undetected(images.images(), boxes) == {}
    jobs = queried.jobs(images, boxes, threshold=0, detector_version="4.1")
    assert [(job.image, list(job.wanted)) for job in jobs] == [("d/a.jpg", [])]


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        (["d/a.jpg", "d/b.jpg"], True),  # with the dataset's folder before them
        (["b.jpg"], False),  # the detector failed on it, but it is the one
        (["a.jpg", "other.jpg"], False),
    ],
)
def test_names_that_do_not_fit_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: list[str], warned: bool
) -> None:
    write_cache(tmp_path)
    queried.open_cache(tmp_path, "4.1", "d", NameSet(names))
    assert ("none of its images is asked for" in caplog.text) is warned


def test_a_dataset_without_a_file_has_no_boxes(tmp_path: Path) -> None:
    boxes = queried.open_cache(tmp_path, "4.1", "d", NameSet(["a.jpg"]))
    assert boxes.file is None
    assert list(boxes.images()) == []
