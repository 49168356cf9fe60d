"""Folds: no place in two, all labels in all where that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location
from classification.dataset import folds
from classification.dataset.counts import TEST, TRAIN, VAL
from classification.runtime.errors import ConfigurationError
from classification.runtime.name_list import CodedList
from tests.classification.dataset import worlds

if TYPE_CHECKING:
    from numpy.typing import NDArray


def unevenness(crops: NDArray[np.int64], fold_by_place: NDArray[np.int64]) -> float:
    """Returns how far the shares of labels differ between folds: mean deviation."""
    shares = crops / np.maximum(crops.sum(axis=0), 1)
    held = [shares[fold_by_place == fold].sum(axis=0) for fold in set(fold_by_place)]
    return float(np.std(held, axis=0).mean())


def sklearns(crops: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Returns the fold of each place by scikit-learn."""
    places, labels = np.nonzero(crops)
    times = crops[places, labels]
    groups, y = np.repeat(places, times), np.repeat(labels, times)
    found = np.zeros(len(crops), np.int64)
    dealer = StratifiedGroupKFold(count)
    for fold, (_, held) in enumerate(dealer.split(y, y, groups)):
        found[np.unique(groups[held])] = fold
    return found


@pytest.mark.parametrize("seed", range(4))
def test_folds_are_about_as_even_as_scikit_learns(seed: int) -> None:
    crops = worlds.scattered(seed, places=60, labels=8, density=0.4).crops
    crops = crops[crops.sum(axis=1) > 0]
    ours = folds.deal(crops, 5, seed=seed)
    assert unevenness(crops, ours) < 1.5 * unevenness(crops, sklearns(crops, 5))


@given(
    seed=st.integers(0, 10_000),
    places=st.integers(2, 30),
    labels=st.integers(1, 6),
    count=st.integers(2, 6),
)
def test_each_fold_holds_places_and_is_test_once(
    seed: int, places: int, labels: int, count: int
) -> None:
    crops = 1 + worlds.scattered(seed, places, labels, density=0.5).crops
    if places < count:
        with pytest.raises(ConfigurationError, match=f"there are {places}"):
            folds.deal(crops, count, seed=seed)
        return
    dealt = folds.deal(crops, count, seed=seed)
    assert set(dealt) == set(range(count))
    assert np.array_equal(dealt, folds.deal(crops, count, seed=seed))
    for fold in range(count):
        split = folds.split(crops, dealt, fold, seed=seed)
        assert np.array_equal(split == TEST, dealt == fold)
        assert np.any(split == TRAIN)
        learned = crops[split == TRAIN].sum(axis=0)
        assert np.all(learned[crops[split == VAL].sum(axis=0) > 0] > 0)


def test_a_label_of_two_places_is_never_in_one_fold() -> None:
    for seed in range(20):
        crops = worlds.scattered(seed, places=30, labels=5, density=0.7).crops + 1
        rare = np.zeros((30, 1), np.int64)
        rare[np.random.default_rng(seed).choice(30, 2, replace=False)] = 1
        crops = np.hstack([crops, rare])
        dealt = folds.deal(crops, 5, seed=seed)
        assert len(set(dealt[rare[:, 0] > 0])) == 2
        for fold in range(5):
            split = folds.split(crops, dealt, fold, seed=seed)
            assert not len(folds.unlearned(crops, split))


def test_a_label_of_one_place_is_named_where_it_is_test() -> None:
    crops = np.array([[3, 0, 4], [3, 2, 0], [3, 0, 4], [3, 0, 4]])
    dealt = folds.deal(crops, 2, seed=0)
    for fold in range(2):
        split = folds.split(crops, dealt, fold, seed=0)
        unlearned = [1] if dealt[1] == fold else []
        assert folds.unlearned(crops, split).tolist() == unlearned


def test_a_place_that_alone_is_left_is_learned_from() -> None:
    crops = np.array([[5], [5]])
    dealt = folds.deal(crops, 2, seed=0)
    assert sorted(folds.split(crops, dealt, 0, seed=0).tolist()) == [TRAIN, TEST]


def test_rows_are_dealt_by_their_locations() -> None:
    rows = [
        CropRow(f"{dataset}/{place}{label}{n}.jpg", dataset, place, "x", 1.0, label)
        for dataset in ("d", "e")
        for place in ("1", "2", "unknown_location")
        for label in ("cat", "dog")
        for n in range(3)
    ]
    rows.append(CropRow("e/rare.jpg", "e", "2", "x", 1.0, "rare"))
    dealt = folds.deal_rows(rows, 3, seed=1)
    assert len(dealt.locations) == 6
    for fold in range(3):
        found = dealt.splits(fold)
        assert len(found.test) == 2
        assert len(found.by_location()) == 6
    by_row = dealt.fold_by_row(
        CodedList(f"{row.dataset}/{row.location}" for row in rows)
    )
    for row, fold in zip(rows, by_row.tolist(), strict=True):
        assert Location(row.dataset, row.location) in dealt.splits(fold).test
    [note] = dealt.notes()
    assert note.startswith(f"fold {by_row[-1] + 1} of 3: all crops of rare that ")
