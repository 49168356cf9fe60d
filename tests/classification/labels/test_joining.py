from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import queried_images
from classification.artifacts.layout import CropName
from classification.artifacts.queried_images import QueriedBox, QueriedImage
from classification.labels.joining import Joiner, Queried, gather
from classification.runtime.errors import ArtifactError, ConfigurationError
from classification.storage.crop_table import ClassifiedCrop, open_table
from detection.boxes import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESULTS = Path("results.csv")


def documents(**count_by_image: int) -> Callable[[], Iterator[bytes]]:
    def texts() -> Iterator[bytes]:
        for image, count in count_by_image.items():
            boxes = [{"category": "1"} for _ in range(count)]
            yield json.dumps({"file": image, "detections": boxes}).encode()

    return texts


def crop(row: int, image: str, box: int, suffix: str = "md") -> ClassifiedCrop:
    return ClassifiedCrop(row, CropName(image, box, suffix), "", b'[["0",0.5]]')


def test_what_has_no_crop_stays_byte_for_byte() -> None:
    with open_table() as crops:
        crops.add([crop(2, "a", 1)])
        joiner = Joiner(crops, RESULTS, None, None)
        first, second = joiner.join(documents(a=2, b=1))
    said = {"category": "1", "classifications": [["0", 0.5]]}
    assert json.loads(first) == {"file": "a", "detections": [{"category": "1"}, said]}
    assert second == b'{"file": "b", "detections": [{"category": "1"}]}'
    assert joiner.summary() == "2 images, 1 boxes classified on 1 of them"


@pytest.mark.parametrize(
    ("image", "box", "message"),
    [
        ("a", 2, "'a' has no box 2; the crops are of other detections"),
        ("c", 0, "no image 'c' in the detections; the crops are of other detections"),
    ],
)
def test_a_crop_without_box_is_refused(image: str, box: int, message: str) -> None:
    with open_table() as crops:
        crops.add([crop(2, "a", 1), crop(3, image, box)])
        joiner = Joiner(crops, RESULTS, None, None)
        with pytest.raises(ArtifactError) as refused:
            list(joiner.join(documents(a=2, b=1)))
    assert str(refused.value) == f"results.csv: row 3, column path: {message}"


def test_a_dataset_that_is_not_there_is_refused() -> None:
    with open_table() as crops, pytest.raises(ConfigurationError) as refused:
        list(Joiner(crops, RESULTS, frozenset({"x"}), None).join(documents(a=1)))
    assert str(refused.value) == "--datasets: no image of 'x'"


def test_boxes_that_people_drew_are_gathered(tmp_path: Path) -> None:
    path = tmp_path / "queried_images.json"
    drawn = (
        QueriedBox("group", Box(0, 0, 1, 1)),
        QueriedBox("animal", Box(0, 0, 0.5, 1)),
    )
    image = QueriedImage("ds", "x", ("bear",), None, drawn)
    queried_images.write(path, {"ds/a.jpg": image, "ds/b.jpg": image})
    with open_table() as crops:
        crops.add([crop(2, "ds/a.jpg", 1, "")])
        header = gather(crops, RESULTS, Queried(path, None, None))
        texts = [json.loads(text) for text in crops.documents()]
    assert header.detection_categories["4"] == "group"
    assert texts == [
        {
            "file": "ds/a.jpg",
            "detections": [
                {"category": "4", "conf": 1.0, "bbox": [0, 0, 1, 1]},
                {"category": "1", "conf": 1.0, "bbox": [0, 0, 0.5, 1]},
            ],
        }
    ]
