"""Accuracy of groups of crops."""

from __future__ import annotations

import numpy as np

from classification.measuring import groups, metrics
from classification.measuring.groups import Group


def test_counts_the_crops_of_each_group() -> None:
    codes = np.array([0, 2, 2, -1, 0, 2])
    right = np.array([True, False, True, True, True, False])
    one, other = groups.by_group(codes, ("a", "b", "c"), right)
    assert (one.name, one.crops, one.right, one.accuracy) == ("a", 2, 2, 1.0)
    assert (other.name, other.crops, other.right) == ("c", 3, 1)
    assert other.interval == metrics.wilson(1, 3)


def test_the_worst_is_surely_bad_not_just_small() -> None:
    small = Group("one wrong crop", 1, 0, metrics.wilson(0, 1))
    bad = Group("many wrong crops", 40, 8, metrics.wilson(8, 40))
    good = Group("good", 40, 39, metrics.wilson(39, 40))
    assert groups.worst([small, good, bad], 2) == (bad, small)
