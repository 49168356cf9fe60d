"""Crops that look alike though they are in different splits, found by their hashes.

A crop of test whose like was trained on says nothing about new places: the splits leak.
Two crops look alike where at most ``DISTANCE`` of the 64 bits of their perceptual hashes
(``cropping.looks``) differ.

Not all pairs are compared. The bits are cut into six bands; where four bits differ, two
bands at least have none of these, so crops that look alike are equal in some two bands.
For each of the 15 choices of two, crops are sorted by these 21 bits, and only those that
are equal there are compared (Manku, Jain and Das Sarma: Detecting near-duplicates for web
crawling, 2007). Equal hashes are compared once, however many crops have them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from classification.dataset.counts import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    _Rows: TypeAlias = NDArray[np.int64]

DISTANCE = 4

_BANDS = (11, 11, 11, 11, 10, 10)
_COMPARED = 1 << 20  # pairs at a time
_KEPT = 20_000  # pairs from which those to show are chosen


@dataclass(frozen=True, slots=True)
class Pair:
    """Two crops that look alike.

    Attributes:
        first: row of the one, whose split comes first.
        second: row of the other.
        distance: bits that differ.
    """

    first: int
    second: int
    distance: int


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """What looks alike across splits.

    Attributes:
        pairs: how many pairs there are between two splits, int64 [3, 3]; the upper
            triangle.
        crops: how many crops of a split (row) have their like in another (column),
            int64 [3, 3]; 0 on the diagonal.
        shown: some pairs, of the fewest different bits; no hash stands in two.
    """

    pairs: NDArray[np.int64]
    crops: NDArray[np.int64]
    shown: tuple[Pair, ...]

    @property
    def total(self) -> int:
        """Returns the number of pairs."""
        return int(self.pairs.sum())


@dataclass(frozen=True, slots=True)
class _Hashes:
    """Different hashes, and who has them.

    Attributes:
        bits: each once, sorted, uint64 [hashes].
        crops: of each split that have it, int64 [hashes, 3].
        first: row of the first of these crops, int64 [hashes, 3].
    """

    bits: NDArray[np.uint64]
    crops: NDArray[np.int64]
    first: _Rows


def find(
    bits: NDArray[np.uint64],
    split: NDArray[np.int8],
    usable: NDArray[np.bool_],
    *,
    most: int,
) -> NearDuplicates:
    """Finds the crops that look alike across splits.

    Args:
        bits: perceptual hash of each crop, [crops].
        split: of each crop, a position in ``SPLITS``, or -1 for none.
        usable: crops to compare; leave out what is flat.
        most: how many pairs to show.
    """
    hashes = _gather(bits, split, np.flatnonzero(usable & (split >= 0)))
    within = hashes.crops > 0
    near = within.copy()
    pairs = _count_equal(hashes)
    chosen = [_equal_pairs(hashes)]
    for one, other, distance in _near(hashes.bits):
        pairs += _count(hashes.crops[one], hashes.crops[other])
        np.logical_or.at(near, one, within[other])
        np.logical_or.at(near, other, within[one])
        across = _is_across(within[one], within[other])
        found = np.stack([distance, one, other])[:, across]
        chosen = [_best(np.concatenate([*chosen, found], axis=1))]
    crops = hashes.crops.T @ near
    np.fill_diagonal(crops, 0)
    return NearDuplicates(
        pairs=np.triu(pairs), crops=crops, shown=_choose(hashes, chosen[0], most)
    )


def _gather(bits: NDArray[np.uint64], split: NDArray[np.int8], rows: _Rows) -> _Hashes:
    different, place = np.unique(bits[rows], return_inverse=True)
    cell = place * len(SPLITS) + split[rows]
    shape = len(different), len(SPLITS)
    crops = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    first = np.full(shape, -1, np.int64)
    # Of several assignments to one place the last stays, so they are made backwards.
    first.flat[cell[::-1]] = rows[::-1]
    return _Hashes(different, crops.astype(np.int64), first)


def _near(bits: NDArray[np.uint64]) -> Iterator[tuple[_Rows, _Rows, _Rows]]:
    """Yields all pairs of different hashes that are near, and how far apart they are."""
    masks = _masks()
    for number, mask in enumerate(masks):
        for one, other in _equal(bits & mask):
            apart = bits[one] ^ bits[other]
            distance = np.bitwise_count(apart)
            # A pair that is equal in several choices of bands belongs to the first.
            is_new = distance <= DISTANCE
            for earlier in masks[:number]:
                is_new &= (apart & earlier) != 0
            if is_new.any():
                low, high = np.minimum(one, other), np.maximum(one, other)
                yield low[is_new], high[is_new], distance[is_new].astype(np.int64)


def _masks() -> list[np.uint64]:
    """Returns the bits of each choice of two bands."""
    ends = np.cumsum([0, *_BANDS]).tolist()
    bands = [(1 << end) - (1 << start) for start, end in pairwise(ends)]
    return [np.uint64(one | other) for one, other in combinations(bands, 2)]


def _equal(keys: NDArray[np.uint64]) -> Iterator[tuple[_Rows, _Rows]]:
    """Yields all pairs of places with equal keys, about ``_COMPARED`` at a time."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    later = np.searchsorted(ordered, ordered, "right") - np.arange(len(keys)) - 1
    upto = np.cumsum(later)
    start = 0
    while start < len(keys):
        before = upto[start] - later[start]
        end = max(start + 1, int(np.searchsorted(upto, before + _COMPARED, "right")))
        counts = later[start:end]
        one = np.repeat(np.arange(start, end), counts)
        skipped = np.repeat(upto[start:end] - counts - before, counts)
        other = one + 1 + np.arange(len(one)) - skipped
        if len(one):
            yield order[one], order[other]
        start = end


