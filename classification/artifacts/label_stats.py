"""``label_stats.csv``: precision and recall of each label on each split.

Written by ``evaluate_model`` and at the end of training, for people, their spreadsheets
and notebooks::

    split,label,precision,recall
    test,bear,0.75,0.6
    test,deer,0.0,0.0
    test,mouse,0.0,

A row for each split and label, in the order asked for and that of label_index.json. Both
are **fractions**. Precision is the share of the crops taken for the label that are of it,
0 where none is; recall the share of the label's crops that are taken for it, empty where
the split has none.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from classification.artifacts import _csv
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILENAME = "label_stats.csv"
COLUMNS = ("split", "label", "precision", "recall")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One row.

    Attributes:
        split: its name.
        label: its name.
        precision: in [0, 1].
        recall: in [0, 1]; NaN where the split has no example.
    """

    split: str
    label: str
    precision: float
    recall: float


def read(path: Path) -> Iterator[LabelRow]:
    """Yields the rows in file order.

    Raises:
        ArtifactError: the file is missing or breaks the format.
    """
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS):
            yield LabelRow(
                row.cells["split"],
                row.cells["label"],
                row.share("precision"),
                row.share("recall") if row.cells["recall"] else math.nan,
            )


def write(path: Path, rows: Iterable[LabelRow]) -> None:
    """Writes the rows in the order given."""
    with _csv.writing(path, COLUMNS) as table:
        for row in rows:
            split, label, *numbers = astuple(row)
            table.writerow([split, label, *map(_csv.number, numbers)])
