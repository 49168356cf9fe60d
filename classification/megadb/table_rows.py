"""The rows of a dataset's table, put together from what was placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import image_table
from classification.megadb import database
from classification.megadb import staging as tables
from classification.runtime import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    import pyarrow as pa

# Rows of the table that are put together at a time.
_ROWS = 200_000


def batches(
    connection: duckdb.DuckDBPyConnection, dataset: str, count: int
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of the table, a range of places at a time."""
    for first in progress.track(
        range(0, count, _ROWS), total=-(-count // _ROWS), unit="parts of the table"
    ):
        places = f"place >= {first} AND place < {first + _ROWS}"
        # Lists are sorted once they are whole, and fractions leave as plain columns:
        # DuckDB 2.0.0 loses hold of arrays in aggregates that sort.
        rows = connection.sql(
            f"""
            SELECT {database.quoted(dataset)} AS dataset, file, location, sequence,
            frame, datetime, width, height, coalesce(names, []) AS labels, label_level,
            CASE WHEN place IN (SELECT place FROM boxed WHERE {places})
                THEN coalesce(drawn, []) END AS boxes, url, rights
            FROM (SELECT * FROM images WHERE {places}) LEFT JOIN (
                SELECT place, list_sort(list(DISTINCT name)) AS names,
                CASE WHEN bool_or(level = '{tables.IMAGE_LEVEL}')
                    THEN '{tables.IMAGE_LEVEL}' ELSE '{tables.SEQUENCE_LEVEL}' END
                    AS label_level
                FROM labels WHERE {places} GROUP BY place
            ) USING (place) LEFT JOIN (
                SELECT place, list_sort(list({{'row': row, 'category': category,
                    'x': x, 'y': y, 'w': w, 'h': h}})) AS drawn
                FROM boxes WHERE {places} GROUP BY place
            ) USING (place) ORDER BY place
            """
        ).to_arrow_table()
        yield from _to_schema(rows).to_batches()


def _to_schema(rows: pa.Table) -> pa.Table:
    """Returns the rows with their boxes as the table's format has them."""
    import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

    schema = image_table.schema()
    kind = schema.field("boxes").type
    column = rows.column("boxes").combine_chunks()
    lengths = column.value_lengths()
    offsets = np.cumsum([0, *lengths.fill_null(0).to_pylist()], dtype=np.int32)
    boxes = column.flatten()
    corners = np.stack([boxes.field(side).to_numpy() for side in "xywh"], axis=1)
    bbox = kind.value_type.field("bbox").type
    drawn = pa.StructArray.from_arrays(
        [
            boxes.field("category"),
            pa.FixedSizeListArray.from_arrays(corners.ravel(), type=bbox),
        ],
        fields=list(kind.value_type),
    )
    lists = pa.ListArray.from_arrays(
        pa.array(offsets), drawn, type=kind, mask=column.is_null()
    )
    place = rows.schema.get_field_index("boxes")
    return rows.set_column(place, schema.field("boxes"), lists).cast(schema)
