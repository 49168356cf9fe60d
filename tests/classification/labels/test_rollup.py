"""Falling back to broader groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.labels.rollup import Level, RollUp, roll_up
from classification.runtime.errors import ConfigurationError

FINE = ("fox", "dog", "robin", "other")
BROAD = ("mammal", "bird", "other")


def levels(*rows: tuple[float, float, float]) -> list[Level]:
    """Levels of crops that are a fox, a dog or a robin this probably."""
    fine = [[*row, 1 - sum(row)] for row in rows]
    broad = [[row[0] + row[1], row[2], 1 - sum(row)] for row in rows]
    return [Level(FINE, np.array(fine)), Level(BROAD, np.array(broad))]


def kept(rolled: Level, row: int = 0) -> dict[str, float]:
    pairs = zip(rolled.names, rolled.probabilities[row], strict=True)
    return {name: round(float(p), 3) for name, p in pairs if p > 0}


def test_a_sure_group_keeps_its_level() -> None:
    rolled = roll_up(levels((0.7, 0.1, 0.1)), 0.65)
    assert rolled.names == ("fox", "dog", "robin", "mammal", "bird", "other")
    assert kept(rolled) == {"fox": 0.7, "dog": 0.1, "robin": 0.1, "other": 0.1}


def test_between_two_groups_the_broad_one_is_kept() -> None:
    rolled = roll_up(levels((0.4, 0.4, 0.1)), 0.65)
    assert kept(rolled) == {"mammal": 0.8, "bird": 0.1, "other": 0.1}


def test_sure_of_nothing_keeps_only_other() -> None:
    rolled = roll_up(levels((0.3, 0.2, 0.2)), 0.65)
    assert kept(rolled) == {"other": 0.3}


def test_a_large_other_makes_no_level_sure() -> None:
    rolled = roll_up(levels((0.05, 0.02, 0.03)), 0.65)
    assert kept(rolled) == {"other": 0.9}


def test_each_crop_is_decided_alone() -> None:
    rolled = roll_up(levels((0.7, 0, 0), (0.4, 0.4, 0), (0.1, 0.1, 0.1)), 0.65)
    tops = [rolled.names[i] for i in rolled.probabilities.argmax(axis=1)]
    assert tops == ["fox", "mammal", "other"]


def test_the_threshold_itself_is_sure() -> None:
    assert "fox" in kept(roll_up(levels((0.65, 0, 0)), 0.65))


def test_three_levels_and_no_other() -> None:
    fine, broad = levels((0.3, 0.3, 0.3))
    rolled = roll_up(
        [
            Level(FINE[:3], fine.probabilities[:, :3]),
            Level(BROAD[:2], broad.probabilities[:, :2]),
            Level(("animal",), np.array([[0.9]])),
        ],
        0.65,
    )
    assert kept(rolled) == {"animal": 0.9}


def test_no_crops() -> None:
    rolled = roll_up([Level(FINE, np.zeros((0, 4))), Level(BROAD, np.zeros((0, 3)))], 0)
    assert rolled.probabilities.shape == (0, 6)


def test_a_name_on_two_levels_is_refused() -> None:
    fine, broad = levels((0.1, 0.1, 0.1))
    again = Level(("mammal", "robin", "other"), broad.probabilities)
    with pytest.raises(ValueError, match=r"^'robin' is a group of two levels$"):
        roll_up([fine, again], 0.65)


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
    st.floats(0.5, 1, exclude_min=True),
)
def test_never_says_what_the_sums_do_not(row: list[float], threshold: float) -> None:
    total = sum(row) or 1.0
    shares = tuple(p / total * 0.999 for p in row)
    fine, broad = both = levels((shares[0], shares[1], shares[2]))
    found = kept(roll_up(both, threshold))
    truth = dict(zip(FINE, fine.probabilities[0], strict=True))
    truth.update(zip(BROAD, broad.probabilities[0], strict=True))
    for name, probability in found.items():
        assert probability == pytest.approx(truth[name], abs=1e-3)
    groups = {name: p for name, p in found.items() if name != "other"}
    assert not groups or max(groups.values()) >= threshold - 1e-3


CATEGORIES = ("red fox", "kit fox", "beagle", "robin", "abacus")
GROUPS = {"fox": ("red fox", "kit fox"), "dog": ("beagle",), "robin": ("robin",)}
WIDE = {"mammal": ("red fox", "kit fox", "beagle"), "bird": ("robin",)}
REST = {"other": ("abacus",)}


def test_categories_are_summed_at_each_level_and_targets_sorted() -> None:
    plan = RollUp.plan(CATEGORIES, [GROUPS | REST, WIDE | REST], 0.65)
    assert plan.targets == ("bird", "dog", "fox", "mammal", "other", "robin")
    rows = np.array([[0.4, 0.3, 0.1, 0.1, 0.1], [0.2, 0.2, 0.4, 0.1, 0.1]])
    assert plan.sums(rows) == pytest.approx(
        np.array([[0, 0.1, 0.7, 0, 0.1, 0.1], [0.1, 0, 0, 0.8, 0.1, 0]])
    )


def test_mappings_that_share_a_name_are_refused() -> None:
    again = {"fox": WIDE["mammal"], "bird": WIDE["bird"]}
    with pytest.raises(
        ConfigurationError, match=r"^'fox' is a group of two levels; rename one$"
    ):
        RollUp.plan(CATEGORIES, [GROUPS | REST, again | REST], 0.65)
