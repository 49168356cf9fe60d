"""Dealing places to folds, so that each crop is judged by a network that never saw its place.

Each fold in turn is test; of the other places, a sixth is val and the rest train. A fold
holds about the same share of each label as any other: place after place, those with the
largest share of a label first, goes to the fold in which the labels that it holds are
rarest so far. That is greedy, and keeps the sum of all squared shares low.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.dataset import counting
from classification.dataset.counts import TEST, TRAIN, VAL
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from classification.artifacts.dataset_csv import CropRow
    from classification.artifacts.splits import Location, Splits
    from classification.runtime.name_list import CodedList

FEWEST = 2
_VAL_PARTS = 6


@dataclass(frozen=True, kw_only=True)
class Dealt:
    """The locations of a training set, dealt to folds.

    Attributes:
        locations: all of them, sorted.
        labels: names, sorted.
        crops: number of crops, [locations, labels].
        fold_by_place: of each location, from 0 on.
        folds: how many.
        seed: of what is random.
    """

    locations: tuple[Location, ...]
    labels: tuple[str, ...]
    crops: NDArray[np.int64]
    fold_by_place: NDArray[np.int64]
    folds: int
    seed: int

    def splits(self, fold: int) -> Splits:
        """Returns the splits where one fold is test."""
        return counting.to_splits(
            [[location] for location in self.locations], self._split(fold)
        )

    def fold_by_row(self, locations: CodedList) -> NDArray[np.int64]:
        """Returns the fold of each crop, by ``<dataset>/<location>`` of each."""
        fold_by_name = dict(
            zip(map("/".join, self.locations), self.fold_by_place, strict=True)
        )
        folds = [fold_by_name[name] for name in locations.names]
        return np.array(folds, np.int64)[locations.codes]

    def notes(self) -> list[str]:
        """Returns a sentence on each label that a network is asked about unlearned."""
        return [
            f"fold {fold + 1} of {self.folds}: all crops of {', '.join(names)} that "
            "others could learn from are in it; its network does not know the label, "
            "so they will look wrong"
            for fold in range(self.folds)
            if (names := self._unlearned(fold))
        ]

    def _split(self, fold: int) -> NDArray[np.int8]:
        return split(self.crops, self.fold_by_place, fold, seed=self.seed)

    def _unlearned(self, fold: int) -> list[str]:
        columns = unlearned(self.crops, self._split(fold))
        return [self.labels[column] for column in columns]


def deal_rows(rows: Iterable[CropRow], folds: int, *, seed: int) -> Dealt:
    """Deals the locations of a training set to folds.

    Args:
        rows: of the training set, whatever their split.
        folds: at least 2.
        seed: of what is random.

    Raises:
        ConfigurationError: there are fewer locations than folds.
    """
    crops = counting.count_crops(rows)
    places = counting.group(crops)
    counts = counting.count_places(crops, places, datasets_by_label={})
    return Dealt(
        locations=tuple(crops),
        labels=counts.labels,
        crops=counts.crops,
        fold_by_place=deal(counts.crops, folds, seed=seed),
        folds=folds,
        seed=seed,
    )


def deal(crops: NDArray[np.int64], folds: int, *, seed: int) -> NDArray[np.int64]:
    """Gives each place a fold, from 0 on; no fold stays empty.

    Args:
        crops: number of crops, [places, labels]; no place without a crop.
        folds: at least 2.
        seed: of the order of places that are alike.

    Raises:
        ConfigurationError: there are fewer places than folds.
    """
    if len(crops) < folds:
        raise ConfigurationError(
            f"{folds} folds need crops at {folds} locations or more; there are "
            f"{len(crops)}"
        )
    shares = crops / np.maximum(crops.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(len(crops))
    order = order[np.argsort(-shares.max(axis=1)[order], kind="stable")]
    held = np.zeros((folds, crops.shape[1]))
    fold_by_place = np.zeros(len(crops), np.int64)
    for place in order:
        # What the squares grow by is twice this product, and the same for all.
        growth = held @ shares[place]
        fold = np.lexsort((held.sum(axis=1), growth))[0]
        held[fold] += shares[place]
        fold_by_place[place] = fold
    return fold_by_place


def split(
    crops: NDArray[np.int64],
    fold_by_place: NDArray[np.int64],
    fold: int,
    *,
    seed: int,
) -> NDArray[np.int8]:
    """Returns the split of each place where one fold is test.

    No label is in val alone that could be learned from. Where a single place is left to
    learn from, val is empty.

    Args:
        crops: number of crops, [places, labels].
        fold_by_place: of ``deal``, [places].
        fold: that is test.
        seed: of what is random.

    Returns:
        ``TRAIN``, ``VAL`` or ``TEST`` of each place.
    """
    found = np.where(fold_by_place == fold, TEST, TRAIN).astype(np.int8)
    others = np.flatnonzero(found == TRAIN)
    if len(others) < FEWEST:
        return found
    parts = min(_VAL_PARTS, len(others))
    dealt = deal(crops[others], parts, seed=seed)
    found[others[dealt == parts - 1]] = VAL
    learned = crops[found == TRAIN].sum(axis=0) > 0
    for place in np.flatnonzero(found == VAL):
        if np.any(crops[place, ~learned]):
            found[place] = TRAIN
            learned |= crops[place] > 0
    return found


def unlearned(crops: NDArray[np.int64], found: NDArray[np.int8]) -> NDArray[np.intp]:
    """Returns the labels that test has and train has not, by their columns.

    Args:
        crops: number of crops, [places, labels].
        found: split of each place, of ``split``.
    """
    tested = crops[found == TEST].sum(axis=0) > 0
    learned = crops[found == TRAIN].sum(axis=0) > 0
    return np.flatnonzero(tested & ~learned)
