from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from classification.megadb import coco_camera_traps
from classification.megadb.staging import Staging
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT: dict[str, Any] = {
    "images": [
        {"id": "a", "file_name": "a.jpg", "location": 13, "width": 10, "height": 20},
        {"id": "b", "file_name": "b.jpg", "location": "13", "corrupt": True},
    ],
    "annotations": [
        {"id": 1, "image_id": "a", "category_id": 6},
        {"id": 2, "image_id": "gone", "category_id": 6},
        {"id": 3, "image_id": "a", "category_id": 77},
    ],
    "categories": [{"id": 6, "name": "bobcat"}, {"id": 30, "name": "empty"}],
}


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def staged(path: Path, query: str) -> list[tuple[Any, ...]]:
    with Staging.open(path.parent / "db") as staging:
        coco_camera_traps.read(path, staging)
        return staging.connection.execute(query).fetchall()


def test_d9_locations_are_text_be_they_numbers_or_not(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", DOCUMENT)
    found = staged(
        path,
        "SELECT id, file, location, width, problem FROM staged_images ORDER BY row",
    )
    assert found == [
        ("a", "a.jpg", "13", 10, None),
        ("b", "b.jpg", "13", None, "corrupt"),
    ]


def test_an_annotation_gives_its_label(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", DOCUMENT)
    found = staged(path, "SELECT image_id, label FROM staged_labels ORDER BY row")
    assert found == [("a", "bobcat"), ("gone", "bobcat")]


def test_an_unknown_category_is_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", DOCUMENT)
    ((item, reason),) = staged(path, "SELECT item, reason FROM staged_skipped")
    assert "annotations" in item or "annotations" in reason


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, 4, 5], [1, 2, None, 4]])
def test_a_box_without_four_numbers_is_a_box_that_is_none(
    tmp_path: Path, box: list[float | None]
) -> None:
    broken = {"id": 4, "image_id": "b", "category_id": 6, "bbox": box}
    document = {**DOCUMENT, "annotations": [*DOCUMENT["annotations"], broken]}
    path = write(tmp_path / "x.json", document)
    ((image, x, height),) = staged(path, "SELECT image_id, x, h FROM staged_boxes")
    assert image == "b"
    assert math.isnan(x)
    assert math.isnan(height)


def test_a_size_that_is_none_is_listed_and_unknown(tmp_path: Path) -> None:
    images = [
        {"id": "a", "file_name": "a.jpg", "width": -5, "height": 0},
        {"id": "b", "file_name": "b.jpg", "width": 7, "height": "8.0"},
        {"id": "c", "file_name": "c.jpg", "frame_num": -1, "height": 2**40},
    ]
    path = write(tmp_path / "x.json", {**DOCUMENT, "images": images})
    found = staged(path, "SELECT width, height, frame FROM staged_images ORDER BY row")
    assert found == [(None, None, None), (7, 8, None), (None, None, -1)]
    listed = staged(
        path, "SELECT item, reason FROM staged_skipped WHERE item LIKE '%images%'"
    )
    assert sorted(listed) == [
        ("x.json: images[0].height", coco_camera_traps.NO_SIZE),
        ("x.json: images[0].width", coco_camera_traps.NO_SIZE),
        ("x.json: images[2].height", coco_camera_traps.NO_SIZE),
    ]


def test_a_name_may_be_written_as_on_windows(tmp_path: Path) -> None:
    images = [{"id": "a", "file_name": "site 1\\a.jpg"}]
    path = write(tmp_path / "x.json", {**DOCUMENT, "images": images})
    assert staged(path, "SELECT file FROM staged_images") == [("site 1/a.jpg",)]


@pytest.mark.parametrize(
    ("document", "address"),
    [
        ([], "x.json"),
        ({**DOCUMENT, "images": 7}, "images"),
        ({**DOCUMENT, "images": [{"id": "a", "file_name": 7}]}, r"images\[0\]"),
        ({**DOCUMENT, "images": [{"file_name": "a.jpg"}]}, r"images\[0\]"),
    ],
)
def test_a_broken_file_is_one_line(
    tmp_path: Path, document: object, address: str
) -> None:
    with pytest.raises(ArtifactError, match=address):
        staged(write(tmp_path / "x.json", document), "SELECT 1")
