"""What an importer has read, on disk, until it becomes a dataset's table.

An importer knows one standard and fills five tables, in any order and in as many pieces
as it likes; it checks only what its standard alone knows. Everything that is true of
every standard (duplicates, labels without an image, boxes in pixels, names that leave
their folder, how a location is made) is decided here, once, by ``finish``.

=================  ==================================================================
table              columns
=================  ==================================================================
``staged_images``  ``row`` its place in the source, from 0; ``id`` what labels and
                   boxes call it; ``file``; ``location``; ``sequence``; ``frame``;
                   ``datetime`` of the camera's clock; ``width``, ``height`` in
                   pixels; ``url``; ``rights``; ``problem`` why the source itself
                   says not to use it, such as ``corrupt``
``staged_labels``  ``row``; ``image_id``; ``label``; ``level``: ``image`` or
                   ``sequence``, what the person who gave the label looked at
``staged_boxes``   ``row``; ``image_id``; ``category``; ``x``, ``y``, ``w``, ``h``;
                   ``is_relative``: fractions of the image, not pixels
``staged_boxed``   ``image_id`` of an image whose boxes are all drawn, be there none
``staged_skipped`` ``item`` its address in the source, such as ``annotations[17]``;
                   ``reason`` why the importer could not use it, in the same words for
                   all that are left out for the same reason
=================  ==================================================================

Cells may be null wherever a source knows nothing; ``row``, ``id`` and ``image_id`` may
not.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from classification.megadb import database
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb
    import pyarrow as pa

_NORMAL = "ct_normal"
IMAGE_LEVEL, SEQUENCE_LEVEL = "image", "sequence"

IMAGES, LABELS, BOXES, BOXED, SKIPPED = (
    "staged_images",
    "staged_labels",
    "staged_boxes",
    "staged_boxed",
    "staged_skipped",
)
_TABLES = {
    IMAGES: "row BIGINT, id VARCHAR, file VARCHAR, location VARCHAR, sequence VARCHAR, "
    "frame INTEGER, datetime TIMESTAMP, width INTEGER, height INTEGER, url VARCHAR, "
    "rights VARCHAR, problem VARCHAR",
    LABELS: "row BIGINT, image_id VARCHAR, label VARCHAR, level VARCHAR",
    BOXES: "row BIGINT, image_id VARCHAR, category VARCHAR, x DOUBLE, y DOUBLE, "
    "w DOUBLE, h DOUBLE, is_relative BOOLEAN",
    BOXED: "image_id VARCHAR",
    SKIPPED: "item VARCHAR, reason VARCHAR",
}


class Staging:
    """The five tables of one dataset, empty at first.

    Attributes:
        connection: where they are; an importer that reads a CSV may fill them by SQL.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes the tables; call ``Staging.open`` instead."""
        self.connection = connection
        for table, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({columns})")

    @classmethod
    @contextmanager
    def open(
        cls,
        folder: Path,
        *,
        memory_mb: int = database.MEMORY_MB,
        threads: int | None = None,
    ) -> Iterator[Staging]:
        """Opens empty tables that live inside the block; spills into ``folder``."""
        with database.connect(
            folder, memory_mb=memory_mb, on_disk=True, threads=threads
        ) as connection:
            yield cls(connection)

    def add(self, table: str, rows: pa.Table | pa.RecordBatch) -> None:
        """Appends rows to a table; columns go by name, absent ones are null."""
        database.insert(
            self.connection,
            f"INSERT INTO {table} BY NAME SELECT * FROM incoming",
            rows,
        )


def make_names(
    connection: duckdb.DuckDBPyConnection, names: str, table: str, column: str
) -> None:
    """Makes a table of the different texts of a column, each with its ``name``.

    Args:
        connection: where the tables are.
        names: of the new table, which has the column, too.
        table: one of the five.
        column: of labels or categories; a text that is no name has an empty one.
    """
    with database.function(connection, _NORMAL, normal):
        connection.execute(
            f"CREATE TABLE {names} AS SELECT {column}, {_NORMAL}({column}) AS name FROM "
            f"(SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL)"
        )
