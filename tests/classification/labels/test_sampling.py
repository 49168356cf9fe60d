from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.labels.sampling import Quota, sample, too_few_locations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def drawn(kinds: Sequence[int], *quotas: Quota, seed: int = 123) -> list[int]:
    taken = sample(np.array(kinds, np.int32), quotas, seed=seed)
    return np.flatnonzero(taken).tolist()


def quota(
    label: str, kinds: set[int], max_count: int | None, *levels: set[int]
) -> Quota:
    return Quota(label, frozenset(kinds), max_count, tuple(map(frozenset, levels)))


def test_d3_priority_images_and_then_others_make_exactly_max_count() -> None:
    kinds = [0] * 200 + [1] * 40
    images = drawn(kinds, quota("bear", {0, 1}, 100, {1}))
    assert len(images) == 100
    assert set(range(200, 240)) <= set(images)


def test_d3_priority_images_alone_are_enough() -> None:
    kinds = [0] * 200 + [1] * 40
    images = drawn(kinds, quota("bear", {0, 1}, 30, {1}))
    assert len(images) == 30
    assert set(images) <= set(range(200, 240))


def test_d4_the_draw_is_the_same_on_every_machine() -> None:
    # Written down once: a change of these numbers changes everybody's training sets.
    bear = quota("bear", {0}, 5)
    assert drawn([0] * 100, bear) == [7, 19, 54, 59, 80]
    assert drawn([0] * 100, bear, seed=124) != [7, 19, 54, 59, 80]
    assert drawn([0] * 100, quota("deer", {0}, 5)) != [7, 19, 54, 59, 80]


def test_images_of_no_kind_take_no_part() -> None:
    assert drawn([-1, 0, -1, 1, -1], quota("x", {0, 1, 7}, None)) == [1, 3]
    assert drawn([-1, -1], quota("x", {0}, 1)) == []
    assert drawn([], quota("x", {0}, 1)) == []


def test_what_an_earlier_label_drew_counts_once() -> None:
    kinds = [0] * 10 + [1] * 10  # kind 0 is of both labels
    first = quota("a", {0}, 6)
    second = quota("b", {0, 1}, 8, {0})
    images = drawn(kinds, first, second)
    assert len([image for image in images if image < 10]) == 8  # 6 of a, 2 more first
    assert len(images) == 8


def test_every_image_has_the_same_chance() -> None:
    counts = np.zeros(20)
    for seed in range(2000):
        counts[drawn([0] * 20, quota("x", {0}, 5), seed=seed)] += 1
    assert counts.sum() == 10_000
    # 500 expected each, with a standard deviation below 20.
    assert abs(counts - 500).max() < 80


def plain(kinds: list[int], quotas: list[Quota], seed: int) -> set[int]:
    """Does the same slowly, image by image, with sets and lists."""
    chosen: set[int] = set()
    for one in quotas:
        mine = [i for i, kind in enumerate(kinds) if kind in one.kinds]
        if one.max_count is None:
            chosen |= set(mine)
            continue
        left = one.max_count - len(chosen & set(mine))
        for level, allowed in enumerate([*one.levels, one.kinds]):
            free = [i for i in mine if kinds[i] in allowed and i not in chosen]
            if left <= 0:
                break
            if left < len(free):
                key = (level, *one.label.encode())
                source = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))
                numbers = source.random_raw(len(free)).tolist()
                free = [i for _, i in sorted(zip(numbers, free, strict=True))]
            chosen |= set(free[:left])
            left -= len(free[:left])
    return chosen


kind_sets = st.frozensets(st.integers(0, 4))
quota_lists = st.lists(
    st.builds(
        Quota,
        label=st.text(max_size=3),
        kinds=kind_sets,
        max_count=st.none() | st.integers(1, 12),
        levels=st.lists(kind_sets, max_size=3).map(tuple),
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(st.lists(st.integers(-1, 4), max_size=40), quota_lists, st.integers(0, 2**70))
def test_equals_the_plain_draw(
    kinds: list[int], quotas: list[Quota], seed: int
) -> None:
    assert set(drawn(kinds, *quotas, seed=seed)) == plain(kinds, quotas, seed)


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 4), max_size=60),
    st.lists(kind_sets, max_size=3).map(tuple),
    st.integers(1, 50),
)
def test_d3_as_many_as_there_are_up_to_max_count(
    kinds: list[int], levels: tuple[frozenset[int], ...], max_count: int
) -> None:
    everything = frozenset(range(5))
    images = drawn(kinds, Quota("x", everything, max_count, levels))
    assert len(images) == min(max_count, len(kinds))
    # Nothing of a lower level is drawn while something of a higher one is left.
    first = {
        kind: i for i, level in reversed(list(enumerate(levels))) for kind in level
    }
    rank = [first.get(kind, len(levels)) for kind in kinds]
    left_out = [rank[i] for i in range(len(kinds)) if i not in set(images)]
    assert max((rank[i] for i in images), default=0) <= min(left_out, default=99)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30),
    st.integers(1, 6),
)
def test_labels_of_few_locations_as_counted_by_hand(
    rows: list[tuple[int, int]], least: int
) -> None:
    group: NDArray[np.int32] = np.array([row[0] for row in rows], np.int32)
    location: NDArray[np.int32] = np.array([row[1] for row in rows], np.int32)
    places: dict[int, set[int]] = {}
    for one, where in rows:
        places.setdefault(one, set()).add(where)
    expected = sorted(one for one, there in places.items() if len(there) < least)
    assert too_few_locations(group, location, least).tolist() == expected


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        drawn([0, 0], quota("x", {0}, 1), seed=-1)
