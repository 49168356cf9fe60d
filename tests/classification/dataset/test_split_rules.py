from __future__ import annotations

import numpy as np
import pytest

from classification.dataset import split_rules


@pytest.mark.parametrize(
    ("crops", "extreme"),
    [
        ((1000, 0, 2000), (False, True, False)),  # enough, though below 40 %
        ((999, 0, 2000), (True, True, False)),
        ((400, 300, 300), (False, False, False)),
        ((399, 301, 300), (True, False, False)),
        ((82, 9, 9), (False, False, False)),  # exactly 9 %
        ((920, 89, 90), (False, True, True)),
        ((10_000, 300, 299), (False, False, True)),
        ((0, 0, 0), (True, True, True)),
    ],
)
def test_crops_are_few_where_number_and_share_are(
    crops: tuple[int, ...], extreme: tuple[bool, ...]
) -> None:
    found = split_rules.extreme_crops(np.array([crops]))
    assert tuple(found[0].tolist()) == extreme


@pytest.mark.parametrize(
    ("locations", "extreme"),
    [
        ((10, 5, 5), (False, False, False)),
        ((9, 5, 5), (True, False, False)),
        ((39, 30, 31), (True, False, False)),  # enough, but below 40 %
        ((80, 10, 10), (False, False, False)),  # exactly 10 %
        ((82, 9, 9), (False, True, True)),
        ((20, 4, 5), (False, True, False)),
    ],
)
def test_locations_are_few_where_number_or_share_is(
    locations: tuple[int, ...], extreme: tuple[bool, ...]
) -> None:
    found = split_rules.extreme_locations(np.array([locations]))
    assert tuple(found[0].tolist()) == extreme


def test_shares_of_nothing_are_nothing() -> None:
    counts = np.array([[3, 1, 0], [0, 0, 0]])
    assert split_rules.shares(counts).tolist() == [[0.75, 0.25, 0], [0, 0, 0]]
