"""At most so many images of a label, from preferred datasets first.

The images of a label are drawn level by level: those of the datasets that its first list
of ``prioritize`` names, then those of the second, and so on, and at last those of any
dataset. Within a level, every image has the same chance.

Labels are drawn in the order of the specification. Where labels share images, those that
an earlier label drew count for a later one, once, whatever their level. So a label gets
exactly ``max_count`` images where there are as many; more only if other labels that
share its images took them.

The draw is a function of the seed, of the label's name, and of the label's images in the
order of their names; nothing else. Each free image gets the next 64 bits of a PCG64
generator, seeded for the label and the level, and those with the smallest numbers are
drawn; both generator and seeding are stable across releases of numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Quota:
    """What to draw for a label.

    Attributes:
        label: its name.
        kinds: the kinds of image that it takes.
        max_count: the most images, or None for all.
        levels: for each level of priority, the kinds that are drawn there; kinds of
            no level are drawn last.
    """

    label: str
    kinds: frozenset[int]
    max_count: int | None = None
    levels: tuple[frozenset[int], ...] = ()


def sample(
    kind: NDArray[np.int32], quotas: Sequence[Quota], *, seed: int
) -> NDArray[np.bool_]:
    """Draws the images of each label.

    Args:
        kind: of each image, in the order of their names, [images]; -1 for an image
            that takes no part. What a kind is, is the caller's: here, a label
            of a dataset.
        quotas: in the order in which labels are drawn.
        seed: at least 0.

    Returns:
        Whether each image is drawn, [images].
    """
    drawn = np.zeros(len(kind), np.bool_)
    places = _Places(kind)
    for quota in quotas:
        images = places.of(quota.kinds)
        if quota.max_count is None:
            drawn[images] = True
            continue
        left = quota.max_count - int(np.count_nonzero(drawn[images]))
        for level, kinds in enumerate((*quota.levels, quota.kinds)):
            free = places.of(quota.kinds & kinds)
            free = free[~drawn[free]]
            taken = _draw(free, max(0, left), _source(seed, quota.label, level))
            drawn[taken] = True
            left -= len(taken)
    return drawn


def too_few_locations(
    group: NDArray[np.int32], location: NDArray[np.int32], least: int
) -> NDArray[np.int32]:
    """Returns the groups of images from fewer than ``least`` locations, ascending.

    Args:
        group: of each image, [images]; at least 0.
        location: of each image, [images].
        least: number of locations.
    """
    pairs = np.unique(np.stack([group, location]), axis=1)
    groups, locations = np.unique(pairs[0], return_counts=True)
    return groups[locations < least]


class _Places:
    """Where images of each kind are, sorted once."""

    def __init__(self, kind: NDArray[np.int32]) -> None:
        self._order = np.argsort(kind, kind="stable")
        kinds = int(kind.max(initial=-1)) + 1
        self._ends = np.searchsorted(kind[self._order], np.arange(-1, kinds), "right")

    def of(self, kinds: Collection[int]) -> NDArray[np.int64]:
        """Returns the positions of images of any of these kinds, ascending."""
        parts = [
            self._order[self._ends[kind] : self._ends[kind + 1]]
            for kind in kinds
            if kind + 1 < len(self._ends)
        ]
        return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def _source(seed: int, label: str, level: int) -> np.random.PCG64:
    key = (level, *label.encode(errors="surrogatepass"))
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))


def _draw(
    images: NDArray[np.int64], count: int, source: np.random.PCG64
) -> NDArray[np.int64]:
    if count >= len(images):
        return images
    # Of two equal numbers, which come once in 2**64 pairs, the earlier image goes first.
    order = np.argsort(source.random_raw(len(images)), kind="stable")
    return images[order[:count]]
