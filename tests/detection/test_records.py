from __future__ import annotations

import msgspec
import pytest

from detection.boxes import Box
from detection.records import (
    MEGADETECTOR_CATEGORIES,
    Detection,
    DetectorRecord,
    FoundBox,
    ImageDetections,
)


def decode(text: str) -> ImageDetections:
    return msgspec.json.decode(text.encode(), type=ImageDetections)


def test_megadetectors_categories() -> None:
    assert MEGADETECTOR_CATEGORIES == {"1": "animal", "2": "person", "3": "vehicle"}


def test_an_image_is_read_and_other_keys_are_ignored() -> None:
    image = decode(
        '{"file": "a.jpg", "width": 10, "detections": [{"category": "1", "conf": 0.5, '
        '"bbox": [0, 0, 1, 1], "classifications": [["3", 0.75]], "x": 1}]}'
    )
    found = Detection("1", Box(0, 0, 1, 1), 0.5, (("3", 0.75),))
    assert image == ImageDetections("a.jpg", (found,))


@pytest.mark.parametrize(
    "text",
    [
        '{"file": "a", "detections": null, "failure": "x"}',
        '{"file": "a", "failure": "x"}',
    ],
)
def test_a_failed_image_has_no_detections(text: str) -> None:
    assert decode(text) == ImageDetections("a", None, "x")


def test_a_box_drawn_by_a_person_has_no_confidence() -> None:
    image = decode(
        '{"file": "a", "detections": [{"category": "1", "bbox": [0,0,1,1]}]}'
    )
    assert image.detections == (Detection("1", Box(0, 0, 1, 1)),)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("{}", "missing required field `file`"),
        ('{"file": 3}', "at `$.file`"),
        ('{"file": "a", "detections": 3}', "at `$.detections`"),
        (
            '{"file": "a", "detections": [{"category": "1", "bbox": [0,0,1]}]}',
            "at `$.detections[0].bbox`",
        ),
        (
            '{"file": "a", "detections": [{"category": 1, "bbox": [0,0,1,1]}]}',
            "at `$.detections[0].category`",
        ),
        (
            '{"file": "a", "detections": [{"category": "1", "bbox": [0,0,1,1], "conf": 2}]}',
            "at `$.detections[0].conf`",
        ),
    ],
)
def test_what_is_no_image_is_refused_with_its_address(text: str, address: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        decode(text)
    assert address in str(refused.value)


def test_a_record_writes_what_it_holds_and_nothing_else() -> None:
    box = FoundBox("1", 1.0, Box(0.0, 0.25, 0.5, 1.0))
    assert msgspec.json.encode(DetectorRecord(file="a", detections=(box,))) == (
        b'{"file":"a","detections":'
        b'[{"category":"1","conf":1.0,"bbox":[0.0,0.25,0.5,1.0]}]}'
    )


def test_a_record_of_a_failure_says_null_and_why() -> None:
    record = DetectorRecord(file="a", detections=None, failure="no such file")
    text = b'{"file":"a","detections":null,"failure":"no such file"}'
    assert msgspec.json.encode(record) == text


def test_every_key_that_was_asked_for_is_written() -> None:
    record = DetectorRecord(
        file="a",
        detections=(),
        max_detection_conf=0.0,
        width=3,
        height=2,
        datetime=None,
        exif_metadata={"Make": "RECONYX", "GPSLatitude": [1.0, 2.0]},
    )
    assert msgspec.json.encode(record) == (
        b'{"file":"a","detections":[],"max_detection_conf":0.0,"width":3,"height":2,'
        b'"datetime":null,"exif_metadata":{"Make":"RECONYX","GPSLatitude":[1.0,2.0]}}'
    )


@pytest.mark.parametrize("conf", [-1, -0.93, 0, 1])
def test_a_box_taken_back_by_repeat_detection_elimination_has_a_negative_confidence(
    conf: float,
) -> None:
    box = f'{{"category": "1", "conf": {conf}, "bbox": [0,0,1,1]}}'
    image = decode(f'{{"file": "a", "detections": [{box}]}}')
    assert image.detections == (Detection("1", Box(0, 0, 1, 1), conf),)


@pytest.mark.parametrize("conf", [-1.01, 1.01])
def test_no_confidence_is_beyond_one(conf: float) -> None:
    box = f'{{"category": "1", "conf": {conf}, "bbox": [0,0,1,1]}}'
    with pytest.raises(msgspec.ValidationError, match="conf"):
        decode(f'{{"file": "a", "detections": [{box}]}}')
