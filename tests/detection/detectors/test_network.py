from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.runtime.errors import ModelError
from detection.boxes import Box
from detection.detectors.heads import Candidates, Head
from detection.detectors.letterbox import Letterbox
from detection.detectors.manifest import Manifest
from detection.detectors.network import (
    NetworkDetector,
    categories_of,
    letterbox_of,
    to_detections,
)
from detection.records import Detection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detection.detectors import Prepared

PLACE = Letterbox(width_px=100, height_px=100).place(100, 100)


def candidates(*rows: tuple[float, float, float, float, float, int]) -> Candidates:
    table = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return Candidates(table[:, :4], table[:, 4], table[:, 5].astype(np.intp))


def test_detections_fall_in_confidence_and_are_rounded() -> None:
    found = to_detections(
        candidates((0, 0, 10, 10, 0.12345, 0), (50, 50, 100, 100, 0.98765, 1)),
        PLACE,
        categories=("1", "2"),
        overlap=0.45,
    )
    assert found == (
        Detection("2", Box(0.5, 0.5, 0.5, 0.5), 0.988),
        Detection("1", Box(0, 0, 0.1, 0.1), 0.123),
    )


def test_overlapping_boxes_go_unless_the_network_did_that() -> None:
    rows = candidates((0, 0, 10, 10, 0.5, 0), (0, 0, 10, 10, 0.9, 0))
    one = to_detections(rows, PLACE, categories=("1",), overlap=0.45)
    both = to_detections(rows, PLACE, categories=("1",), overlap=None)
    assert [found.conf for found in one] == [0.9]
    assert [found.conf for found in both] == [0.9, 0.5]


def test_boxes_beside_the_image_and_absurd_ones_are_left_out() -> None:
    rows = candidates(
        (120, 0, 150, 50, 0.9, 0),
        (10, 10, 10, 50, 0.9, 0),
        (float("nan"), 0, 1, 1, 0.9, 0),
        (float("-inf"), 0, float("inf"), 1, 0.9, 0),
        (0, 0, 1, 1, 0.9, -1),
    )
    assert to_detections(rows, PLACE, categories=("1",), overlap=None) == ()


def test_a_confidence_a_hair_above_one_is_one() -> None:
    (found,) = to_detections(
        candidates((0, 0, 9, 9, 1.0000001, 0)), PLACE, categories=("1",), overlap=None
    )
    assert found.conf == 1


def test_a_class_without_a_name_is_refused() -> None:
    with pytest.raises(ModelError) as error:
        to_detections(
            candidates((0, 0, 9, 9, 0.9, 3)), PLACE, categories=("1",), overlap=None
        )
    assert str(error.value) == ("the model found class 3, but names only 1 classes")


def marking(calls: list[int], *, batched: bool) -> NetworkDetector:
    """A detector whose one box tells the brightness of the image by its confidence."""

    def forward(frames: NDArray[np.float32]) -> NDArray[np.float32]:
        calls.append(len(frames))
        rows = [[[8, 8, 16, 16, frame.max(), 0]] for frame in frames]
        return np.array(rows, dtype=np.float32)

    return NetworkDetector(
        forward=forward,
        head=Head.END_TO_END,
        letterbox=Letterbox(width_px=64, height_px=64, stride_px=32, fill=0),
        categories={"1": "thing"},
        batched=batched,
    )


def images(detector: NetworkDetector) -> list[Prepared]:
    sizes = ((64, 64), (32, 64), (64, 64), (64, 32), (32, 64))
    return [
        detector.prepare(np.full((*size, 3), 50 * (at + 1), dtype=np.uint8))
        for at, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("batched", [False, True])
def test_results_come_in_the_order_of_the_images(batched: bool) -> None:
    calls: list[int] = []
    detector = marking(calls, batched=batched)
    found = detector.detect(images(detector), threshold=0.1)
    assert [one.conf for (one,) in found] == [0.196, 0.392, 0.588, 0.784, 0.98]
    # in a batch, frames of one shape go together
    assert calls == ([2, 2, 1] if batched else [1, 1, 1, 1, 1])


def test_the_threshold_is_kept() -> None:
    detector = marking([], batched=False)
    found = detector.detect(images(detector), threshold=0.5)
    assert [len(boxes) for boxes in found] == [0, 0, 1, 1, 1]


def test_no_images() -> None:
    assert marking([], batched=True).detect([], threshold=0.5) == []


def test_each_family_has_its_letterbox() -> None:
    assert letterbox_of(Head.YOLOV8, width_px=640, height_px=480) == Letterbox(
        width_px=640, height_px=480, fill=114, divisor=255, channels="RGB"
    )
    assert letterbox_of(Head.YOLOX_RAW, width_px=640, height_px=640) == Letterbox(
        width_px=640,
        height_px=640,
        centred=False,
        fill=114,
        divisor=1,
        channels="BGR",
    )


def test_a_model_may_say_otherwise() -> None:
    told = Manifest(channels="RGB", fill=0)
    box = letterbox_of(Head.YOLOX, width_px=640, height_px=640, told=told)
    assert (box.channels, box.fill) == ("RGB", 0)


def test_categories() -> None:
    megadetector = {"1": "animal", "2": "person", "3": "vehicle"}
    assert categories_of({"1": "a"}, 1) == {"1": "a"}
    assert categories_of({"1": "a"}, None) == {"1": "a"}
    assert categories_of(None, 3) == megadetector
    assert categories_of(None, None) == megadetector
    assert categories_of(None, 2) == {"1": "class 1", "2": "class 2"}
    with pytest.raises(ModelError) as error:
        categories_of({"1": "a"}, 80)
    assert str(error.value) == "the model has 80 classes, but 1 are named"
