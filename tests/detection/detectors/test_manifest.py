from __future__ import annotations

import pytest

from classification.runtime.errors import ModelError
from detection.detectors import manifest
from detection.detectors.heads import Head
from detection.detectors.manifest import Manifest


def test_what_is_written_is_read() -> None:
    told = Manifest(
        head=Head.YOLOX_RAW,
        categories={"1": "animal"},
        image_size_px=640,
        stride_px=32,
        channels="RGB",
        fill=0,
    )
    assert manifest.read(told.to_properties()) == told


def test_a_silent_file_tells_nothing() -> None:
    assert manifest.read({}) == Manifest()
    assert Manifest().to_properties() == {}


def test_an_export_of_ultralytics() -> None:
    told = manifest.read(
        {
            "names": "{0: 'animal', 1: 'person'}",
            "imgsz": "[640, 960]",
            "stride": "32",
            "task": "detect",
        }
    )
    assert told == Manifest(
        categories={"1": "animal", "2": "person"}, image_size_px=960, stride_px=32
    )


def test_names_of_old_yolov5_are_a_list() -> None:
    told = manifest.read({"names": "['animal', 'person']"})
    assert told.categories == {"1": "animal", "2": "person"}


@pytest.mark.parametrize("names", ["", "__import__('os')", "7", "{'a': 1}", "{" * 999])
def test_names_that_make_no_sense_are_left_out(names: str) -> None:
    assert manifest.read({"names": names}).categories is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("head", "x", "no output layout 'x'; there are yolox, yolox-raw, yolov5, yolov8, end-to-end"),
        ("categories", "[]", "cameratraps.categories: an object of names by category id expected"),
        ("categories", "{", "cameratraps.categories: an object of names by category id expected"),
        ("categories", '{"1": 2}', "cameratraps.categories: an object of names by category id expected"),
        ("image_size_px", "big", "cameratraps.image_size_px: a whole number expected, not 'big'"),
        ("fill", "-1", "cameratraps.fill: a whole number expected, not '-1'"),
        ("channels", "GBR", "cameratraps.channels: RGB or BGR expected, not 'GBR'"),
    ],
)  # fmt: skip
def test_our_own_properties_are_checked(key: str, value: str, message: str) -> None:
    with pytest.raises(ModelError) as error:
        manifest.read({f"cameratraps.{key}": value})
    assert str(error.value) == message
