from __future__ import annotations

import json
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
