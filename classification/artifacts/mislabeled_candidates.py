"""``mislabeled_candidates.csv``: crops whose label may be wrong, the likeliest first.

Written by ``identify_mislabeled_candidates``; read by ``review_mislabeled``, and by people::

    path,dataset,split,label,predicted,label_probability,predicted_probability,score
    idfg/b.JPG___crop01_mdv4.1.jpg,idfg,test,deer,elk,0.015625,0.96875,0.953125
    caltech/cct_images/a.jpg___crop00.jpg,caltech,val,cat,dog,0.25,0.625,0.375

``path`` is the crop's name relative to the crops folder; it begins with the dataset and
stands once in a split. ``label`` is what the training set says, ``predicted`` the classifier's most
probable other label; their probabilities are in [0, 1]. What ``score`` measures depends on
the method that found the candidates; always, **more means that the label is likelier to
be wrong**. Rows are sorted by falling score, then by path and split.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from classification.artifacts import _csv, layout
from classification.artifacts.layout import CropName
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILENAME = "mislabeled_candidates.csv"


class Candidate(NamedTuple):
    """A crop whose label may be wrong.

    Attributes:
        path: its name, relative to the crops folder.
        dataset: the source of its image.
        split: in which split it is.
        label: what the training set says.
        predicted: what the classifier says.
        label_probability: the classifier's, of the label, in [0, 1].
        predicted_probability: likewise, of what it says.
        score: more means that the label is likelier to be wrong; finite.
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
_NAMES = ("dataset", "split", "label", "predicted")


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Returns the candidates in the order of the file."""
    return sorted(candidates, key=lambda row: (-row.score, row.path, row.split))


def read(path: Path) -> Iterator[Candidate]:
    """Yields the candidates in file order.

    Raises:
        ArtifactError: the file is missing or breaks the format, with row and column.
    """
    seen: set[tuple[str, str]] = set()
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS, strip=False):
            candidate = _to_candidate(row)
            place = candidate.path, candidate.split
            if place in seen:
                raise ArtifactError(
                    f"{candidate.path!r} stands twice", where=row.where("path")
                )
            seen.add(place)
            yield candidate


def write(path: Path, candidates: Iterable[Candidate]) -> None:
    """Writes the candidates, sorted."""
    with _csv.writing(path, COLUMNS) as table:
        for one in in_order(candidates):
            numbers = one.label_probability, one.predicted_probability, one.score
            table.writerow([*one[:5], *map(_csv.number, numbers)])


def _to_candidate(row: _csv.Row) -> Candidate:
    for column in _NAMES:
        if not row.cells[column]:
            raise ArtifactError("a name expected", where=row.where(column))
    return Candidate(
        path=_crop(row),
        dataset=row.cells["dataset"],
        split=row.cells["split"],
        label=row.cells["label"],
        predicted=row.cells["predicted"],
        label_probability=row.share("label_probability"),
        predicted_probability=row.share("predicted_probability"),
        score=_score(row),
    )


def _crop(row: _csv.Row) -> str:
    where = row.where("path")
    path = layout.checked_name(row.cells["path"], where=where)
    if not path.startswith(row.cells["dataset"] + "/"):
        raise ArtifactError(f"{path!r} is not of the dataset", where=where)
    try:
        CropName.parse(path)
    except ArtifactError as error:
        raise ArtifactError(error.message, where=where) from error
    return path


def _score(row: _csv.Row) -> float:
    try:
        value = float(row.cells["score"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArtifactError("a number expected", where=row.where("score"))
    return value
