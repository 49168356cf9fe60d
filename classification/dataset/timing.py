"""How many sequences, days and hours stand behind the crops of each label and split.

A thousand crops of ten sequences teach less than a thousand of five hundred: crops of one
sequence are nearly the same. Images are counted, not crops; an image counts for each of
the labels of its crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from classification.dataset.counts import SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from classification.dataset.crop_columns import CropColumns

HOURS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """When the images of one label, or of one split, were taken.

    Attributes:
        images: all of them.
        with_sequence: those whose sequence is known.
        sequences: different ones.
        with_day: images whose day is known.
        days: different days, counted at each location by itself.
        hours: images of each hour of the day, int64 [24].
    """

    images: int
    with_sequence: int
    sequences: int
    with_day: int
    days: int
    hours: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageMoments:
    """When images were taken, -1 where that is unknown; every array [images].

    Attributes:
        hour: from 0 to 23.
        day: a number for each day at one location.
        sequence: a number for each sequence.
    """

    hour: NDArray[np.int8]
    day: NDArray[np.int32]
    sequence: NDArray[np.int32]


def by_label(columns: CropColumns, moments: ImageMoments) -> list[Timing]:
    """Returns the timing of each label."""
    width = max(1, columns.images)
    cells = columns.label.astype(np.int64) * width + columns.image[columns.row]
    labels, images = np.divmod(np.unique(cells), width)
    ends = np.searchsorted(labels, np.arange(len(columns.labels) + 1))
    return [_timing(images[start:end], moments) for start, end in pairwise(ends)]


def by_split(columns: CropColumns, moments: ImageMoments) -> dict[str, Timing]:
    """Returns the timing of each split."""
    split = split_of_images(columns)
    return {
        name: _timing(np.flatnonzero(split == place), moments)
        for place, name in enumerate(SPLITS)
    }


def split_of_images(columns: CropColumns) -> NDArray[np.int8]:
    """Returns the split of each image, -1 for none, int8 [images]."""
    split = np.full(columns.images, -1, np.int8)
    split[columns.image] = columns.split
    return split


def torn_sequences(columns: CropColumns, moments: ImageMoments) -> int:
    """Counts the sequences that have images in more than one split."""
    split = split_of_images(columns)
    inside = (split >= 0) & (moments.sequence >= 0)
    pairs = np.unique(np.stack([moments.sequence[inside], split[inside]]), axis=1)
    _, counts = np.unique(pairs[0], return_counts=True)
    return int(np.count_nonzero(counts > 1))


def _timing(images: NDArray[np.int64], moments: ImageMoments) -> Timing:
    hour, day, sequence = (
        column[images][column[images] >= 0]
        for column in (moments.hour, moments.day, moments.sequence)
    )
    return Timing(
        images=len(images),
        with_sequence=len(sequence),
        sequences=len(np.unique(sequence)),
        with_day=len(day),
        days=len(np.unique(day)),
        hours=np.bincount(hour, minlength=HOURS).astype(np.int64),
    )
