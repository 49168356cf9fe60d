"""What a training set holds: counts and distributions, label by label."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from classification.dataset.counts import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from classification.dataset.crop_columns import CropColumns

_QUARTILES = (0, 25, 50, 75, 100)


@dataclass(frozen=True, slots=True)
class Confidences:
    """How sure a detector was of the crops of a label.

    Attributes:
        detected: crops of its boxes.
        drawn: crops of boxes that people drew, which have no say in the rest.
        mean: in [0, 1]; NaN, as all that follows, where there is no box of a detector.
        quartiles: minimum, first quartile, median, third quartile, maximum; between
            two crops as far as the number asks (linear interpolation).
    """

    detected: int
    drawn: int
    mean: float
    quartiles: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelAtLocations:
    """Where the crops of a label are; every array [label-location pairs].

    Attributes:
        label: ascending.
        location: ascending within a label.
        crops: at least 1.
    """

    label: NDArray[np.int64]
    location: NDArray[np.int64]
    crops: NDArray[np.int64]

    def of(self, label: int) -> slice:
        """Returns where the pairs of a label are."""
        start, end = np.searchsorted(self.label, [label, label + 1])
        return slice(int(start), int(end))


def count_crops(columns: CropColumns) -> NDArray[np.int64]:
    """Counts the crops of each label in each split, int64 [labels, 3]."""
    return _count(columns, columns.label, columns.split[columns.row])


def count_locations(columns: CropColumns, where: LabelAtLocations) -> NDArray[np.int64]:
    """Counts the locations of each label in each split, int64 [labels, 3]."""
    return _count(columns, where.label, split_of_locations(columns)[where.location])


def _count(
    columns: CropColumns, label: NDArray[np.integer], split: NDArray[np.int8]
) -> NDArray[np.int64]:
    inside = split >= 0
    cells = label[inside].astype(np.int64) * len(SPLITS) + split[inside]
    shape = len(columns.labels), len(SPLITS)
    counts = np.bincount(cells, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(np.int64)


def split_of_locations(columns: CropColumns) -> NDArray[np.int8]:
    """Returns the split of each location, int8 [locations]."""
    split = np.full(len(columns.locations), -1, np.int8)
    split[columns.location] = columns.split
    return split


def label_at_locations(columns: CropColumns) -> LabelAtLocations:
    """Counts the crops of each label at each location that has some."""
    width = max(1, len(columns.locations))
    cells = columns.label.astype(np.int64) * width + columns.location[columns.row]
    found, crops = np.unique(cells, return_counts=True)
    label, location = np.divmod(found, width)
    return LabelAtLocations(label=label, location=location, crops=crops)


def rows_by_label(columns: CropColumns) -> Iterator[NDArray[np.int64]]:
    """Yields the rows of each label's crops, ascending."""
    order = np.argsort(columns.label, kind="stable")
    ends = np.searchsorted(columns.label[order], np.arange(len(columns.labels) + 1))
    for start, end in pairwise(ends):
        yield columns.row[order[start:end]]


def describe_confidences(columns: CropColumns) -> list[Confidences]:
    """Says of each label how sure the detector was."""
    return [
        _confidences(columns.confidence[rows], columns.drawn[rows])
        for rows in rows_by_label(columns)
    ]


def _confidences(
    confidence: NDArray[np.float64], drawn: NDArray[np.bool_]
) -> Confidences:
    detected = confidence[~drawn]
    if not len(detected):
        nothing = float("nan")
        return Confidences(0, len(drawn), nothing, (nothing,) * len(_QUARTILES))
    return Confidences(
        len(detected),
        len(drawn) - len(detected),
        float(detected.mean()),
        tuple(np.percentile(detected, _QUARTILES).tolist()),
    )


def count_datasets(columns: CropColumns) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Counts the crops of each label, dataset and split.

    Returns:
        The names of the datasets, sorted, and int64 [labels, datasets, 3].
    """
    datasets = sorted({location.dataset for location in columns.locations})
    number = {name: place for place, name in enumerate(datasets)}
    of_location = np.array([number[one.dataset] for one in columns.locations], np.int64)
    split = columns.split[columns.row]
    inside = split >= 0
    dataset = of_location[columns.location[columns.row[inside]]]
    shape = len(columns.labels), len(datasets), len(SPLITS)
    cells = (
        np.ravel_multi_index((columns.label[inside], dataset, split[inside]), shape)
        if len(dataset)
        else np.empty(0, np.int64)
    )
    counts = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)
    return tuple(datasets), counts.astype(np.int64)


def approximate_weights(crops: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns how much a crop of each label would count if all labels counted alike.

    Args:
        crops: of each label, [labels].

    Returns:
        N / (crops * C), of N crops and C labels that have some; NaN where a label has
        none. It is approximate: training weighs each split by itself.
    """
    present = np.count_nonzero(crops)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights: NDArray[np.float64] = np.where(
            crops > 0, crops.sum() / (crops * present), np.nan
        )
    return weights


def sample_rows(
    columns: CropColumns, most: int, *, seed: int
) -> list[NDArray[np.int64]]:
    """Draws at most so many crops of each label; each has the same chance.

    The draw of a label is a function of the seed, its name and its crops alone.

    Returns:
        Rows of each label, ascending.
    """
    drawn = []
    for label, rows in zip(columns.labels, rows_by_label(columns), strict=True):
        key = tuple(label.encode(errors="surrogatepass"))
        source = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))
        order = np.argsort(source.random_raw(len(rows)), kind="stable")
        drawn.append(np.sort(rows[order[:most]]))
    return drawn
