from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from classification import fit_detector_calibration
from classification.artifacts import detector_calibration

if TYPE_CHECKING:
    from pathlib import Path

BOX = [0.1, 0.1, 0.4, 0.4]
ELSEWHERE = [0.6, 0.6, 0.3, 0.3]
CATEGORIES = {"1": "animal", "2": "person"}


class Desk:
    """Where a person fits a calibration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "c.npz"

    def detections(self, name: str, boxes_by_file: dict[str, Any]) -> Path:
        images = [
            {
                "file": file,
                "detections": boxes
                and [
                    {"category": "1", "conf": conf, "bbox": box} for conf, box in boxes
                ],
            }
            for file, boxes in boxes_by_file.items()
        ]
        path = self.folder / name
        document = {
            "info": {"format_version": "1.6", "detector": "x"},
            "detection_categories": CATEGORIES,
            "images": images,
        }
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def coco(self, files: dict[str, list[float] | None]) -> Path:
        document = {
            "categories": [{"id": 0, "name": "empty"}, {"id": 1, "name": "bobcat"}],
            "images": [
                {"id": file, "file_name": file, "width": 100, "height": 100}
                for file in files
            ],
            "annotations": [
                {"id": file, "image_id": file, "category_id": int(box is not None)}
                | ({} if box is None else {"bbox": [100 * number for number in box]})
                for file, box in files.items()
            ],
        }
        path = self.folder / "coco.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def run(self, found: Path, drawn: Path) -> int:
        return fit_detector_calibration.main(
            [str(found), str(drawn), "--output", str(self.output)]
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


FOUND = {
    "a.jpg": [(0.9, BOX), (0.3, ELSEWHERE)],
    "b.jpg": [(0.5, BOX), (-0.8, BOX)],
    "c.jpg": None,
    "d.jpg": [(0.1, BOX)],
    "e.jpg": [(0.7, BOX)],
}
DRAWN = {"a.jpg": BOX, "b.jpg": None, "c.jpg": BOX, "e.jpg": BOX, "z.jpg": BOX}


def test_fits_the_share_of_right_boxes(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run(desk.detections("d.json", FOUND), desk.coco(DRAWN)) == 0
    curve = detector_calibration.read(desk.output)
    assert (curve.x.min(), curve.x.max()) == (0.3, 0.9)
    at = np.array([0.3, 0.5, 0.7, 0.9])
    assert curve(at).tolist() == [0, 0, 1, 1]
    said = capsys.readouterr().err
    assert "4 boxes in 3 images, 2 boxes right" in said
    assert "2 images without drawn boxes left out" in said


def test_drawn_boxes_may_come_as_detections(desk: Desk) -> None:
    drawn = {name: [] if box is None else [(1, box)] for name, box in DRAWN.items()}
    found = desk.detections("d.json", FOUND)
    assert desk.run(found, desk.detections("drawn.json", drawn)) == 0
    first = desk.output.read_bytes()
    assert desk.run(found, desk.coco(DRAWN)) == 0
    assert desk.output.read_bytes() == first


def test_a_packed_file_is_read(desk: Desk) -> None:
    coco = desk.coco(DRAWN)
    packed = shutil.make_archive(str(coco), "zip", desk.folder, coco.name)
    assert desk.run(desk.detections("d.json", FOUND), desk.folder / packed) == 0


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        ({"x/a.jpg": [(0.9, BOX)]}, "no image in common; the first of each: 'x/a.jpg'"),
        ({"a.jpg": None}, "no image in common; the first of each: None"),
        ({"a.jpg": []}, "has no box in the 1 images whose boxes are drawn"),
    ],
)
def test_nothing_to_fit_is_said(
    desk: Desk, found: dict[str, Any], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.run(desk.detections("d.json", found), desk.coco(DRAWN)) == 1
    assert fault in capsys.readouterr().err
    assert not desk.output.exists()


def test_missing_files_are_said(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    found = desk.detections("d.json", FOUND)
    assert desk.run(found, desk.folder / "none.json") == 1
    assert "none.json: cannot read: No such file" in capsys.readouterr().err
    assert desk.run(desk.folder / "none.json", desk.coco(DRAWN)) == 1


def test_boxes_that_lie_apart_cannot_be_asked_for(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        fit_detector_calibration.main(["d.json", "c.json", "--iou", "0"])
    assert ending.value.code == 2
    assert "--iou: with 0" in capsys.readouterr().err
    assert not desk.output.exists()
