"""``mislabeled_candidates.csv``: crops whose label looks wrong, the worst first.

Written by ``identify_mislabeled_candidates`` into the folder of the outputs it read; read
by the review of labels::

    path,dataset,split,label,predicted,label_probability,predicted_probability,score
    ds/a/b.JPG___crop00_mdv4.1.jpg,ds,folds,deer,bear,0.02,0.91,0.89
    ds/c.jpg___crop00.jpg,ds,folds,bear,deer,0.2,0.71,0.51

``path`` is the crop's name relative to the crops folder and begins with its ``dataset``; it
stands once in a split. ``label`` is what the dataset says, ``predicted`` what the classifier
finds most probable. Probabilities are as the classifier's output has them. ``score`` is in
[0, 1] with at most six decimals, larger where the label is more suspicious; how it is made
depends on the method, so scores of two runs need not compare. Rows are sorted by score,
the highest first, then by path and split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from classification.artifacts import _csv, layout
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILENAME = "mislabeled_candidates.csv"


class Candidate(NamedTuple):
    """A crop whose label looks wrong.

    Attributes:
        path: its name, relative to the crops folder.
        dataset: the source of its image.
        split: whose outputs it is in.
        label: what the dataset says.
        predicted: the most probable label.
        label_probability: of ``label``, in [0, 1].
        predicted_probability: of ``predicted``, in [0, 1].
        score: how suspicious the label is, in [0, 1].
    """

    path: str
    dataset: str
    split: str
    label: str
    predicted: str
    label_probability: float
    predicted_probability: float
    score: float


COLUMNS = Candidate._fields


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Returns the rows in the order of the file."""
    return sorted(candidates, key=lambda row: (-row.score, row.path, row.split))


def read(path: Path) -> Iterator[Candidate]:
    """Yields the rows in file order.

    Raises:
        ArtifactError: the file is missing or breaks the format.
    """
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS, strip=False):
            cells = row.cells
            yield Candidate(
                layout.checked_name(cells["path"], where=row.where("path")),
                cells["dataset"],
                cells["split"],
                cells["label"],
                cells["predicted"],
                row.share("label_probability"),
                row.share("predicted_probability"),
                row.share("score"),
            )


def write(path: Path, candidates: Iterable[Candidate]) -> None:
    """Writes the rows in the order of the file."""
    with _csv.writing(path, COLUMNS) as table:
        for row in in_order(candidates):
            numbers = row[5:]
            table.writerow([*row[:5], *map(_csv.number, numbers)])
