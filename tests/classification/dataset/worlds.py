"""Generated worlds of places and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classification.dataset.counts import FREE, Counts

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_counts(crops: NDArray[np.int64]) -> Counts:
    """Makes counts of places that are one location each."""
    places, labels = crops.shape
    return Counts(
        tuple(f"label{i:03}" for i in range(labels)),
        tuple(f"d/{i:04}" for i in range(places)),
        crops,
        (crops > 0).astype(np.int64),
        np.full(places, FREE, np.int8),
        np.zeros(crops.shape, np.bool_),
    )


def scattered(seed: int, places: int, labels: int, density: float) -> Counts:
    """Puts each label at each place with the same probability."""
    rng = np.random.default_rng(seed)
    held = rng.random((places, labels)) < density
    return to_counts(held * rng.integers(1, 50, (places, labels)))


def planted(seed: int, places: int = 200, labels: int = 40) -> Counts:
    """Makes labels of ever fewer places, which a known split loses none of."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, places, p=[0.6, 0.2, 0.2])
    crops = np.zeros((places, labels), np.int64)
    for label in range(labels):
        further = max(0, places // (2 * label + 2) - 3)
        where = [rng.choice(np.flatnonzero(truth == split)) for split in range(3)]
        where += rng.choice(places, further, replace=False).tolist()
        crops[where, label] = rng.lognormal(2, 1.5, len(where)).astype(np.int64) + 1
    return to_counts(crops)
