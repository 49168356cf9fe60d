"""Classified crops, by image, in a temporary file: a join larger than memory.

Crops come in the order of the classifier output, images in that of the detections; a
table on disk brings them together, whatever the orders are. The file has no name, so
that nothing is left behind even if the process is killed.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from classification.artifacts.layout import CropName

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE crops (
    image TEXT, box INTEGER, row INTEGER, suffix TEXT, label TEXT, said BLOB
);
CREATE TABLE documents (image TEXT PRIMARY KEY, text BLOB) WITHOUT ROWID;
BEGIN
"""
# All text comes from UTF-8 files, so sqlite's order by bytes is Python's by characters.
_REPEATED = """
SELECT min(row), max(row) FROM crops
GROUP BY image, box HAVING count(*) > 1 ORDER BY max(row) LIMIT 1
"""
_SAMPLE = """
DELETE FROM crops WHERE rowid NOT IN (
    SELECT rowid FROM (
        SELECT rowid, row_number() OVER (
            PARTITION BY label ORDER BY draw(image, box), image, box
        ) AS place
        FROM crops
    ) WHERE place <= ?
)
"""
_MIXED = """
SELECT image, max(row) FROM crops
GROUP BY image HAVING min(suffix = '') <> max(suffix = '') ORDER BY max(row) LIMIT 1
"""
_IMAGES = """
SELECT image, min(row) FROM crops
WHERE (suffix = '') = ? GROUP BY image ORDER BY image
"""
_OF_IMAGES = """
SELECT image, box, row, said FROM crops
WHERE image IN (SELECT value FROM json_each(?)) ORDER BY image, box
"""
_UNDOCUMENTED = """
SELECT image, min(row) FROM crops
WHERE image NOT IN (SELECT image FROM documents)
GROUP BY image ORDER BY min(row) LIMIT 1
"""


class ClassifiedCrop(NamedTuple):
    """What is said of one crop.

    Attributes:
        row: where, in the classifier output.
        crop: its name.
        label: its true label, or empty.
        said: its classifications, encoded.
    """

    row: int
    crop: CropName
    label: str
    said: bytes


class Found(NamedTuple):
    """A classified box of an image.

    Attributes:
        box: its position in the image's list of boxes.
        row: where, in the classifier output.
        said: its classifications, encoded.
    """

    box: int
    row: int
    said: bytes


@contextmanager
def open_table() -> Iterator[CropTable]:
    """Makes an empty table, which is gone when the block ends.

    Raises:
        StorageError: the temporary folder is full.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.executescript(_SCHEMA)
            yield CropTable(database)
    except sqlite3.OperationalError as error:
        raise StorageError(f"temporary table: {error} (see TMPDIR)") from error


class CropTable:
    """A table of crops, and of the documents of their images."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Takes over a connection; call ``open_table`` instead."""
        self._database = database

    def add(self, crops: Iterable[ClassifiedCrop]) -> None:
        """Adds crops; once all are in, ``find_repeated`` makes them quick to find."""
        self._database.executemany(
            "INSERT INTO crops VALUES (?, ?, ?, ?, ?, ?)",
            (
                (crop.image, crop.index, row, crop.suffix, label, said)
                for row, crop, label, said in crops
            ),
        )

    def find_repeated(self) -> tuple[int, int] | None:
        """Returns two rows that tell of the same box, or None; the second one first met.

        Builds the index, so it is to be called once, before the look-ups.
        """
        self._database.execute("CREATE INDEX by_box ON crops (image, box)")
        pair: tuple[int, int] | None = self._database.execute(_REPEATED).fetchone()
        return pair

    def sample(self, per_label: int, *, seed: int) -> None:
        """Keeps at most so many crops of each label, drawn at random.

        The draw depends on the seed and the boxes alone, not on their order.
        """

        def draw(image: str, box: int) -> bytes:
            text = f"{seed} {box} {image}".encode()
            return hashlib.blake2b(text, digest_size=8).digest()

        self._database.create_function("draw", 2, draw, deterministic=True)
        self._database.execute(_SAMPLE, (per_label,))

    def find_mixed(self) -> tuple[str, int] | None:
        """Returns an image that has crops of both people's and a detector's boxes."""
        pair: tuple[str, int] | None = self._database.execute(_MIXED).fetchone()
        return pair

    def __len__(self) -> int:
        """Returns the number of crops."""
        (count,) = self._database.execute("SELECT count(*) FROM crops").fetchone()
        return int(count)

    def images(self, *, ground_truth: bool) -> Iterator[tuple[str, int]]:
        """Yields each image that has crops, and the first row of it, sorted by name.

        Args:
            ground_truth: those whose boxes people drew, or those of a detector.
        """
        yield from self._database.execute(_IMAGES, (ground_truth,))

    def of_images(self, images: Sequence[str]) -> dict[str, list[Found]]:
        """Returns the classified boxes of each image that has any, by position."""
        wanted = json.dumps(images)
        found: dict[str, list[Found]] = {}
        for image, *rest in self._database.execute(_OF_IMAGES, (wanted,)):
            found.setdefault(image, []).append(Found(*rest))
        return found

    def find_other(self, images: Iterable[str]) -> tuple[str, int] | None:
        """Returns the first crop's image and row that is of none of ``images``.

        It empties the table, so it is for the way out.
        """
        self._database.executemany(
            "DELETE FROM crops WHERE image = ?", ((image,) for image in images)
        )
        pair: tuple[str, int] | None = self._database.execute(
            "SELECT image, row FROM crops ORDER BY row LIMIT 1"
        ).fetchone()
        return pair

    def keep_document(self, image: str, text: bytes) -> None:
        """Keeps the text of an image for ``documents``."""
        self._database.execute("INSERT INTO documents VALUES (?, ?)", (image, text))

    def find_without_document(self) -> tuple[str, int] | None:
        """Returns an image that has crops, but no document, and the first row of it."""
        pair: tuple[str, int] | None = self._database.execute(_UNDOCUMENTED).fetchone()
        return pair

    def documents(self) -> Iterator[bytes]:
        """Yields what ``keep_document`` was given, sorted by image."""
        rows = self._database.execute("SELECT text FROM documents ORDER BY image")
        yield from (text for (text,) in rows)
