"""Which crops are shown, where there are more than a page can hold.

Crops are drawn by the hash of a seed and their names: the same crops on any machine,
whatever else is in the file.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def draw(
    names: Sequence[str], places: NDArray[np.int64], most: int, seed: int
) -> NDArray[np.int64]:
    """Returns at most so many of some places in a list of names, sorted.

    Args:
        names: of the crops.
        places: in ``names``, of those to draw from.
        most: how many to draw.
        seed: another one draws others.
    """
    if len(places) <= most:
        return np.sort(places)
    keys = np.fromiter(
        (_key(names[int(place)], seed) for place in places), np.uint64, len(places)
    )
    return np.sort(places[np.argsort(keys, kind="stable")[:most]])


def _key(name: str, seed: int) -> int:
    text = f"{seed}/{name}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def fair_shares(counts: NDArray[np.int64], budget: int, most: int) -> NDArray[np.int64]:
    """Deals a budget to groups: as many each as can be, none more than it has.

    Args:
        counts: how many each group has.
        budget: how many may be dealt in all.
        most: no group gets more than this.

    Returns:
        How many each gets. What is left after equal rounds goes to the largest groups,
        of equal ones to the first.
    """
    wanted = np.minimum(counts, most)
    level = _level(wanted, budget)
    shares = np.minimum(wanted, level)
    more = np.flatnonzero(wanted > level)
    left = budget - int(shares.sum())
    first = more[np.argsort(-counts[more], kind="stable")[: max(0, left)]]
    shares[first] += 1
    return np.asarray(shares, np.int64)


def _level(wanted: NDArray[np.int64], budget: int) -> int:
    """Returns the highest level at which all that is wanted up to it fits."""
    low, high = 0, int(wanted.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        if int(np.minimum(wanted, middle).sum()) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def surest_errors(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], most: int
) -> NDArray[np.int64]:
    """Returns the places of the crops that are wrong, the surest first."""
    wrong = np.flatnonzero(~right)
    return np.asarray(
        wrong[np.argsort(-confidence[wrong], kind="stable")[:most]], np.int64
    )
