"""A training set as it is looked at: all of its crops, column by column.

Unlike ``training_set``, which learns from crops of one label each, it takes crops of
several labels, too. A million crops take some hundred megabytes, most of it their names.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import dataset_csv, splits
from classification.artifacts.dataset_csv import split_labels
from classification.artifacts.layout import image_of
from classification.artifacts.splits import Location
from classification.dataset.counts import SPLITS
from classification.dataset.training_set import is_drawn
from classification.runtime.name_list import CodedList, NameList

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.artifacts.dataset_csv import CropRow

NO_SPLIT = -1


@dataclass(frozen=True, kw_only=True)
class CropColumns:
    """The crops of a training set, in the order of classification_ds.csv.

    Attributes:
        paths: names of the crops.
        labels: what the classifier learns, sorted.
        locations: each once, in the order in which they first come.
        location: of each crop, int32 [crops].
        split: of each crop, a position in ``SPLITS``, or ``NO_SPLIT``, int8 [crops].
        confidence: of the detector, in [0, 1], float64 [crops].
        drawn: whether a person drew the box, bool [crops].
        image: number of the image of each crop, from 0 on, int32 [crops]. The crops
            of an image stand together.
        row: a crop, int64 [M]: once for each of its labels, in order.
        label: that label, int32 [M].
    """

    paths: NameList
    labels: tuple[str, ...]
    locations: tuple[Location, ...]
    location: NDArray[np.int32]
    split: NDArray[np.int8]
    confidence: NDArray[np.float64]
    drawn: NDArray[np.bool_]
    image: NDArray[np.int32]
    row: NDArray[np.int64]
    label: NDArray[np.int32]

    def __len__(self) -> int:
        """Returns the number of crops."""
        return len(self.paths)

    @property
    def images(self) -> int:
        """Returns the number of images."""
        return int(self.image[-1]) + 1 if len(self) else 0

    @property
    def several_labels(self) -> int:
        """Returns the number of crops that have more than one label."""
        return int(np.count_nonzero(np.bincount(self.row, minlength=len(self)) > 1))

    def images_in_order(self) -> Iterator[tuple[str, Location]]:
        """Yields full name and location of each image, in the order of their numbers."""
        last = -1
        for place, (image, location) in enumerate(
            zip(self.image.tolist(), self.location.tolist(), strict=True)
        ):
            if image != last:
                yield image_of(self.paths[place]), self.locations[location]
            last = image


def read(dataset_dir: Path) -> CropColumns:
    """Reads a training set.

    Args:
        dataset_dir: holds classification_ds.csv and splits.json.

    Raises:
        ArtifactError: one of them is missing or malformed.
    """
    split_by_location = splits.read(dataset_dir / splits.FILENAME).by_location()
    rows = dataset_csv.read(dataset_dir / dataset_csv.FILENAME)
    return gather(rows, split_by_location)


def gather(
    rows: Iterable[CropRow], split_by_location: Mapping[Location, str]
) -> CropColumns:
    """Returns the columns of rows, of which crops of an image stand together."""
    paths, locations, cells = NameList(), CodedList(), CodedList()
    confidence, drawn, image = array("d"), bytearray(), array("i")
    last = ""
    for row in rows:
        name = image_of(row.path)
        image.append((image[-1] if image else -1) + (name != last))
        last = name
        paths.append(row.path)
        # No dataset's name holds a slash.
        locations.append(f"{row.dataset}/{row.location}")
        cells.append(row.label)
        confidence.append(row.confidence)
        drawn.append(is_drawn(row))
    named = tuple(Location(*name.split("/", 1)) for name in locations.names)
    codes = [_split_number(split_by_location.get(location)) for location in named]
    labels, row_numbers, label_numbers = _labels(cells)
    return CropColumns(
        paths=paths,
        labels=labels,
        locations=named,
        location=locations.codes,
        split=np.array([*codes, NO_SPLIT], np.int8)[locations.codes],
        confidence=np.array(confidence, np.float64),
        drawn=np.array(drawn, np.bool_),
        image=np.array(image, np.int32),
        row=row_numbers,
        label=label_numbers,
    )


def _split_number(split: str | None) -> int:
    return NO_SPLIT if split is None else SPLITS.index(split)


def _labels(
    cells: CodedList,
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int32]]:
    """Returns all labels, and for each label of each row the two numbers."""
    # A label that stands twice in a cell is one label.
    of_cell = [sorted(set(split_labels(cell))) for cell in cells.names]
    labels = sorted({label for names in of_cell for label in names})
    number = {label: place for place, label in enumerate(labels)}
    codes = cells.codes
    counts = np.array([len(names) for names in of_cell], np.int64)
    flat = np.array([number[name] for names in of_cell for name in names], np.int32)
    starts = np.cumsum(counts) - counts
    repeats = counts[codes]
    rows = np.repeat(np.arange(len(codes)), repeats)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return tuple(labels), rows, flat[np.repeat(starts[codes], repeats) + within]
