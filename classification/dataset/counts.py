"""How many crops of each label each place holds: all that a split is decided from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
FREE = -1


@dataclass(frozen=True, slots=True)
class Fractions:
    """The share of each label's crops, and locations, that each split is to hold.

    Attributes:
        val: in [0, 1).
        test: in [0, 1).
    """

    val: float
    test: float

    @property
    def train(self) -> float:
        """Returns what is left."""
        return 1 - self.val - self.test

    @property
    def targets(self) -> tuple[float, float, float]:
        """Returns the three shares in the order of ``SPLITS``."""
        return self.train, self.val, self.test


@dataclass(frozen=True, slots=True)
class Counts:
    """What there is to split.

    A place is what one split takes whole: normally one location, and several where
    a sequence of images spans them.

    Attributes:
        labels: names, sorted; the columns.
        places: a name for each place, ``<dataset>/<location>`` of its first; the rows.
        crops: number of crops, int64 [places, labels].
        locations: number of the place's locations that hold the label, int64
            [places, labels].
        pinned: the split a place is given, or ``FREE``, int8 [places].
        preferred: whether the place is of a dataset that the label's ``prioritize``
            names, bool [places, labels].
    """

    labels: tuple[str, ...]
    places: tuple[str, ...]
    crops: NDArray[np.int64]
    locations: NDArray[np.int64]
    pinned: NDArray[np.int8]
    preferred: NDArray[np.bool_]
