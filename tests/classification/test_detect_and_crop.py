from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from classification import detect_and_crop
from tests import world
from tests.detection.detectors.graphs import constant_detector

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = 12


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (20, 32, 16, 24, 0.9, 1, 0, 0)  # an animal
    output[1] = (44, 32, 16, 16, 0.8, 0, 1, 0)  # a person
    constant_detector(tmp_path / "detector.onnx", output)
    queried: dict[str, Any] = {}
    for number in range(IMAGES):
        dataset = ("a", "b")[number % 2]
        name = f"{dataset}/x/{number:02}.jpg"
        world.save_jpeg(
            tmp_path / "images" / name, world.photograph(160, 120, seed=number)
        )
        queried[name] = {"dataset": dataset, "class": "elk", "label": ["deer"]}
    queried["a/x/00.jpg"]["bbox"] = [
        {"category": "animal", "bbox": [0.1, 0.2, 0.5, 0.5]},
        {"category": "person", "bbox": [0.1, 0.2, 0.5, 0.5]},
    ]
    (tmp_path / "queried_images.json").write_text(
        json.dumps(dict(sorted(queried.items()))), encoding="utf-8"
    )
    return tmp_path


LINE = (
    "queried_images.json out -c mdcache -v tiny --detector detector.onnx "
    "--images-dir images"
)
DETECT = f"{LINE} --run-detector --cropped-images-dir crops --square-crops -t 0.4"


def run(line: str) -> int:
    return detect_and_crop.main(line.split())


def snapshot(base: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(base)): path.read_bytes()
        for folder in ("mdcache", "crops")
        for path in (base / folder).rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def last_log(base: Path) -> dict[str, Any]:
    newest = max((base / "out").glob("*_log_*.json"), key=os.path.getmtime)
    log: dict[str, Any] = json.loads(newest.read_bytes())
    return log


def test_images_without_boxes_are_detected_and_all_are_cropped(base: Path) -> None:
    assert run(DETECT) == 0
    crops = {p.name for p in (base / "crops").rglob("*.jpg")}
    assert "00.jpg___crop00.jpg" in crops
    assert "01.jpg___crop00_mdvtiny.jpg" in crops
    assert len(crops) == IMAGES
    cached = json.loads((base / "mdcache/vtiny/a.json").read_bytes())
    assert [image["file"] for image in cached["images"]] == [
        f"x/{number:02}.jpg" for number in range(2, IMAGES, 2)
    ]
    log = last_log(base)
    assert len(log["images_submitted_for_detection"]) == IMAGES - 1
    assert log["images_missing_detections"] == []
    assert log["num_new_crops"] == IMAGES
    assert not (base / "out/detect_and_crop.journal").exists()


def test_a_second_run_detects_nothing_and_gives_the_same_bytes(base: Path) -> None:
    assert run(DETECT) == 0
    first = snapshot(base)
    assert run(DETECT) == 0
    assert snapshot(base) == first
    assert last_log(base)["images_submitted_for_detection"] == []


def test_without_run_detector_they_are_listed(base: Path) -> None:
    assert run(f"{LINE} --cropped-images-dir crops") == 0
    assert len(last_log(base)["images_missing_detections"]) == IMAGES - 1
    assert [p.name for p in (base / "crops").rglob("*.jpg")] == ["00.jpg___crop00.jpg"]


def test_d29_an_image_that_failed_is_tried_again_by_the_next_run(base: Path) -> None:
    path = base / "images/b/x/01.jpg"
    whole = path.read_bytes()
    path.write_bytes(b"no image")
    assert run(DETECT) == 0
    log = last_log(base)
    assert log["images_missing_detections"] == ["b/x/01.jpg"]
    assert [failure["item"] for failure in log["failures"]] == ["b/x/01.jpg"]
    path.write_bytes(whole)
    assert run(DETECT) == 0
    assert last_log(base)["images_submitted_for_detection"] == ["b/x/01.jpg"]
    assert (base / "crops/b/x/01.jpg___crop00_mdvtiny.jpg").exists()


def test_d35_without_a_place_of_the_images_one_line_says_so(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = DETECT.replace("--images-dir images ", "")
    assert run(line) == 1
    assert (
        "where are the images? --images-dir names a folder" in capsys.readouterr().err
    )
    assert not (base / "mdcache/vtiny").exists()


def test_a_task_list_of_the_original_is_told_apart(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (base / "resume.json").write_text('[{"dataset": "a"}]', encoding="utf-8")
    assert run(f"{DETECT} --resume-file resume.json") == 1
    assert "lists tasks of the Batch Detection API" in capsys.readouterr().err


def count_records(journal: Path) -> int:
    try:
        return max(0, journal.read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_d36_killed_and_run_again_it_ends_with_the_same_bytes(
    base: Path, share: float
) -> None:
    assert run(DETECT) == 0
    undisturbed = snapshot(base)
    for name in undisturbed:
        (base / name).unlink()
    journal = base / "out/detect_and_crop.journal"
    program = "import sys; from classification.detect_and_crop import main; main(sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", program, *DETECT.split()], stderr=subprocess.DEVNULL
    ) as child:
        wanted = int(share * (IMAGES - 1))
        while child.poll() is None and count_records(journal) < wanted:
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
    done = count_records(journal)
    assert run(DETECT) == 0
    assert snapshot(base) == undisturbed
    detected = last_log(base)["counts"]["images_detected"]
    assert detected + done <= IMAGES - 1 + 1
