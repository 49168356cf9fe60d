from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from classification.megadb import drawn_boxes
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, annotations: list[dict[str, Any]]) -> Path:
    names = {one["image_id"] for one in annotations}
    document = {
        "categories": [
            {"id": 1, "name": "bobcat"},
            {"id": 2, "name": "empty"},
            {"id": 3, "name": "car"},
        ],
        "images": [
            {"id": name, "file_name": f"d/{name}.jpg", "width": 200, "height": 100}
            for name in sorted(names)
        ],
        "annotations": [{"id": str(i), **one} for i, one in enumerate(annotations)],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def box(image: str, category: int, numbers: list[float] | None) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": numbers}


def test_gives_the_images_whose_boxes_are_all_drawn(tmp_path: Path) -> None:
    path = write(
        tmp_path / "boxes.json",
        [
            box("b", 1, [20, 10, 40, 50]),
            box("b", 3, [100, 0, 100, 100]),
            box("empty", 2, None),
            box("undrawn", 1, None),
            box("broken", 1, [1, 2, -3, 4]),
        ],
    )
    found = drawn_boxes.read(path)
    assert list(found) == ["d/b.jpg", "d/empty.jpg"]
    first, second = found["d/b.jpg"]
    assert (first.category, first.bbox.left, first.bbox.height) == ("animal", 0.1, 0.5)
    assert (second.category, second.bbox.width) == ("vehicle", 0.5)
    assert found["d/empty.jpg"] == ()


def test_a_broken_file_is_refused_with_its_address(tmp_path: Path) -> None:
    path = write(tmp_path / "boxes.json", [box("a", 1, [1, 2, 3, 4])])
    path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    with pytest.raises(ArtifactError, match=str(path)):
        drawn_boxes.read(path)
