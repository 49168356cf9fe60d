"""``location_stats.csv``: how good a classifier is at each location.

Written by ``evaluate_model`` and at the end of training, for people, who look here for
cameras that a classifier fails at::

    split,location,crops,acc_top1
    test,idfg/12,40,0.95
    test,idfg/7,12,0.25

A row for each split and location, ``<dataset>/<location>``, with at least one crop that
was classified; locations sorted. ``acc_top1`` is a **fraction**: the share of the crops
whose most probable label is right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.artifacts import _csv
from classification.runtime.errors import ArtifactError, in_file

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
                _count(row),
                _accuracy(row),
            )


def _count(row: _csv.Row) -> int:
    text = row.cells["crops"]
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ArtifactError("a whole number above 0 expected", where=row.where("crops"))
    return int(text)


def _accuracy(row: _csv.Row) -> float:
    try:
        value = float(row.cells["acc_top1"])
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ArtifactError(
            "a number between 0 and 1 expected", where=row.where("acc_top1")
        )
    return value


def write(path: Path, rows: Iterable[LocationRow]) -> None:
    """Writes the rows in the order given."""
    with _csv.writing(path, COLUMNS) as table:
        for row in rows:
            accuracy = _csv.number(row.accuracy)
            table.writerow([row.split, row.location, row.crops, accuracy])
