from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.runtime.errors import ModelError
from detection.detectors.heads import Candidates, Head, class_count, decode, infer

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read(head: Head, rows: NDArray[np.float32], threshold: float = 0.3) -> Candidates:
    return decode(head, rows, height_px=64, width_px=64, threshold=threshold)


def test_a_yolov5_row() -> None:
    rows = np.zeros((252, 8), dtype=np.float32)
    rows[7] = (20, 30, 10, 6, 0.8, 0.1, 0.9, 0.2)
    found = read(Head.YOLOV5, rows)
    assert found.corners.tolist() == [[15, 27, 25, 33]]
    assert found.scores.tolist() == pytest.approx([0.72])
    assert found.categories.tolist() == [1]


def test_objectness_times_class_decides() -> None:
    rows = np.zeros((252, 6), dtype=np.float32)
    rows[0] = (20, 30, 10, 6, 0.9, 0.3)  # 0.27
    rows[1] = (20, 30, 10, 6, 0.2, 1.0)  # 0.20
    rows[2] = (20, 30, 10, 6, 0.5, 0.6)  # 0.30
    assert read(Head.YOLOV5, rows, 0.3).scores.tolist() == pytest.approx([0.3])
    assert len(read(Head.YOLOV5, rows, 0.2).scores) == 3


def test_a_yolov8_column() -> None:
    columns = np.zeros((7, 84), dtype=np.float32)
    columns[:, 3] = (20, 30, 10, 6, 0.1, 0.2, 0.9)
    found = read(Head.YOLOV8, columns)
    assert found.corners.tolist() == [[15, 27, 25, 33]]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.categories.tolist() == [2]


def test_an_end_to_end_row() -> None:
    rows = np.array([(1, 2, 30, 40, 0.9, 2), (5, 5, 9, 9, 0.2, 0)], dtype=np.float32)
    found = read(Head.END_TO_END, rows)
    assert found.corners.tolist() == [[1, 2, 30, 40]]
    assert found.categories.tolist() == [2]


def test_yolox_cells_are_decoded_at_their_stride() -> None:
    # 64 x 64: 8 x 8 cells of stride 8, then 4 x 4 of stride 16, then 2 x 2 of 32
    rows = np.zeros((84, 6), dtype=np.float32)
    rows[8 * 2 + 3] = (0.5, 0.25, 0, math.log(2), 0.9, 1)  # column 3, row 2
    rows[64 + 4 * 1 + 2] = (0, 0, math.log(0.5), 0, 0.8, 1)  # column 2, row 1
    rows[64 + 16 + 2 * 1] = (1, 0, 0, 0, 0.7, 1)  # column 0, row 1
    found = read(Head.YOLOX_RAW, rows)
    np.testing.assert_allclose(
        found.corners,
        [
            [28 - 4, 18 - 8, 28 + 4, 18 + 8],
            [32 - 4, 16 - 8, 32 + 4, 16 + 8],
            [32 - 16, 32 - 16, 32 + 16, 32 + 16],
        ],
        rtol=1e-6,
    )


def test_a_yolox_frame_need_not_be_square() -> None:
    rows = np.zeros((8 * 4 + 4 * 2 + 2 * 1, 6), dtype=np.float32)
    rows[8 * 3 + 7] = (0, 0, 0, 0, 1, 1)  # the last fine cell: column 7, row 3
    found = decode(Head.YOLOX_RAW, rows, height_px=32, width_px=64, threshold=0.5)
    assert found.corners.tolist() == [[52, 20, 60, 28]]


def test_decoded_yolox_is_read_as_it_is() -> None:
    rows = np.zeros((84, 6), dtype=np.float32)
    rows[0] = (20, 30, 10, 6, 0.8, 1)
    assert read(Head.YOLOX, rows).corners.tolist() == [[15, 27, 25, 33]]


def test_an_absurd_size_is_infinite_without_a_warning() -> None:
    rows = np.zeros((84, 6), dtype=np.float32)
    rows[0] = (0, 0, 1000, 0, 0.8, 1)
    assert read(Head.YOLOX_RAW, rows).corners[0, 2] == math.inf


def test_numbers_that_are_none_are_never_sure() -> None:
    rows = np.full((84, 6), np.nan, dtype=np.float32)
    assert not read(Head.YOLOX_RAW, rows, 0).scores.size


@pytest.mark.parametrize(
    ("shape", "side", "head"),
    [
        ((8400, 6), 640, Head.YOLOX),
        ((25200, 85), 640, Head.YOLOV5),
        ((25200, 6), 640, Head.YOLOV5),
        ((102000, 8), 1280, Head.YOLOV5),  # MegaDetector v5: four strides
        ((84, 8400), 640, Head.YOLOV8),
        ((7, 18900), 960, Head.YOLOV8),
        ((5, 8400), 640, Head.YOLOV8),
        ((300, 6), 640, Head.END_TO_END),
        ((1000, 4), 640, None),
        ((8400, 5), 640, None),
        ((9000, 6), 640, None),
    ],
)
def test_the_layout_is_told_by_the_shape(
    shape: tuple[int, int], side: int, head: Head | None
) -> None:
    assert infer(shape, height_px=side, width_px=side) is head


def test_classes_are_counted() -> None:
    assert class_count(Head.YOLOV5, (25200, 8)) == 3
    assert class_count(Head.YOLOV8, (84, 8400)) == 80
    assert class_count(Head.YOLOX, (8400, 6)) == 1
    assert class_count(Head.END_TO_END, (300, 6)) is None


def test_names_of_layouts() -> None:
    assert [Head.parse(head.value) for head in Head] == list(Head)
    with pytest.raises(ModelError) as error:
        Head.parse("ssd")
    assert str(error.value) == (
        "no output layout 'ssd'; there are yolox, yolox-raw, yolov5, yolov8, end-to-end"
    )
