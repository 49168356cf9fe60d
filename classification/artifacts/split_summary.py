"""``splits_summary.csv``: how the crops and locations of each label fall into the splits.

Written by ``create_classification_dataset`` beside splits.json, for people and their
spreadsheets::

    label,split,crops,locations,share,target,deviation
    bear,train,120,8,0.6,0.6,0
    bear,val,30,2,0.15,0.2,-0.05
    bear,test,50,3,0.25,0.2,0.05

A row for each label and split, labels sorted, splits in this order. ``share`` is the part
of the label's crops that the split holds, ``target`` the part that it was to hold, and
``deviation`` the first less the second; all three with at most four decimals. Where the
test locations were given (``--match-test``) there is no target for test, and share and
target of train and val are parts of what is left. A crop of several labels counts in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.artifacts import _csv
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILENAME = "splits_summary.csv"
COLUMNS = ("label", "split", "crops", "locations", "share", "target", "deviation")
_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class LabelInSplit:
    """What a split holds of a label.

    Attributes:
        label: the label.
        split: ``train``, ``val`` or ``test``.
        crops: number of its crops in the split.
        locations: number of the split's locations that hold it.
        share: part of its crops that is in the split, in [0, 1]; where the locations of
            test were given, of train and val a part of the crops that are not in test.
        target: part that was to be, or None where the locations were given.
    """

    label: str
    split: str
    crops: int
    locations: int
    share: float
    target: float | None

    @property
    def deviation(self) -> float | None:
        """Returns how much larger the share is than it was to be, both as written."""
        if self.target is None:
            return None
        return round(self.share, _DECIMALS) - round(self.target, _DECIMALS)

    def cells(self) -> tuple[str, ...]:
        """Returns the texts of its row."""
        return (
            self.label,
            self.split,
            str(self.crops),
            str(self.locations),
            *map(_to_text, (self.share, self.target, self.deviation)),
        )


def _to_text(value: float | None) -> str:
    if value is None:
        return ""
    text = f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def read(path: Path) -> Iterator[LabelInSplit]:
    """Yields the rows in file order.

    Raises:
        ArtifactError: the file is missing or breaks the format.
    """
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS):
            yield LabelInSplit(
                row.cells["label"],
                row.cells["split"],
                row.count("crops"),
                row.count("locations"),
                row.share("share"),
                row.share("target") if row.cells["target"] else None,
            )


def write(path: Path, rows: Iterable[LabelInSplit]) -> None:
    """Writes the rows in the order given."""
    with _csv.writing(path, COLUMNS) as table:
        table.writerows(row.cells() for row in rows)
