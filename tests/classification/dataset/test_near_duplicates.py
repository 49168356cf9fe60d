from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from classification.dataset import near_duplicates
from classification.dataset.near_duplicates import DISTANCE, Pair

if TYPE_CHECKING:
    import pytest
    from numpy.typing import NDArray

MOST = 10


def world(
    seed: int, crops: int = 300
) -> tuple[NDArray[np.uint64], NDArray[np.int8], NDArray[np.bool_]]:
    """Makes hashes in clusters: many are equal, many differ by a few bits."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, 25, dtype=np.uint64)
    bits = centres[rng.integers(0, 25, crops)]
    for _ in range(5):
        changed = rng.random(crops) < 0.5
        places = rng.integers(0, 64, changed.sum(), dtype=np.uint64)
        bits[changed] ^= np.uint64(1) << places
    return bits, rng.integers(-1, 3, crops).astype(np.int8), rng.random(crops) < 0.9


def find(
    bits: NDArray[np.uint64],
    split: NDArray[np.int8],
    usable: NDArray[np.bool_] | None = None,
    most: int = MOST,
) -> near_duplicates.NearDuplicates:
    every = np.ones(len(bits), np.bool_) if usable is None else usable
    return near_duplicates.find(bits, split, every, most=most)


@given(st.integers(0, 50))
def test_finds_what_comparing_all_pairs_finds(seed: int) -> None:
    bits, split, usable = world(seed)
    found = find(bits, split, usable)
    near = np.bitwise_count(bits[:, None] ^ bits) <= DISTANCE
    near &= usable[:, None] & usable
    for s in range(3):
        for t in range(3):
            part = near[np.ix_(split == s, split == t)]
            if s != t:
                assert found.crops[s, t] == part.any(axis=1).sum()
            assert found.pairs[s, t] == (part.sum() if s < t else 0)


@given(st.integers(0, 50))
def test_what_is_shown_is_near_across_splits_and_each_once(seed: int) -> None:
    bits, split, usable = world(seed)
    shown = find(bits, split, usable).shown
    for pair in shown:
        apart = int(bits[pair.first] ^ bits[pair.second]).bit_count()
        assert apart == pair.distance <= DISTANCE
        assert 0 <= split[pair.first] < split[pair.second]
        assert usable[pair.first]
        assert usable[pair.second]
    assert [pair.distance for pair in shown] == sorted(p.distance for p in shown)
    hashes = [{int(bits[p.first]), int(bits[p.second])} for p in shown]
    assert sum(map(len, hashes)) == len(set().union(*hashes))


def test_small_portions_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bits, split, usable = world(7)
    whole = find(bits, split, usable)
    monkeypatch.setattr(near_duplicates, "_COMPARED", 3)
    parts = find(bits, split, usable)
    assert whole.shown == parts.shown
    np.testing.assert_array_equal(whole.pairs, parts.pairs)
    np.testing.assert_array_equal(whole.crops, parts.crops)


def test_five_bits_apart_is_not_near() -> None:
    split = np.array([0, 2], np.int8)
    assert find(np.array([0, 0b1111], np.uint64), split).total == 1
    assert find(np.array([0, 0b11111], np.uint64), split).total == 0


def test_between_train_and_test_comes_before_val() -> None:
    bits = np.full(4, 9, np.uint64)
    split = np.array([1, 0, 2, 0], np.int8)
    found = find(bits, split)
    assert found.shown == (Pair(1, 2, 0),)
    assert found.pairs.tolist() == [[0, 2, 2], [0, 0, 1], [0, 0, 0]]
    assert found.crops.tolist() == [[0, 2, 2], [1, 0, 1], [1, 1, 0]]


def test_no_more_are_shown_than_asked_for() -> None:
    bits = np.repeat(np.arange(6, dtype=np.uint64) << np.uint64(40), 2)
    bits *= np.uint64(0x10101)
    split = np.tile(np.array([0, 1], np.int8), 6)
    assert len(find(bits, split, most=2).shown) == 2


def test_nothing_to_compare() -> None:
    found = find(np.empty(0, np.uint64), np.empty(0, np.int8))
    assert (found.total, found.shown) == (0, ())


def test_very_many_of_one_look_cost_no_more_than_one() -> None:
    crops = 300_000
    found = find(np.full(crops, 5, np.uint64), (np.arange(crops) % 3).astype(np.int8))
    assert found.total == 3 * (crops // 3) ** 2
    assert len(found.shown) == 1
