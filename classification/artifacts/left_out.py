"""``<megadb>/<dataset>.left_out.csv``: what of a source is not in the dataset's table.

Written by ``import_metadata`` beside the table; read by people::

    what,item,reason
    image,videos/a.mp4,not an image file
    label,img_0007: elk,no image has this id
    box,img_0009,reaches out of its image; cut at the edge
    source,annotations[17].bbox,4 numbers expected

``what`` is ``image``, ``label``, ``box``, or ``source`` for what could not be read at all.
``item`` is an image's file, or its id where it has no file; of a label, its image's id and
the label; of a box, its image's id; of the source, an address in it. Rows stand in the
order of the source. A table without rows below its header says that nothing was left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from classification.artifacts import _csv, image_table
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SUFFIX = ".left_out.csv"


class LeftOut(NamedTuple):
    """One thing that the table does not hold, or not as the source has it.

    Attributes:
        what: ``image``, ``label``, ``box`` or ``source``.
        item: which.
        reason: why; the same words for the same reason.
    """

    what: str
    item: str
    reason: str


COLUMNS = LeftOut._fields


def path_of(megadb: Path, dataset: str) -> Path:
    """Returns where the list of a dataset is.

    Raises:
        ArtifactError: the dataset's name leads out of the folder.
    """
    table = image_table.path_of(megadb, dataset)
    return table.with_name(table.name.removesuffix(image_table.SUFFIX) + SUFFIX)


def read(path: Path) -> Iterator[LeftOut]:
    """Yields the rows.

    Raises:
        ArtifactError: the file is missing, or no such table.
    """
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS):
            yield LeftOut(*(row.cells[column] for column in COLUMNS))


def write(path: Path, rows: Iterable[LeftOut]) -> None:
    """Writes the rows in the order given, streaming."""
    with _csv.writing(path, COLUMNS) as table:
        table.writerows(rows)
