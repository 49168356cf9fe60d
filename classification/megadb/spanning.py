"""Finds the locations that hold parts of one sequence, so that no split takes it apart.

A sequence is what has one id in one dataset: an id that stands at two locations is one
sequence that spans them. Sources write ids that are unique in the dataset; where a source
numbers the sequences of each camera anew, ids have to be made unique on import, by joining
the column of the camera to them.

The location of an image is that of the training set, and only images of the training set
count. Names stay in DuckDB, which spills to disk.
"""

from __future__ import annotations

import functools
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from classification.artifacts import dataset_csv
from classification.artifacts.layout import CropName
from classification.artifacts.splits import Location
from classification.megadb import database
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from classification.megadb.reading import MetadataStore

_BLOCK_IMAGES = 50_000

_HELD = "CREATE OR REPLACE TABLE held (dataset INTEGER, file VARCHAR, location INTEGER)"
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
    locations, total, unknown = _stage(store, images)
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
        shared=tuple((locations[one], locations[other]) for one, other in shared),
        images=total,
        unknown=unknown,
    )


def _stage(
    store: MetadataStore, images: Iterable[tuple[str, Location]]
) -> tuple[list[Location], int, int]:
    """Makes ``held``: the images, with numbers for their datasets and locations.

    Returns:
        The location of each number, the number of images, and how many of them are of
        datasets that the store does not have.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

    store.connection.execute(_HELD)
    number_by_location: dict[Location, int] = {}
    number_of = functools.cache(store.number_of)
    starts = [store.full_name(dataset, "") + "/" for dataset in store.datasets]
    total = unknown = 0
    rest = iter(images)
    while block := list(islice(rest, _BLOCK_IMAGES)):
        known = [
            (number, name.removeprefix(starts[number]), location)
            for name, location in block
            if (number := number_of(location.dataset)) is not None
        ]
        for _, _, location in known:
            number_by_location.setdefault(location, len(number_by_location))
        columns = {
            "dataset": pa.array([number for number, _, _ in known], pa.int32()),
            "file": pa.array([file for _, file, _ in known], pa.string()),
            "location": pa.array(
                [number_by_location[location] for _, _, location in known], pa.int32()
            ),
        }
        query = "INSERT INTO held SELECT dataset, file, location FROM incoming"
        database.insert(store.connection, query, pa.table(columns))
        total += len(block)
        unknown += len(block) - len(known)
    return list(number_by_location), total, unknown


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
