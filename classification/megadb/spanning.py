"""Finds the locations that hold parts of one sequence, so that no split takes it apart.

A sequence is what has one id in one dataset: an id that stands at two locations is one
sequence that spans them. Sources write ids that are unique in the dataset; where a source
numbers the sequences of each camera anew, ids have to be made unique on import, by joining
the column of the camera to them.

The location of an image is that of the training set, and only images of the training set
count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from classification.artifacts import dataset_csv
from classification.artifacts.layout import CropName
from classification.artifacts.splits import Location
from classification.megadb import holding
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from classification.megadb.reading import MetadataStore

_PARTS = """
CREATE OR REPLACE TABLE parts AS
SELECT DISTINCT image.sequence, held.location
FROM held JOIN read_parquet($table) AS image ON image.file = held.file
WHERE held.dataset = $number AND image.sequence IS NOT NULL
"""
_UNKNOWN = """
SELECT count(*) FROM (SELECT file FROM held WHERE dataset = $number) AS wanted
ANTI JOIN read_parquet($table) AS image ON image.file = wanted.file
"""
_SPANNING = """
CREATE OR REPLACE TABLE spanning AS
SELECT sequence, min(location) AS least
FROM parts GROUP BY sequence HAVING min(location) <> max(location)
"""
_PAIRS = """
SELECT DISTINCT least, location FROM parts JOIN spanning USING (sequence)
WHERE location <> least ORDER BY least, location
"""


class Spanning(msgspec.Struct, frozen=True):
    """The sequences that span several locations.

    Attributes:
        sequences: how many.
        shared: pairs of locations that hold parts of one. Where a sequence spans more
            than two, chains of pairs join all of them.
        images: how many images there are.
        unknown: how many of them the store does not have.
    """

    sequences: int
    shared: tuple[tuple[Location, Location], ...]
    images: int
    unknown: int


def find(store: MetadataStore, images: Iterable[tuple[str, Location]]) -> Spanning:
    """Finds the sequences of a training set that span several of its locations.

    Args:
        store: knows the sequence of each image.
        images: full name and location of each image, each once.

    Raises:
        ArtifactError: a table of the store is damaged.
        StorageError: the disk is full.
    """
    held = holding.hold(store, images)
    unknown = held.unknown
    sequences, shared = 0, []
    for number, dataset in enumerate(store.datasets):
        [(absent,)] = store.rows(dataset, _UNKNOWN, number=number)
        unknown += absent
        store.rows(dataset, _PARTS, number=number)
        store.connection.execute(_SPANNING)
        shared += store.connection.execute(_PAIRS).fetchall()
        [(spanning,)] = store.connection.execute(
            "SELECT count(*) FROM spanning"
        ).fetchall()
        sequences += spanning
    return Spanning(
        sequences=sequences,
        shared=tuple(
            (held.locations[one], held.locations[other]) for one, other in shared
        ),
        images=held.images,
        unknown=unknown,
    )


def images_of(table: Path) -> Iterator[tuple[str, Location]]:
    """Yields full name and location of each image of a training set's table of crops.

    Images stand once where their crops stand together, as they do in what
    ``create_classification_dataset`` writes.

    Raises:
        ArtifactError: the table breaks its format, or a path is not the name of a crop.
    """
    last = ""
    for number, row in enumerate(dataset_csv.read(table), 2):
        try:
            name = CropName.parse(row.path).image
        except ArtifactError as error:
            where = f"{table}: row {number}, column path"
            raise ArtifactError(error.message, where=where) from error
        if name != last:
            yield name, Location(row.dataset, row.location)
        last = name
