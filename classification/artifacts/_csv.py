"""Small CSV tables that people edit: strict, row by row, with addresses.

A row's number is the one a spreadsheet shows: every row counts, the first is 1.
"""

from __future__ import annotations

import codecs
import csv
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from classification.artifacts import _limits
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_MOST_DIGITS = 18  # what 64 bits hold


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        number: as a spreadsheet shows it.
        cells: text by column, mostly without spaces at its ends.
    """

    number: int
    cells: Mapping[str, str]

    def where(self, column: str) -> str:
        """Returns the address of one cell."""
        return f"row {self.number}, column {column}"

    def share(self, column: str) -> float:
        """Returns a number in [0, 1].

        Raises:
            ArtifactError: the cell holds none.
        """
        try:
            value = float(self.cells[column])
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise ArtifactError(
                "a number between 0 and 1 expected", where=self.where(column)
            )
        return value

    def count(self, column: str) -> int:
        """Returns a whole number from 0 on.

        Raises:
            ArtifactError: the cell holds none.
        """
        text = self.cells[column]
        if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
            raise ArtifactError("a whole number expected", where=self.where(column))
        return int(text)


def read(
    path: Path,
    *,
    columns: Sequence[str],
    further_columns: bool = True,
    strip: bool = True,
    lines: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> Iterator[Row]:
    """Yields the rows below the header; empty rows are passed over.

    Args:
        path: UTF-8 text, with or without a byte order mark.
        columns: columns that must be there, in any order.
        further_columns: whether there may be others; they are kept.
        strip: take spaces off both ends of cells.
        lines: turns the lines of the file into the lines to parse, one for one.

    Raises:
        ArtifactError: the file is missing, is no such text, its header is another
            one, or a row has more or fewer cells than the header.
    """
    with _text(path) as file:
        records = _records(
            csv.reader(lines(_limits.lines(file)), strict=True), strip=strip
        )
        header = _header(records, columns, further_columns=further_columns)
        for number, cells in records:
            if len(cells) != len(header):
                raise ArtifactError(
                    f"{len(header)} cells expected, {len(cells)} found",
                    where=f"row {number}",
                )
            yield Row(number, dict(zip(header, cells, strict=True)))


@contextmanager
def writing(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Opens a table; yields a ``csv.writer`` for its rows.

    Text that is no UTF-8, such as a file's name, is written with escapes.

    Args:
        path: the file; it appears whole when the block ends well, or not at all.
        columns: the header, which is written first.
    """
    with replacing(path) as file:
        table = writer(codecs.getwriter("utf-8")(file, "backslashreplace"))
        table.writerow(columns)
        yield table


def writer(text: TextIO | codecs.StreamWriter) -> Any:  # noqa: ANN401 - csv names no type
    """Returns a ``csv.writer`` of rows that end with a line feed.

    A cell that holds a carriage return is quoted, as whoever reads it expects.
    """
    return csv.writer(_Lines(text), lineterminator="\r\n")


def number(value: float) -> str:
    """Returns the fewest digits that read back the same, and nothing for NaN."""
    return "" if math.isnan(value) else repr(float(value))


class _Lines:
    """Takes rows that end with both line ends, and writes the second alone.

    Python before 3.13 quotes no carriage return that is not part of the line end.
    """

    def __init__(self, text: TextIO | codecs.StreamWriter) -> None:
        self._write = text.write

    def write(self, row: str) -> None:
        """Writes one row."""
        self._write(row[:-2] + "\n")


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    try:
        if path.exists() and not path.is_file():
            raise ArtifactError("not a plain file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise ArtifactError(f"cannot read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"not UTF-8 text: {error}") from error


def _records(
    reader: Iterable[list[str]], *, strip: bool
) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        for record in reader:
            number += 1
            cells = [cell.strip() for cell in record] if strip else record
            if any(cells):
                yield number, cells
    except csv.Error as error:
        raise ArtifactError(f"not CSV: {error}", where=f"row {number + 1}") from error


def _header(
    records: Iterator[tuple[int, list[str]]],
    columns: Sequence[str],
    *,
    further_columns: bool,
) -> list[str]:
    number, header = next(records, (1, []))
    missing = [column for column in columns if column not in header]
    twice = [column for column in header if column and header.count(column) > 1]
    further = [] if further_columns else [c for c in header if c not in columns]
    for faulty, fault in (
        (missing, "is missing"),
        (twice, "stands twice"),
        (further, "is unknown"),
    ):
        if faulty:
            raise ArtifactError(
                f"the column {faulty[0]} {fault}; expected {','.join(columns)}",
                where=f"row {number}",
            )
    return header
