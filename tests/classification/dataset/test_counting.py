from __future__ import annotations

from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location
from classification.dataset import counting
from classification.dataset.counts import FREE, TEST

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
