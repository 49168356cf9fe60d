"""``queried_images_counts.csv``: how many images of each label each location has.

Written by ``json_validator``, for people and their spreadsheets::

    label,dataset,location,images
    bear,caltech,,2
    bear,caltech,13,38

Sorted by label, then as queried_images.json is sorted by dataset, then by location. An
empty location means that none is known. An image of several labels counts in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.artifacts import _csv
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILENAME = "queried_images_counts.csv"
COLUMNS = ("label", "dataset", "location", "images")


@dataclass(frozen=True, slots=True)
class LocationCount:
    """How many images of a label a location has; fields as the columns."""

    label: str
    dataset: str
    location: str
    images: int


def read(path: Path) -> Iterator[LocationCount]:
    """Yields the counts in file order.

    Raises:
        ArtifactError: the file is missing or breaks the format.
    """
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS):
            label, dataset, location = (row.cells[name] for name in COLUMNS[:3])
            yield LocationCount(label, dataset, location, row.count("images"))


def write(path: Path, counts: Iterable[LocationCount]) -> None:
    """Writes the counts in the order given, one by one."""
    with _csv.writing(path, COLUMNS) as table:
        for count in counts:
            table.writerow((count.label, count.dataset, count.location, count.images))
