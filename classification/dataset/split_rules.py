"""When a label has too little in a split, by the rules of the original's notebook.

=========  ==================================  ====================================
split      crops: fewer than, and less than    locations: fewer than, or less than
=========  ==================================  ====================================
train      1000, 40 % of the label's crops     10, 40 % of the label's locations
val        300, 9 %                            5, 10 %
test       300, 9 %                            5, 10 %
=========  ==================================  ====================================

Of crops both must hold; of locations either will do. A location counts where it holds a
crop of the label. The numbers are rules of thumb for data sets of hundreds of thousands
of crops; in a small one nearly every cell is marked, which says how small it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classification.dataset.counts import SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_CROPS = {"train": 1000, "val": 300, "test": 300}
LEAST_CROP_SHARE = {"train": 0.4, "val": 0.09, "test": 0.09}
LEAST_LOCATIONS = {"train": 10, "val": 5, "test": 5}
LEAST_LOCATION_SHARE = {"train": 0.4, "val": 0.1, "test": 0.1}


def shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns what part of each label's total each split has.

    Args:
        counts: of each label in each split, [labels, 3].

    Returns:
        In [0, 1]; 0 where a label has none.
    """
    total = counts.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = counts / np.maximum(total, 1)
    return found


def extreme_crops(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Says of which labels a split has too few crops.

    Args:
        counts: crops of each label in each split, [labels, 3].
    """
    few = counts < _by_split(LEAST_CROPS)
    return few & (shares(counts) < _by_split(LEAST_CROP_SHARE))


def extreme_locations(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Says of which labels a split has too few locations.

    Args:
        counts: locations of each label in each split, [labels, 3].
    """
    few = counts < _by_split(LEAST_LOCATIONS)
    return few | (shares(counts) < _by_split(LEAST_LOCATION_SHARE))


def _by_split(value: dict[str, int] | dict[str, float]) -> NDArray[np.float64]:
    return np.array([value[split] for split in SPLITS], np.float64)
