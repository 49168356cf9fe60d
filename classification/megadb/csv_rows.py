"""Reads very large CSV tables that others made, a block of rows at a time."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from classification.artifacts import _limits
from classification.megadb.sources import Member, open_bytes
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyarrow import csv as arrow_csv

UTF_8 = "utf-8"
NUMBER = "number"
_SUFFIX = ".csv"
# A row must be shorter than this.
_BLOCK_BYTES = 8 << 20
_OTHER_DELIMITERS = (";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Form:
    """How a table is written down.

    Attributes:
        delimiter: what stands between cells.
        encoding: name of the text's encoding; a byte order mark is no part of the text.
        delimiter_hint: how a user sets the delimiter ``{}``, for messages.
        encoding_hint: how a user sets the encoding.
    """

    delimiter: str = ","
    encoding: str = UTF_8
    delimiter_hint: str = field(default="--delimiter '{}'", compare=False)
    encoding_hint: str = field(default="--encoding", compare=False)

    def codec(self) -> codecs.CodecInfo:
        """Returns how the text is decoded.

        Raises:
            ConfigurationError: there is no such encoding.
        """
        name = "utf-8-sig" if _is_utf_8(self.encoding) else self.encoding
        try:
            # There are codecs of other things than text, which only this refuses.
            io.TextIOWrapper(io.BytesIO(), encoding=name)
            return codecs.lookup(name)
        except LookupError:
            raise ConfigurationError(f"unknown encoding {self.encoding!r}") from None


def _is_utf_8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in {UTF_8, "utf8"}


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows.

    Attributes:
        rows: the columns that were asked for, as text, and ``number``: which row of the
            file it is, as a spreadsheet counts; the header is row 1.
        ragged: numbers of rows that have more or fewer cells than the header.
    """

    rows: pa.Table
    ragged: list[int]


def header(path: Path | Member, form: Form) -> list[str]:
    """Returns the names of the columns, without spaces at their ends.

    Raises:
        ArtifactError: there is no text table; or its only column looks as if cells were
            separated by something else.
    """
    with open_bytes(path, _SUFFIX) as file:
        text = io.TextIOWrapper(
            io.BufferedReader(_Utf8(file, form)), encoding=UTF_8, newline=""
        )
        try:
            rows = csv.reader(
                _limits.lines(text), delimiter=form.delimiter, strict=True
            )
            names = next(rows, [])
        except csv.Error as error:
            raise ArtifactError(f"not CSV: {error}", where="row 1") from error
    names = [name.strip() for name in names]
    if not any(names):
        raise ArtifactError("the names of the columns expected", where="row 1")
    if len(names) == 1:
        _suspect_delimiter(names[0], form)
    return names


def _suspect_delimiter(name: str, form: Form) -> None:
    for other in (",", *_OTHER_DELIMITERS):
        if other in name and other != form.delimiter:
            shown = "tab" if other == "\t" else other
            raise ArtifactError(
                f"a single column, {name!r}; cells that are separated by "
                f"{other!r} are read with {form.delimiter_hint.format(shown)}",
                where="row 1",
            )


