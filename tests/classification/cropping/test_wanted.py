from __future__ import annotations

import pytest

from classification.artifacts.layout import CropName
from classification.cropping.wanted import (
    Rule,
    animal_categories,
)
from detection.boxes import Box
from detection.records import Detection, ImageDetections

BOX = Box(0.1, 0.2, 0.3, 0.4)
RULE = Rule(categories=frozenset({"1"}), threshold=0.5, suffix="md_v5a.0.0.pt")


def image(*detections: Detection, ground_truth: bool = False) -> ImageDetections:
    return ImageDetections("a/b.JPG", detections, is_ground_truth=ground_truth)


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        (Detection("1", BOX, 0.5), True),
        (Detection("1", BOX, 0.4999), False),
        (Detection("1", BOX, None), True),
        (Detection("2", BOX, 0.9), False),
        (Detection("7", BOX, None), False),
    ],
)
def test_takes_animals_that_reach_the_threshold(
    detection: Detection, expected: bool
) -> None:
    assert RULE.takes(detection) is expected


def test_skipped_boxes_keep_their_number() -> None:
    detections = [Detection("1", BOX, conf) for conf in (0.9, 0.1, 0.8)]
    assert [crop.name for crop in RULE.crops_of(image(*detections))] == [
        "a/b.JPG___crop00_md_v5a.0.0.pt.jpg",
        "a/b.JPG___crop02_md_v5a.0.0.pt.jpg",
    ]


def test_a_box_that_was_taken_back_is_never_cropped_and_keeps_its_number() -> None:
    detections = [Detection("1", BOX, conf) for conf in (-0.9, 0.8)]
    for threshold in (0.0, 0.5):
        rule = Rule(categories=frozenset({"1"}), threshold=threshold, suffix="x")
        assert [crop.name for crop in rule.crops_of(image(*detections))] == [
            "a/b.JPG___crop01_x.jpg"
        ]


def test_boxes_drawn_by_people_have_names_without_a_detector() -> None:
    crops = RULE.crops_of(image(Detection("1", BOX), ground_truth=True))
    assert [(crop.name, crop.box) for crop in crops] == [("a/b.JPG___crop00.jpg", BOX)]


def test_a_failed_image_has_no_crops() -> None:
    assert RULE.crops_of(ImageDetections("a.jpg", None, "inference failure")) == []


def test_d12_the_hundredth_box_has_a_name_of_its_own() -> None:
    names = [
        crop.name for crop in RULE.crops_of(image(*[Detection("1", BOX, 0.9)] * 101))
    ]
    assert len(set(names)) == 101
    assert names[10] == "a/b.JPG___crop10_md_v5a.0.0.pt.jpg"
    assert names[100] == "a/b.JPG___crop100_md_v5a.0.0.pt.jpg"
    assert [CropName.parse(name).index for name in names] == list(range(101))


def test_only_the_category_animal_is_cropped() -> None:
    assert animal_categories({"1": "animal", "2": "person"}) == {"1"}
    assert animal_categories({"2": "person", "3": "Animals"}) == frozenset()
