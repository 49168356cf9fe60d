"""A metadata store that is there: its tables, checked, counted, and read back by place.

The **place** of an image counts all images of the store: datasets in the order of their
names, and within each the rows of its table. That is also the order of the images' full
names, so nothing is ever sorted, and what is decided about ten million images are arrays
of numbers. Text stays in the tables.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np

from classification.artifacts import dataset_list, image_table
from classification.megadb import database
from classification.runtime.errors import ArtifactError
from taxonomy.graph import DatasetLabel, normal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa
    from numpy.typing import NDArray

    from classification.artifacts.dataset_list import DatasetEntry

_BATCH_ROWS = 100_000
_NEAREST = 3

# The columns that are read, as DuckDB calls their types.
_COLUMNS = {
    "file": "VARCHAR",
    "location": "VARCHAR",
    "labels": "VARCHAR[]",
    "label_level": "VARCHAR",
    "boxes": "STRUCT(category VARCHAR, bbox DOUBLE[])[]",
}


class LabelCount(msgspec.Struct, frozen=True):
    """How many images of a dataset have a label.

    Attributes:
        images: all of them.
        alone: those that have no other label.
    """

    images: int
    alone: int


class ImageFacts(msgspec.Struct, frozen=True):
    """What the store knows of one image.

    Attributes:
        dataset: its name in the store.
        file: path below the dataset's root and path prefix.
        row: of its dataset's table, from 0.
        place: of the whole store, see the module.
        labels: what the dataset calls what is seen.
        level: ``image``, ``sequence`` or None.
        location: where the camera stood, or None.
    """

    dataset: str
    file: str
    row: int
    place: int
    labels: tuple[str, ...]
    level: str | None
    location: str | None


class MetadataStore:
    """An open metadata store.

    Attributes:
        folder: where it is.
        entries: what is known of each dataset.
        datasets: their names, in the order of the full names of their images.
        first: place of each dataset's first image, and the number of all images,
            int64 [datasets + 1].
        connection: a database whose tables are free to use.
    """

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        """Checks what is in the folder; call ``MetadataStore.open`` instead."""
        self.entries: Mapping[str, DatasetEntry] = dataset_list.read(folder)
        self.datasets = tuple(sorted(self.entries, key=lambda name: f"{name}/"))
        self.folder = folder
        self.connection = connection
        self._path = {name: image_table.path_of(folder, name) for name in self.datasets}
        self._number = _numbers(self.datasets, folder)
        counts = [self._check(name) for name in self.datasets]
        self.first = np.cumsum([0, *counts], dtype=np.int64)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, work_dir: Path) -> Iterator[MetadataStore]:
        """Opens a store inside the block, and checks the columns of its tables.

        Args:
            folder: the store.
            work_dir: a folder for what does not fit into memory.

        Raises:
            ArtifactError: it is no store, or a table is missing or of another form.
            StorageError: the working folder cannot be written, or is full; or the name
                of either is not UTF-8.
        """
        dataset_list.read(folder)  # before anything is made
        database.check_name(folder)
        with database.connect(work_dir, on_disk=True) as connection:
            yield cls(folder, connection)

    def number_of(self, dataset: str) -> int | None:
        """Returns the position of a dataset in ``datasets``, whatever its case."""
        return self._number.get(normal(dataset))

    def path_of(self, dataset: str) -> Path:
        """Returns the file of a dataset's table."""
        return self._path[dataset]

    def full_name(self, dataset: str, file: str) -> str:
        """Returns the full name of an image."""
        return self.entries[dataset].name_of(dataset, file)

    def rows(
        self, dataset: str, query: str, **values: str | int
    ) -> list[tuple[Any, ...]]:
        """Returns the few rows that a query about a dataset's table answers.

        Args:
            dataset: name in the store.
            query: SQL, in which ``$table`` is the table's file.
            values: further parameters of the query.

        Raises:
            ArtifactError: the table is damaged.
        """
        path = self._path[dataset]
        with reading(path):
            return self.connection.execute(
                query, {"table": str(path), **values}
            ).fetchall()

    def count_labels(self) -> dict[DatasetLabel, LabelCount]:
        """Counts the images of each label of each dataset."""
        counts: dict[DatasetLabel, LabelCount] = {}
        for dataset in self.datasets:
            rows = self.rows(
                dataset,
                "SELECT label, count(*), count(*) FILTER (alone) FROM ("
                "SELECT unnest(labels) AS label, len(labels) = 1 AS alone "
                "FROM read_parquet($table)) WHERE label IS NOT NULL "
                "GROUP BY label ORDER BY label",
            )
            for label, images, alone in rows:
                pair = DatasetLabel(normal(dataset), label)
                counts[pair] = LabelCount(images, alone)
        return counts

    def batches(
        self, dataset: str, columns: Sequence[str], taken: NDArray[np.bool_]
    ) -> Iterator[tuple[NDArray[np.int64], list[pa.Array]]]:
        """Yields places and columns of some images of a dataset, in order.

        Args:
            dataset: name in the store.
            columns: of its table.
            taken: of all images of the store, [images].
        """
        import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

        path = self._path[dataset]
        place, end = self._span(dataset)
        if not taken[place:end].any():
            return
        query = f"SELECT {', '.join(columns)} FROM read_parquet(?)"
        with reading(path):
            for batch in arrow_batches(self.connection, query, [str(path)]):
                chosen = taken[place : place + batch.num_rows]
                if chosen.any():
                    kept = batch.filter(pa.array(chosen))
                    yield place + np.flatnonzero(chosen), kept.columns
                place += batch.num_rows

    def files(
        self, dataset: str, taken: NDArray[np.bool_]
    ) -> Iterator[tuple[NDArray[np.int64], list[str]]]:
        """Yields places and files of a dataset's taken images, a batch at a time."""
        for places, (files,) in self.batches(dataset, ["file"], taken):
            yield places, files.to_pylist()

    def datasets_of(self, taken: NDArray[np.bool_]) -> list[str]:
        """Returns the datasets that have taken images, in order."""
        return [name for name in self.datasets if taken[slice(*self._span(name))].any()]

    def names(self, taken: NDArray[np.bool_]) -> list[str]:
        """Returns the full names of the taken images, in order."""
        return [
            self.full_name(dataset, file)
            for dataset in self.datasets
            for _, files in self.files(dataset, taken)
            for file in files
        ]

    def facts(self, name: str) -> ImageFacts | None:
        """Returns what is known of the image of a full name, or None if there is none.

        The dataset may be written in any case, and the path prefix may be left out.
        """
        dataset, file = self._split(name)
        if dataset is None:
            return None
        rows = self.rows(
            dataset,
            "SELECT file, file_row_number, labels, label_level, location "
            "FROM read_parquet($table, file_row_number = true) "
            "WHERE file IN ($file, $below) ORDER BY file <> $below LIMIT 1",
            file=file,
            below=file.removeprefix(f"{self.entries[dataset].path_prefix}/"),
        )
        for found, row, labels, level, location in rows:
            place = self._span(dataset)[0] + row
            named = tuple(label for label in labels or () if label is not None)
            return ImageFacts(dataset, found, row, place, named, level, location)
        return None

    def like(self, name: str) -> str:
        """Says what the store has that looks most like a name it does not have."""
        dataset, file = self._split(name)
        if dataset is None:
            datasets = ", ".join(map(repr, self.datasets)) or "none"
            return f"a full name begins with a dataset, here one of {datasets}"
        rows = self.rows(
            dataset,
            "SELECT file FROM read_parquet($table) "
            "ORDER BY jaro_winkler_similarity(file, $file) DESC, file LIMIT $most",
            file=file.removeprefix(f"{self.entries[dataset].path_prefix}/"),
            most=_NEAREST,
        )
        names = ", ".join(self.full_name(dataset, file) for (file,) in rows)
        return f"it has {names}" if names else f"{dataset!r} has no image"

    def _split(self, name: str) -> tuple[str | None, str]:
        dataset, _, file = name.partition("/")
        number = self.number_of(dataset)
        return (None if number is None else self.datasets[number]), file

    def _span(self, dataset: str) -> tuple[int, int]:
        number = self._number[normal(dataset)]
        return int(self.first[number]), int(self.first[number + 1])

    def _check(self, dataset: str) -> int:
        """Checks the columns of a table; returns its number of rows."""
        path = self._path[dataset]
        if not path.is_file():
            raise ArtifactError("missing; import_metadata writes it", where=str(path))
        rows = self.rows(dataset, "DESCRIBE FROM read_parquet($table)")
        columns = {name: kind for name, kind, *_ in rows}
        for name, kind in _COLUMNS.items():
            if columns.get(name) != kind:
                raise ArtifactError(
                    f"the column {name}, {kind}, expected; import_metadata writes it",
                    where=str(path),
                )
        [(count,)] = self.rows(dataset, "SELECT count(*) FROM read_parquet($table)")
        return int(count)


def arrow_batches(
    connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Yields the rows that a query answers, a batch at a time."""
    relation = connection.sql(query, params=list(values))
    yield from cast("pa.RecordBatchReader", relation.to_arrow_reader(_BATCH_ROWS))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Says that a table is damaged where DuckDB cannot read it.

    Raises:
        ArtifactError: with what DuckDB says of it.
    """
    import duckdb  # noqa: PLC0415 - as above

    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.IOException):
        raise  # of the disk or the memory, not of the table
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(
            f"no table of images: {reason}; import_metadata writes it anew",
            where=str(path),
        ) from error


def _numbers(datasets: Sequence[str], folder: Path) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for number, dataset in enumerate(datasets):
        other = numbers.setdefault(normal(dataset), number)
        if other != number:
            raise ArtifactError(
                f"the datasets {datasets[other]!r} and {dataset!r} differ in case only",
                where=str(folder),
            )
    return numbers
