"""``location_stats.csv``: how good a classifier is at each location.

Written by ``evaluate_model`` and at the end of training, for people, who look here for
cameras that a classifier fails at, and for ``report_results``::

    split,location,crops,acc_top1
    test,idfg/12,40,0.95
    test,idfg/7,12,0.25

A row for each split and location, ``<dataset>/<location>``, with at least one crop that
was classified; locations sorted. ``acc_top1`` is a **fraction**: the share of the crops
whose most probable label is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.artifacts import _csv
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILENAME = "location_stats.csv"
COLUMNS = ("split", "location", "crops", "acc_top1")


@dataclass(frozen=True, slots=True)
class LocationRow:
    """One row.

    Attributes:
        split: its name.
        location: ``<dataset>/<location>``.
        crops: number of crops, at least 1.
        accuracy: share of them that is right, in [0, 1].
    """

    split: str
    location: str
    crops: int
    accuracy: float


def read(path: Path) -> Iterator[LocationRow]:
    """Yields the rows in file order.

    Raises:
        ArtifactError: the file is missing or breaks the format.
    """
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS):
            yield LocationRow(
                row.cells["split"],
                row.cells["location"],
                row.count("crops"),
                row.share("acc_top1"),
            )


def write(path: Path, rows: Iterable[LocationRow]) -> None:
    """Writes the rows in the order given."""
    with _csv.writing(path, COLUMNS) as table:
        for row in rows:
            accuracy = _csv.number(row.accuracy)
            table.writerow([row.split, row.location, row.crops, accuracy])
