from __future__ import annotations

import numpy as np
import pytest

from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location
from classification.dataset import counting
from classification.dataset.counts import FREE, TEST, TRAIN, VAL

ROWS = [
    CropRow("d/a.jpg", "d", "1", "elk", 1.0, "deer"),
    CropRow("d/b.jpg", "d", "1", "elk", 1.0, "deer,elk"),
    CropRow("e/b.jpg", "e", "1", "elk", 1.0, "elk"),
    CropRow("d/c.jpg", "d", "2", "elk", 1.0, "elk"),
]
D1, D2, E1 = Location("d", "1"), Location("d", "2"), Location("e", "1")


def test_crops_are_counted_by_location() -> None:
    crops = counting.count_crops(ROWS)
    assert {k: dict(v) for k, v in crops.items()} == {
        D1: {"deer": 2, "elk": 1},
        D2: {"elk": 1},
        E1: {"elk": 1},
    }


def test_locations_that_share_a_sequence_are_one_place() -> None:
    assert counting.group([E1, D2, D1], [{D2, D1}]) == [[D1, D2], [E1]]
    assert counting.group([E1, D2, D1], [{D2, E1}, {D1, D2}]) == [[D1, D2, E1]]
    assert counting.group([E1, D1]) == [[D1], [E1]]


def test_places_hold_what_their_locations_hold() -> None:
    crops = counting.count_crops(ROWS)
    places = counting.group(crops, [{D1, D2}])
    counts = counting.count_places(
        crops, places, test={E1}, datasets_by_label={"elk": ["E"]}
    )
    assert counts.labels == ("deer", "elk")
    assert counts.crops.tolist() == [[2, 2], [0, 1]]
    assert counts.locations.tolist() == [[1, 2], [0, 1]]
    assert counts.pinned.tolist() == [FREE, TEST]
    assert counts.preferred.tolist() == [[False, False], [False, True]]
    found = counting.to_splits(places, counts.pinned * 0)
    assert found.train == (D1, D2, E1)


def test_d6_test_is_the_given_list_whatever_crops_there_are() -> None:
    gone = Location("d", "gone")
    found = counting.to_splits(
        [[D1, D2], [E1]], np.int8([TRAIN, TEST]), test={E1, gone}
    )
    assert (found.train, found.val, found.test) == ((D1, D2), (), (gone, E1))


def test_shares_are_of_all_crops() -> None:
    crops = counting.count_crops(ROWS)
    counts = counting.count_places(crops, counting.group(crops), datasets_by_label={})
    targets = {"train": 0.5, "val": 0.25, "test": 0.25}
    rows = counting.summarize(counts, np.int8([TRAIN, VAL, TEST]), targets)
    assert [(row.label, row.split, row.crops, row.locations) for row in rows] == [
        ("deer", "train", 2, 1),
        ("deer", "val", 0, 0),
        ("deer", "test", 0, 0),
        ("elk", "train", 1, 1),
        ("elk", "val", 1, 1),
        ("elk", "test", 1, 1),
    ]
    assert [row.share for row in rows[:3]] == [1, 0, 0]
    assert [row.share for row in rows[3:]] == pytest.approx([1 / 3] * 3)
    assert [row.target for row in rows[:3]] == [0.5, 0.25, 0.25]


def test_d6_beside_a_given_test_set_shares_are_of_what_is_left() -> None:
    crops = counting.count_crops(ROWS)
    counts = counting.count_places(
        crops, counting.group(crops), test={E1}, datasets_by_label={}
    )
    targets = {"train": 0.5, "val": 0.5, "test": None}
    rows = counting.summarize(counts, np.int8([TRAIN, VAL, TEST]), targets)
    assert [row.share for row in rows[3:]] == pytest.approx([1 / 2, 1 / 2, 1 / 3])
    assert [row.deviation for row in rows[3:]] == [0, 0, None]