def blocks(
    path: Path | Member, form: Form, names: Sequence[str], columns: Sequence[int]
) -> Iterator[Block]:
    """Yields the rows below the header.

    Args:
        path: the table; ``.gz``, and a ``.zip`` of one ``.csv``, are unpacked.
        form: how it is written down.
        names: its header.
        columns: positions of the columns to read; they are named by their position.

    Raises:
        ArtifactError: it is no such table.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

    counter = _RowCounter()
    with open_bytes(path, _SUFFIX) as file:
        text = _Utf8(file, form)
        try:
            for batch in _open(text, form, names, columns, counter):
                yield counter.block_of(pa.Table.from_batches([batch]))
        except pa.ArrowInvalid as error:
            raise _explain(error, counter.next_number) from error
    counter.refuse_open_quote(text.quotes)
    yield Block(_no_rows(columns), counter.ragged)


def _explain(error: Exception, row: int) -> ArtifactError:
    reason = str(error).splitlines()[0]
    if "straddling" in reason:
        size = _BLOCK_BYTES >> 20
        return ArtifactError(
            f"a row of more than {size} MiB; is there a quote that never ends?",
            where=f"row {row}",
        )
    return ArtifactError(f"not CSV: {reason}")


def _open(
    file: _Utf8,
    form: Form,
    names: Sequence[str],
    columns: Sequence[int],
    counter: _RowCounter,
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow import csv as arrow_csv  # noqa: PLC0415

    wanted = [str(column) for column in columns]
    return iter(
        arrow_csv.open_csv(
            file,
            arrow_csv.ReadOptions(
                # Otherwise nobody says which row it is that has too many cells.
                use_threads=False,
                block_size=_BLOCK_BYTES,
                column_names=[str(place) for place in range(len(names))],
                skip_rows_after_names=1,
            ),
            arrow_csv.ParseOptions(
                delimiter=form.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=counter.skip,
            ),
            arrow_csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                strings_can_be_null=False,
            ),
        )
    )


def _no_rows(columns: Sequence[int]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - as above

    fields = [(str(column), pa.string()) for column in columns]
    return pa.schema([*fields, (NUMBER, pa.int64())]).empty_table()


@dataclass(slots=True)
class _RowCounter:
    """Knows the number of each row, although ragged rows are not among the rows.

    Attributes:
        next_number: of the next row that is not ragged, or a later one.
        ragged: numbers of ragged rows that were not passed on yet.
        broken: the last whole row of a block, and the last ragged row, of those that go
            over several lines.
    """

    next_number: int = 2
    ragged: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=lambda: [0, 0])

    def skip(self, row: arrow_csv.InvalidRow) -> str:
        self.ragged.append(row.number)
        if "\n" in row.text.rstrip("\r\n"):
            self.broken[1] = row.number
        return "skip"

    def refuse_open_quote(self, quotes: int) -> None:
        """Refuses a table that one quote, which never ends, has swallowed the end of.

        Raises:
            ArtifactError: the last row goes over several lines, and not every quote of
                the table has a partner.
        """
        last = max([self.next_number - 1, *self.ragged])
        if quotes % 2 and last in self.broken:
            raise ArtifactError(
                "a quote opens in this row and never ends", where=f"row {last}"
            )

    def block_of(self, rows: pa.Table) -> Block:
        import pyarrow as pa  # noqa: PLC0415 - as above

        numbers = self._numbers(rows.num_rows)
        passed = [number for number in self.ragged if number < self.next_number]
        self.ragged = self.ragged[len(passed) :]
        if any("\n" in (cells[-1].as_py() or "") for cells in rows.columns if rows):
            self.broken[0] = self.next_number - 1
        return Block(rows.append_column(NUMBER, pa.array(numbers)), passed)

    def _numbers(self, count: int) -> NDArray[np.int64]:
        end = self.next_number + count + len(self.ragged)
        numbers = np.arange(self.next_number, end, dtype=np.int64)
        numbers = numbers[~np.isin(numbers, self.ragged)][:count]
        if count:
            self.next_number = int(numbers[-1]) + 1
        return numbers


class _Utf8(io.RawIOBase):
    """Text of any encoding as UTF-8, and nothing that is not such text.

    Attributes:
        quotes: how many have been read.
    """

    def __init__(self, file: BinaryIO, form: Form) -> None:
        self.quotes = 0
        self._file = file
        self._form = form
        self._decoder = form.codec().incrementaldecoder()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # pyarrow and io pass a memoryview
        size = len(buffer)
        while not self._waiting:
            data = self._file.read(size)
            self._waiting = self._decode(data)
            if not data:
                break
        taken = self._waiting[:size]
        self._waiting = self._waiting[size:]
        buffer[: len(taken)] = taken
        return len(taken)

    def _decode(self, data: bytes) -> bytes:
        try:
            text = self._decoder.decode(data, final=not data).encode()
        except UnicodeError as error:
            reason = getattr(error, "reason", str(error))
            raise ArtifactError(
                f"not {self._form.encoding} text: {reason}; {self._form.encoding_hint} "
                "names another encoding, such as cp1252"
            ) from error
        self.quotes += text.count(b'"')
        return text
