"""``classification_ds.csv``: the crops that a classifier learns from, one row each.

Written by ``create_classification_dataset``; read by it, and by ``report_dataset`` and
``train_classifier``::

    path,dataset,location,dataset_class,confidence,label
    caltech/cct_images/a.jpg___crop00.jpg,caltech,13,mountain_lion,1.0,cat
    idfg/b.JPG___crop01_mdv4.1.jpg,idfg,unknown_location,elk,0.914,deer

``path`` is the crop's name relative to the crops folder; it begins with the dataset and
stands once. ``location`` is text, whatever it looks like: ``13``, ``nan`` and ``None`` are
three names, and ``unknown_location`` stands where none is known. ``confidence`` is in
[0, 1], in the fewest digits that read back to the same number, and 1.0 for a box that a
person drew. ``label`` joins the labels of the crop with commas, normally one; no label is called
``path``, ``label``, ``weight`` or ``dataset``, which are columns of classifier outputs. Rows
are in the order of queried_images.json, then of the boxes; rows of another data set, whose
test locations this one takes over, come last. Every row ends with a line end, which a truncated
file lacks. Addresses count rows as a spreadsheet does: the header is row 1.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Self

from classification.artifacts import _csv, _limits, _names, layout, predictions
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError, StorageError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

FILENAME = "classification_ds.csv"
UNKNOWN_LOCATION = "unknown_location"
# Stands between two labels of a crop, so that no label may hold it.
LABEL_SEPARATOR = ","
# What tables with a column per label call their other columns.
RESERVED_LABELS = frozenset({*predictions.RESERVED, "dataset"})

_BLOCK_ROWS = 8192
_WRITTEN_BY = "create_classification_dataset --mode csv writes it"


class CropRow(NamedTuple):
    """A crop, and what is known of it.

    Attributes:
        path: its name, relative to the crops folder.
        dataset: the source of its image.
        location: where the camera stood; ``UNKNOWN_LOCATION`` where nobody knows.
        dataset_class: what the dataset calls the animal.
        confidence: of the detector, in [0, 1]; 1 for a box that a person drew.
        label: what the classifier learns; several are joined with commas.
    """

    path: str
    dataset: str
    location: str
    dataset_class: str
    confidence: float
    label: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Returns what the classifier learns, label by label."""
        return split_labels(self.label)


COLUMNS = CropRow._fields


def join_labels(labels: Sequence[str]) -> str:
    """Returns the cell of a crop's labels.

    Raises:
        ArtifactError: there are none, or one is empty, holds a comma, or is reserved.
    """
    if not labels:
        raise ArtifactError("no label")
    for label in labels:
        check_label(label)
    return LABEL_SEPARATOR.join(labels)


def check_label(label: str) -> None:
    """Sees that a classifier can learn a label, and its outputs can name it.

    Raises:
        ArtifactError: it is empty, holds a comma, or is one of ``RESERVED_LABELS``.
    """
    if not label:
        raise ArtifactError(f"the label {label!r}: a name expected")
    if LABEL_SEPARATOR in label:
        raise ArtifactError(f"the label {label!r}: a comma stands between two labels")
    if label in RESERVED_LABELS:
        raise ArtifactError(
            f"the label {label!r}: reserved, as tables with a column per label call "
            "another column so; choose another name"
        )


def split_labels(cell: str) -> tuple[str, ...]:
    """Returns the labels of a cell; the inverse of ``join_labels``."""
    return tuple(cell.split(LABEL_SEPARATOR))


def read(path: Path) -> Iterator[CropRow]:
    """Yields the rows in file order, a few thousand of them in memory at a time.

    Columns may have any order.

    Raises:
        ArtifactError: the file is missing, truncated, no CSV, or breaks the format, with
            row and column. That a path stands twice is known after the last row.
    """
    seen = _names.SeenNames()
    with in_file(path):
        for _, rows in _read_blocks(path):
            seen.add([row.path for row in rows])
            yield from rows
        if repeated := seen.repeated_hashes():
            _refuse_repeated(path, repeated)


def write(path: Path, rows: Iterable[CropRow]) -> int:
    """Writes the rows in the order given, streaming; returns how many.

    Raises:
        ValueError: a cell is no text that UTF-8 can hold.
    """
    count = 0
    with replacing(path) as file, _csv_text(file) as text:
        table = _csv.writer(text)
        table.writerow(COLUMNS)
        for block in _blocks(rows):
            table.writerows(block)
            count += len(block)
    return count


class Spool:
    """Very many rows that are put aside on the disk and read once, then forgotten.

    A context manager. The file has no name, so that a killed run leaves nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Opens an empty one.

        Raises:
            StorageError: the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror}") from error
        self._text = io.TextIOWrapper(self._file, encoding="utf-8", newline="")
        self._table = _csv.writer(self._text)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forgets the rows."""
        with contextlib.suppress(OSError):  # ``add`` has already said that it failed
            self._text.close()

    def add(self, rows: Iterable[CropRow]) -> None:
        """Puts rows aside.

        Raises:
            StorageError: the disk is full.
        """
        try:
            self._table.writerows(rows)
            self._text.flush()
        except OSError as error:
            raise StorageError(f"cannot write rows: {error.strerror}") from error

    def rows(self) -> Iterator[CropRow]:
        """Yields the rows in the order they came, once all of them did.

        Raises:
            ArtifactError: a cell is longer than any reader of CSV takes.
        """
        self._text.seek(0)
        try:
            for path, dataset, where, name, confidence, label in csv.reader(self._text):
                yield CropRow(path, dataset, where, name, float(confidence), label)
        except csv.Error as error:
            raise ArtifactError(f"a row that no CSV can hold: {error}") from error


