"""``<megadb>/<dataset>.parquet``: what is known of each image of a dataset.

Written by ``import_metadata``; read by ``json_validator``,
``create_classification_dataset`` and ``report_dataset``, and by any program that reads
Parquet. One row per image, sorted by file, each file once:

===============  =========================  ==============================================
column           type                       holds
===============  =========================  ==============================================
dataset          string                     name of the dataset, the same in every row
file             string                     path below the dataset's root and path prefix
location         string                     where the camera stood
sequence         string                     images taken in one burst share it
frame            int32                      place in the sequence, as the source counts
datetime         timestamp, microseconds    the camera's clock; no time zone
width, height    int32                      pixels
labels           list of string             what the dataset calls what is seen: lower
                                            case, sorted, each once; empty: unlabelled
label_level      string                     ``image`` or ``sequence``: what the person
                                            who labelled it looked at
boxes            list of struct             every box, drawn by people: ``category``
                                            (``animal``, ``person``, ``vehicle``,
                                            ``group``) and ``bbox``, four doubles: left,
                                            top, width, height in fractions of the
                                            image; empty: looked at, none; null: not
                                            looked at
url              string                     where the image can be fetched
rights           string                     who owns it, under which licence
===============  =========================  ==============================================

All but ``dataset``, ``file`` and ``labels`` may be null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import layout
from classification.runtime.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

SUFFIX = ".parquet"
# Rows of a row group: part of the format's bytes, so it never follows the machine.
_GROUP_ROWS = 100_000


def schema() -> pa.Schema:
    """Returns names and types of the columns, in order."""
    import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

    box = pa.struct({"category": pa.string(), "bbox": pa.list_(pa.float64(), 4)})
    text = ("url", "rights")
    return pa.schema(
        [
            pa.field("dataset", pa.string(), nullable=False),
            pa.field("file", pa.string(), nullable=False),
            pa.field("location", pa.string()),
            pa.field("sequence", pa.string()),
            pa.field("frame", pa.int32()),
            pa.field("datetime", pa.timestamp("us")),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("labels", pa.list_(pa.string()), nullable=False),
            pa.field("label_level", pa.string()),
            pa.field("boxes", pa.list_(box)),
            *(pa.field(name, pa.string()) for name in text),
        ]
    )


def path_of(megadb: Path, dataset: str) -> Path:
    """Returns where the table of a dataset is.

    Raises:
        ArtifactError: the dataset's name leads out of the folder.
    """
    layout.checked_dataset(dataset, where=str(megadb))
    return megadb / f"{dataset}{SUFFIX}"


def write(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Writes a table, streaming; the same rows give the same bytes.

    Args:
        path: the file; it appears whole or not at all.
        batches: rows of ``schema()``, sorted by file, in batches of any size.

    Returns:
        The number of rows.
    """
    from pyarrow import parquet  # noqa: PLC0415 - as above

    columns = schema()
    rows = 0
    with (
        replacing(path) as file,
        parquet.ParquetWriter(file, columns, compression="zstd") as writer,
    ):
        for group in _groups(batches, columns):
            # Where a page ends would otherwise follow the batches.
            writer.write_table(group.combine_chunks(), _GROUP_ROWS)
            rows += group.num_rows
    return rows


def _groups(
    batches: Iterable[pa.RecordBatch], columns: pa.Schema
) -> Iterator[pa.Table]:
    """Yields the rows in groups of one size, of which only the last is smaller."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    waiting = columns.empty_table()
    for batch in batches:
        arrived = pa.Table.from_batches([batch], columns)
        waiting = pa.concat_tables([waiting, arrived])
        while waiting.num_rows >= _GROUP_ROWS:
            yield waiting.slice(0, _GROUP_ROWS)
            waiting = waiting.slice(_GROUP_ROWS)
    if waiting.num_rows:
        yield waiting
