from __future__ import annotations

import numpy as np

from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location
from classification.dataset import crop_columns, timing
from classification.dataset.timing import ImageMoments

SPLITS = {Location("d", "1"): "train", Location("d", "2"): "test"}
ROWS = [
    CropRow(f"d/{image}.jpg___crop0{crop}.jpg", "d", location, "", 1.0, label)
    for image, crop, location, label in [
        ("a", 0, "1", "fox"),
        ("a", 1, "1", "fox"),
        ("b", 0, "1", "fox,elk"),
        ("c", 0, "2", "elk"),
        ("e", 0, "2", "elk"),
        ("f", 0, "3", "fox"),
    ]
]
COLUMNS = crop_columns.gather(ROWS, SPLITS)
MOMENTS = ImageMoments(
    hour=np.array([3, 3, 23, -1, 7], np.int8),
    day=np.array([0, 0, 1, -1, 2], np.int32),
    sequence=np.array([0, 0, 0, 1, -1], np.int32),
)


def test_images_count_once_for_each_label() -> None:
    elk, fox = timing.by_label(COLUMNS, MOMENTS)
    assert (elk.images, elk.with_sequence, elk.sequences) == (3, 3, 2)
    assert (elk.with_day, elk.days) == (2, 2)
    assert (fox.images, fox.with_sequence, fox.sequences) == (3, 2, 1)
    assert {hour: n for hour, n in enumerate(fox.hours) if n} == {3: 2, 7: 1}


def test_what_is_in_no_split_counts_for_none() -> None:
    found = timing.by_split(COLUMNS, MOMENTS)
    assert [found[split].images for split in ("train", "val", "test")] == [2, 0, 2]
    assert found["test"].hours.sum() == 1


def test_a_sequence_in_two_splits_is_torn() -> None:
    assert timing.torn_sequences(COLUMNS, MOMENTS) == 1


def test_nothing_known_tears_nothing() -> None:
    nothing = np.full(5, -1)
    unknown = ImageMoments(
        hour=nothing.astype(np.int8),
        day=nothing.astype(np.int32),
        sequence=nothing.astype(np.int32),
    )
    assert timing.torn_sequences(COLUMNS, unknown) == 0
    assert timing.by_label(COLUMNS, unknown)[0].sequences == 0
