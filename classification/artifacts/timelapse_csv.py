r"""Timelapse's CSV of reviewed images: which are labelled wrong, and what they are.

Written by Timelapse (File > Export) with a template that has the two fields ``mislabeled``,
a flag, and ``correct_class``, a text; by our own page for reviewing labels; and by people.
Read by ``save_mislabeled``::

    File,RelativePath,mislabeled,correct_class
    IMG_0001.JPG,caltech\cct_images\ridge,true,bobcat
    IMG_0002.JPG,caltech,true,
    IMG_0003.JPG,caltech,false,

UTF-8, with or without a byte order mark; quoted as RFC 4180 says. ``RelativePath`` begins
with the dataset; ``\`` and ``/`` are the same in it, and it is the dataset alone for an
image that lies in the dataset's root. ``mislabeled`` is ``true`` or ``false`` in any case;
empty means ``false``, and such a row says nothing of its image. ``correct_class`` may be
empty: nobody knows. Other columns are passed over. An image may stand in several rows that
say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from classification.artifacts import _csv, layout
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from classification.artifacts._csv import Row

COLUMNS = ("File", "RelativePath", "mislabeled", "correct_class")
_FLAGS = {"true": True, "false": False, "": False}


class Mislabeled(NamedTuple):
    """An image whose label is wrong.

    Attributes:
        row: number of its row, as a spreadsheet shows it.
        dataset: its source.
        file: its name within the dataset, with ``/``.
        correct_class: what the dataset should call it; empty where nobody knows.
    """

    row: int
    dataset: str
    file: str
    correct_class: str


def read(path: Path) -> Iterator[Mislabeled]:
    """Yields the images that are marked, in file order.

    Raises:
        ArtifactError: the file is missing or breaks the format, with row and column; a
            name leaves its folder, or a class is given to an image that is not marked.
    """
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS):
            if _is_marked(row):
                yield _marked(row)


def write(path: Path, images: Iterable[Mislabeled]) -> None:
    """Writes marked images in the order given, ``RelativePath`` with ``/``."""
    with _csv.writing(path, COLUMNS) as table:
        for image in images:
            folder, _, name = f"{image.dataset}/{image.file}".rpartition("/")
            table.writerow([name, folder, "true", image.correct_class])


def _is_marked(row: Row) -> bool:
    flag, right = row.cells["mislabeled"], row.cells["correct_class"]
    is_marked = _FLAGS.get(flag.lower())
    if is_marked is None:
        raise ArtifactError(
            f"{flag!r} is neither true nor false", where=row.where("mislabeled")
        )
    if right and not is_marked:
        raise ArtifactError(
            f"{right!r} is given to an image whose mislabeled is not true",
            where=row.where("correct_class"),
        )
    return is_marked


def _marked(row: Row) -> Mislabeled:
    folder = row.cells["RelativePath"].replace("\\", "/").rstrip("/")
    where = row.where("RelativePath")
    if not folder:
        raise ArtifactError("empty; it begins with the dataset", where=where)
    folder = layout.checked_name(folder, where=where)
    name = layout.checked_name(row.cells["File"], where=row.where("File"))
    dataset, *parts = (p for p in f"{folder}/{name}".split("/") if p not in ("", "."))
    if not parts:
        raise ArtifactError(f"{folder!r} names no dataset", where=where)
    return Mislabeled(row.number, dataset, "/".join(parts), row.cells["correct_class"])