@contextlib.contextmanager
def _csv_text(file: BinaryIO) -> Iterator[io.TextIOWrapper]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        text.detach()


def _blocks(rows: Iterable[CropRow]) -> Iterator[list[CropRow]]:
    rest = iter(rows)
    while block := list(islice(rest, _BLOCK_ROWS)):
        yield block


def _read_blocks(path: Path) -> Iterator[tuple[int, list[CropRow]]]:
    """Yields checked rows, and the number of the first of them."""
    with _records(path) as records:
        header = next(records, None)
        if not header:
            raise ArtifactError(f"empty; {_WRITTEN_BY}")
        order = _order_of(header)
        number = 2
        while block := list(islice(records, _BLOCK_ROWS)):
            yield number, _to_rows(block, order, number)
            number += len(block)


@contextlib.contextmanager
def _records(path: Path) -> Iterator[Iterator[list[str]]]:
    if path.exists() and not path.is_file():
        raise ArtifactError("not a plain file")
    try:
        with path.open("rb") as file:
            _check_end(file)
            with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
                yield iter(csv.reader(_limits.lines(text), strict=True))
    except FileNotFoundError as error:
        raise ArtifactError(f"missing; {_WRITTEN_BY}") from error
    except OSError as error:
        raise ArtifactError(f"cannot read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ArtifactError(f"not CSV: {error}") from error


def _check_end(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    if file.read() not in {b"", b"\n"}:
        raise ArtifactError("the last row has no line end: the file is truncated")
    file.seek(0)


def _order_of(header: list[str]) -> list[int]:
    """Returns where each column stands."""
    if sorted(header) != sorted(COLUMNS):
        raise ArtifactError(
            f"the columns {','.join(COLUMNS)} expected, {','.join(header)} found",
            where="row 1",
        )
    return [header.index(column) for column in COLUMNS]


def _to_rows(
    records: Sequence[list[str]], order: Sequence[int], first: int
) -> list[CropRow]:
    """Returns the checked rows of a block, whose first has the number ``first``."""
    a, b, c, d, e, f = order
    try:
        rows = [
            CropRow(r[a], r[b], r[c] or UNKNOWN_LOCATION, r[d], float(r[e]), r[f])
            for r in records
        ]
    except (ValueError, IndexError):
        rows = []
    if len(rows) != len(records) or not _are_sound(records, rows):
        for number, record in enumerate(records, first):
            _check(record, order, f"row {number}")
    return rows


def _are_sound(records: Sequence[list[str]], rows: Sequence[CropRow]) -> bool:
    """Says in bulk what ``_check`` says of one row, once its number is one."""
    return (
        all(len(record) == len(COLUMNS) for record in records)
        and all(0 <= row.confidence <= 1 for row in rows)
        and all(all(split_labels(cell)) for cell in {row.label for row in rows})
        and all(row.path.startswith(row.dataset + "/") for row in rows)
        and not any("/" in dataset for dataset in {row.dataset for row in rows})
        and _names.find_unsafe([row.path for row in rows]) is None
    )


def _check(record: list[str], order: Sequence[int], where: str) -> None:
    """Refuses a row that breaks the format."""
    if len(record) != len(COLUMNS):
        raise ArtifactError(
            f"{len(COLUMNS)} cells expected, {len(record)} found", where=where
        )
    cells = CropRow(*(record[column] for column in order))  # type: ignore[arg-type]  # the confidence is a text as yet
    layout.checked_name(cells.path, where=f"{where}, column path")
    if not cells.path.startswith(f"{cells.dataset}/") or "/" in cells.dataset:
        raise ArtifactError(
            f"the path does not begin with its dataset, {cells.dataset!r}",
            where=f"{where}, column path",
        )
    if not _is_confidence(str(cells.confidence)):
        raise ArtifactError(
            f"{cells.confidence!r} is not a number between 0 and 1",
            where=f"{where}, column confidence",
        )
    if not all(split_labels(cells.label)):
        raise ArtifactError(
            f"{cells.label!r}: names with commas between them expected",
            where=f"{where}, column label",
        )


def _is_confidence(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _refuse_repeated(path: Path, hashes: frozenset[int]) -> None:
    row_by_path: dict[str, int] = {}
    for first, rows in _read_blocks(path):
        for number, row in enumerate(rows, first):
            if hash(row.path) not in hashes:
                continue
            if row.path in row_by_path:
                raise ArtifactError(
                    f"{row.path!r} stands in row {row_by_path[row.path]} already",
                    where=f"row {number}, column path",
                )
            row_by_path[row.path] = number
