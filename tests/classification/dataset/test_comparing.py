from __future__ import annotations

from classification.artifacts.splits import Location, Splits
from classification.dataset import comparing
from classification.dataset.comparing import ABSENT

A, B, C, D = (Location("d", name) for name in "abcd")


def test_locations_are_counted_by_both_splits() -> None:
    here = Splits(train=(A, B), val=(C,), test=())
    there = Splits(train=(A,), val=(), test=(B, D))
    found = comparing.compare(here, there)
    counted = {pair: count for pair, count in found.locations.items() if count}
    assert counted == {
        ("train", "train"): 1,
        ("train", "test"): 1,
        ("val", ABSENT): 1,
        (ABSENT, "test"): 1,
    }
    assert found.moved == ((B, "train", "test"),)


def test_the_same_splits_move_nothing() -> None:
    same = Splits(train=(A,), val=(B,), test=(C,))
    found = comparing.compare(same, same)
    assert found.moved == ()
    assert sum(found.locations.values()) == 3
