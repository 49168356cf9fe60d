"""Puts the images of a training set beside a metadata store, to be joined with it.

Names stay in DuckDB, which spills to disk.
"""

from __future__ import annotations

import functools
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from classification.artifacts.splits import Location
from classification.megadb import database

if TYPE_CHECKING:
    from collections.abc import Iterable

    from classification.megadb.reading import MetadataStore

_BLOCK_IMAGES = 50_000

_HELD = """
CREATE OR REPLACE TABLE held
(number INTEGER, dataset INTEGER, file VARCHAR, location INTEGER)
"""
_INSERT = "INSERT INTO held SELECT number, dataset, file, location FROM incoming"


class Held(msgspec.Struct, frozen=True):
    """What is in the table ``held``.

    Attributes:
        locations: the location of each number.
        images: how many images there were.
        unknown: how many of them are of datasets that the store does not have, and so
            not in the table.
    """

    locations: tuple[Location, ...]
    images: int
    unknown: int


def hold(store: MetadataStore, images: Iterable[tuple[str, Location]]) -> Held:
    """Makes the table ``held`` of a store's database.

    It has a row for each image: ``number``, from 0 in the order in which they come;
    ``dataset``, a position in ``store.datasets``; ``file``, as the store's tables call
    it; and ``location``, a position in what is returned.

    Args:
        store: to which the images are to be joined.
        images: full name and location of each, each once.

    Raises:
        StorageError: the disk is full.
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
            (place, number, name.removeprefix(starts[number]), location)
            for place, (name, location) in enumerate(block, total)
            if (number := number_of(location.dataset)) is not None
        ]
        for *_, location in known:
            number_by_location.setdefault(location, len(number_by_location))
        columns = {
            "number": pa.array([place for place, *_ in known], pa.int32()),
            "dataset": pa.array([number for _, number, *_ in known], pa.int32()),
            "file": pa.array([file for *_, file, _ in known], pa.string()),
            "location": pa.array(
                [number_by_location[location] for *_, location in known], pa.int32()
            ),
        }
        database.insert(store.connection, _INSERT, pa.table(columns))
        total += len(block)
        unknown += len(block) - len(known)
    return Held(tuple(number_by_location), total, unknown)
