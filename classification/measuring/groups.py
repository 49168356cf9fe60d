"""Accuracy of groups of crops: of each location, by day and by night, by size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.measuring import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from classification.measuring.metrics import Interval


@dataclass(frozen=True, slots=True)
class Group:
    """Some crops that have something in common.

    Attributes:
        name: what that is.
        crops: number of them, at least 1.
        right: number of them that are right.
        interval: of the share that is right, by Wilson's score.
    """

    name: str
    crops: int
    right: int
    interval: Interval | None

    @property
    def accuracy(self) -> float:
        """Returns the share that is right, in [0, 1]."""
        return self.right / self.crops


def by_group(
    codes: NDArray[np.int32] | NDArray[np.int64],
    names: Sequence[str],
    right: NDArray[np.bool_],
) -> tuple[Group, ...]:
    """Returns the groups that have a crop, in the order of their names.

    Args:
        codes: number of each crop's group; below 0 for none.
        names: of the groups.
        right: says which crops are right.
    """
    known = codes >= 0
    crops = np.bincount(codes[known], minlength=len(names))
    hits = np.bincount(codes[known & right], minlength=len(names))
    return tuple(
        Group(
            name,
            int(crops[i]),
            int(hits[i]),
            metrics.wilson(int(hits[i]), int(crops[i])),
        )
        for i, name in enumerate(names)
        if crops[i]
    )


def worst(groups: Sequence[Group], most: int) -> tuple[Group, ...]:
    """Returns the groups that are likely to be worst: those of the lowest upper end.

    One crop that is wrong does not make a location bad; many do.
    """
    return tuple(sorted(groups, key=_upper_end)[:most])


def _upper_end(group: Group) -> tuple[float, int, str]:
    return (group.interval.high if group.interval else 1.0, -group.crops, group.name)