def _count_equal(hashes: _Hashes) -> NDArray[np.int64]:
    """Counts the pairs of crops that have the same hash, [3, 3]."""
    return np.triu(hashes.crops.T @ hashes.crops, 1)


def _count(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts the pairs of crops of two different hashes each, [3, 3]."""
    both = one.T @ other
    return np.triu(both + both.T, 1)


def _is_across(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Says of which pairs of hashes some two crops are in different splits."""
    several = one.sum(axis=1) + other.sum(axis=1) > 2  # noqa: PLR2004 - one split each
    different = (one != other).any(axis=1)
    across: NDArray[np.bool_] = several | different
    return across


def _equal_pairs(hashes: _Hashes) -> NDArray[np.int64]:
    places = np.flatnonzero((hashes.crops > 0).sum(axis=1) > 1)[:_KEPT]
    return np.stack([np.zeros_like(places), places, places])


def _best(found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keeps the nearest pairs, each of distance, one hash and the other, [3, pairs]."""
    if found.shape[1] <= _KEPT:
        return found
    return found[:, np.lexsort(found[::-1])[:_KEPT]]


def _choose(hashes: _Hashes, found: NDArray[np.int64], most: int) -> tuple[Pair, ...]:
    """Returns the nearest pairs of crops, each hash in one of them."""
    taken: set[int] = set()
    chosen: list[Pair] = []
    for distance, one, other in found[:, np.lexsort(found[::-1])].T.tolist():
        if len(chosen) == most:
            break
        if taken.isdisjoint((one, other)):
            taken.update((one, other))
            chosen.append(_pair(hashes.first[one], hashes.first[other], distance))
    return tuple(chosen)


def _pair(one: _Rows, other: _Rows, distance: int) -> Pair:
    """Returns the first pair in different splits; rows of each split, -1 for none."""
    both = [
        (min(s, t), max(s, t), *((a, b) if s < t else (b, a)))
        for s, a in enumerate(one.tolist())
        for t, b in enumerate(other.tolist())
        if s != t and min(a, b) >= 0
    ]
    # Between train and test it matters most.
    *_, first, second = min(both, key=lambda pair: (-pair[1], pair))
    return Pair(first, second, distance)
