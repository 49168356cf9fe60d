"""``overall_metrics.csv``: how good a classifier is on each split.

Written by ``evaluate_model`` and at the end of training, for people, their spreadsheets
and notebooks::

    split,loss,loss_weighted,acc_top1,acc_top3,acc_weighted_top1,acc_weighted_top3
    val,0.41,0.45,88.5,97.25,86.125,96.5
    test,0.5,0.52,85.0,96.0,83.5,95.0

A row for each split in the order asked for. Accuracies are in **percent**, losses
cross-entropy in nats. With the N examples of a split, ``acc_topk`` is 100 times the share
whose label is among the k most probable ones, ``loss`` the mean loss, and
``acc_weighted_topk`` and ``loss_weighted`` are the same means with each example weighed.
Weights are those of outputs_{split}.csv.gz: with label weighting
N / (C * examples of the label), C labels having examples, so that ``acc_weighted_top1`` is
the mean recall of labels; without it 1. Crops that could not be read count in nothing. A loss is at most 87.3: no label counts as less
probable than float32 can say. Cells are empty where a split has no example.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from classification.artifacts import _csv
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILENAME = "overall_metrics.csv"


@dataclass(frozen=True, slots=True)
class SplitRow:
    """One row; NaN where the split has no example.

    Attributes:
        split: its name.
        loss: mean cross-entropy in nats.
        loss_weighted: likewise, weighed.
        acc_top1: share whose most probable label is right, in percent.
        acc_top3: share whose label is among the three most probable, in percent.
        acc_weighted_top1: weighed share, in percent.
        acc_weighted_top3: weighed share, in percent.
    """

    split: str
    loss: float
    loss_weighted: float
    acc_top1: float
    acc_top3: float
    acc_weighted_top1: float
    acc_weighted_top3: float


COLUMNS = tuple(field.name for field in fields(SplitRow))


def read(path: Path) -> Iterator[SplitRow]:
    """Yields the rows in file order.

    Raises:
        ArtifactError: the file is missing or breaks the format.
    """
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS):
            yield SplitRow(
                row.cells["split"], *(_number(row, name) for name in COLUMNS[1:])
            )


def _number(row: _csv.Row, column: str) -> float:
    text = row.cells[column]
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = -math.inf
    if not 0 <= value < math.inf:
        raise ArtifactError("a number from 0 on expected", where=row.where(column))
    return value


def write(path: Path, rows: Iterable[SplitRow]) -> None:
    """Writes the rows in the order given."""
    with _csv.writing(path, COLUMNS) as table:
        for row in rows:
            name, *numbers = astuple(row)
            table.writerow([name, *map(_csv.number, numbers)])
