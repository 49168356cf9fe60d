"""When the images of a training set were taken, and in which sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.megadb import holding
from classification.megadb.reading import arrow_batches, reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from classification.artifacts.splits import Location
    from classification.megadb.reading import MetadataStore

UNKNOWN = -1

# Where a source states days alone, the store has their midnights: no hour is known then.
_FOUND = """
CREATE OR REPLACE TABLE moments AS
SELECT held.number, image.datetime, image.sequence, held.location,
       bool_and(coalesce(CAST(image.datetime AS TIME) = TIME '00:00:00', true)) OVER ()
           AS is_day_alone
FROM held JOIN read_parquet($table) AS image ON image.file = held.file
WHERE held.dataset = $number
"""
_MOMENTS = """
SELECT number,
       CASE WHEN datetime IS NULL OR is_day_alone THEN -1 ELSE hour(datetime) END,
       CASE WHEN datetime IS NULL THEN -1
            ELSE dense_rank() OVER (ORDER BY location, CAST(datetime AS DATE)) END,
       CASE WHEN sequence IS NULL THEN -1
            ELSE dense_rank() OVER (ORDER BY sequence) END
FROM moments
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """When each image was taken; every array [images].

    Attributes:
        hour: of the day by the camera's clock, from 0 to 23, or ``UNKNOWN``, int8.
        day: a number for each day at one location, or ``UNKNOWN``, int32.
        sequence: a number for each sequence, or ``UNKNOWN``, int32.
        known: whether the store has the image, bool.
    """

    hour: NDArray[np.int8]
    day: NDArray[np.int32]
    sequence: NDArray[np.int32]
    known: NDArray[np.bool_]


def find(store: MetadataStore, images: Iterable[tuple[str, Location]]) -> Moments:
    """Looks up when images were taken.

    Args:
        store: knows them.
        images: full name and location of each; the location is that of the training
            set. What comes back is in their order.

    Raises:
        ArtifactError: a table of the store is damaged.
        StorageError: the disk is full.
    """
    held = holding.hold(store, images)
    found = Moments(
        hour=np.full(held.images, UNKNOWN, np.int8),
        day=np.full(held.images, UNKNOWN, np.int32),
        sequence=np.full(held.images, UNKNOWN, np.int32),
        known=np.zeros(held.images, np.bool_),
    )
    for number, dataset in enumerate(store.datasets):
        store.rows(dataset, _FOUND, number=number)
        first_day, first_sequence = _next(found.day), _next(found.sequence)
        with reading(store.path_of(dataset)):
            for batch in arrow_batches(store.connection, _MOMENTS):
                places, hours, days, sequences = (
                    column.to_numpy(zero_copy_only=False) for column in batch.columns
                )
                found.known[places] = True
                found.hour[places] = hours
                found.day[places] = _shifted(days, first_day)
                found.sequence[places] = _shifted(sequences, first_sequence)
    return found


def _next(numbers: NDArray[np.int32]) -> int:
    return int(numbers.max(initial=UNKNOWN)) + 1


def _shifted(ranks: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Turns ranks, which count from 1, into numbers that no other dataset has."""
    return np.where(ranks == UNKNOWN, UNKNOWN, ranks - 1 + first)
