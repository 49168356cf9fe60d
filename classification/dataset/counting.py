"""From the rows of a training set to the counts that a split is decided from."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts.dataset_csv import split_labels
from classification.artifacts.split_summary import LabelInSplit
from classification.artifacts.splits import Location, Splits
from classification.dataset.counts import FREE, SPLITS, TEST, Counts
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from classification.artifacts.dataset_csv import CropRow

Crops = dict[Location, Counter[str]]


def count_crops(rows: Iterable[CropRow]) -> Crops:
    """Counts the crops of each label at each location; sorted by location."""
    # One count of cells is several times faster than many counters of labels.
    cells = Counter((row.dataset, row.location, row.label) for row in rows)
    crops: Crops = defaultdict(Counter)
    for (dataset, location, cell), count in cells.items():
        for label in split_labels(cell):
            crops[Location(dataset, location)][label] += count
    return dict(sorted(crops.items()))


def group(
    locations: Iterable[Location], shared: Iterable[Collection[Location]] = ()
) -> list[list[Location]]:
    """Puts locations that stay together into one place each; sorted.

    Args:
        locations: all of them.
        shared: sets of locations that hold a part of one sequence.
    """
    known = sorted(locations)
    above = {location: location for location in known}

    def root(location: Location) -> Location:
        while above[location] != location:
            above[location] = location = above[above[location]]
        return location

    for together in shared:
        first, *others = sorted(set(together) & above.keys()) or [known[0]]
        for other in others:
            above[max(root(first), root(other))] = min(root(first), root(other))
    places: dict[Location, list[Location]] = defaultdict(list)
    for location in known:
        places[root(location)].append(location)
    return [places[key] for key in sorted(places)]


def count_places(
    crops: Crops,
    places: Sequence[Sequence[Location]],
    *,
    test: Collection[Location] = (),
    datasets_by_label: Mapping[str, Collection[str]],
) -> Counts:
    """Returns what each place holds.

    Args:
        crops: of each location.
        places: locations that stay together.
        test: locations that are given to test.
        datasets_by_label: names of the datasets that a label's ``prioritize`` lists.
    """
    labels = sorted({label for counter in crops.values() for label in counter})
    column = {label: number for number, label in enumerate(labels)}
    shape = len(places), len(labels)
    counted, held = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    preferred = np.zeros(shape, np.bool_)
    pinned = np.full(len(places), FREE, np.int8)
    for row, place in enumerate(places):
        for location in place:
            for label, count in crops[location].items():
                counted[row, column[label]] += count
                held[row, column[label]] += 1
            if location in test:
                pinned[row] = TEST
    for label, datasets in datasets_by_label.items():
        if label in column:
            wanted = set(map(normal, datasets))
            preferred[:, column[label]] = [
                normal(place[0].dataset) in wanted for place in places
            ]
    names = tuple("/".join(place[0]) for place in places)
    return Counts(tuple(labels), names, counted, held, pinned, preferred)


def to_splits(
    places: Sequence[Sequence[Location]],
    split: NDArray[np.int8],
    *,
    test: Collection[Location] = (),
) -> Splits:
    """Returns the locations of each split.

    Args:
        places: locations that stay together.
        split: of each place, int8 [places].
        test: locations that are given to test; those of them that no place holds are
            in it, too.
    """
    found: dict[str, set[Location]] = {name: set() for name in SPLITS}
    found["test"].update(test)
    for place, number in zip(places, split.tolist(), strict=True):
        found[SPLITS[number]].update(place)
    train, val, tested = (tuple(sorted(found[name])) for name in SPLITS)
    return Splits(train=train, val=val, test=tested)


def summarize(
    counts: Counts, split: NDArray[np.int8], targets: Mapping[str, float | None]
) -> list[LabelInSplit]:
    """Returns what each split holds of each label, labels sorted.

    Args:
        counts: what each place holds.
        split: of each place, int8 [places].
        targets: by split. The share of a split that has a target is a part of what all
            such splits hold; that of another, of all crops.
    """
    crops = np.array([counts.crops[split == s].sum(axis=0) for s in range(3)])
    held = np.array([counts.locations[split == s].sum(axis=0) for s in range(3)])
    aimed = np.array([targets[name] is not None for name in SPLITS])
    total = np.where(aimed[:, None], crops[aimed].sum(axis=0), crops.sum(axis=0))
    share = crops / np.maximum(total, 1)
    return [
        LabelInSplit(
            label,
            name,
            int(crops[s, i]),
            int(held[s, i]),
            float(share[s, i]),
            targets[name],
        )
        for i, label in enumerate(counts.labels)
        for s, name in enumerate(SPLITS)
    ]
