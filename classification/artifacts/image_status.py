"""What is wrong with images, image by image: CSV.

Written by ``analyze_failed_images``, under a name of the user's, for people and their
spreadsheets::

    image,status,reason
    caltech/a.jpg,good,
    caltech/b.jpg,truncated,cannot decode: image file is truncated (12 bytes not processed)
    caltech/notes.txt,non_image,

Images are sorted, each once. ``status`` is one of

``non_image``
    the name does not end as an image's does; the file was not looked at
``nonexistent``
    there is no such file
``good``
    all of it can be decoded
``truncated``
    its header is sound, and the file ends before the picture does
``bad``
    it cannot be decoded, is no image, or is larger than allowed
``unreachable``
    it cannot be told, since the store did not answer or will not give it

``reason`` is what the reader of the image said, and empty where there is nothing to say.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from classification.artifacts import _csv
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class Status(StrEnum):
    """What was found of an image."""

    NON_IMAGE = "non_image"
    NONEXISTENT = "nonexistent"
    GOOD = "good"
    TRUNCATED = "truncated"
    BAD = "bad"
    UNREACHABLE = "unreachable"


class ImageStatus(NamedTuple):
    """One row.

    Attributes:
        image: its name.
        status: what was found.
        reason: why, or empty.
    """

    image: str
    status: Status
    reason: str = ""


COLUMNS = ImageStatus._fields


def read(path: Path) -> Iterator[ImageStatus]:
    """Yields the rows in file order.

    Raises:
        ArtifactError: the file is missing or breaks the format.
    """
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS):
            yield ImageStatus(row.cells["image"], _status(row), row.cells["reason"])


def _status(row: _csv.Row) -> Status:
    try:
        return Status(row.cells["status"])
    except ValueError:
        raise ArtifactError(
            f"one of {', '.join(Status)} expected", where=row.where("status")
        ) from None


def write(path: Path, rows: Iterable[ImageStatus]) -> None:
    """Writes the rows in the order given, streaming."""
    with _csv.writing(path, COLUMNS) as table:
        table.writerows(rows)
