"""Classifier output, ``.csv`` or ``.csv.gz``: a probability per crop and category.

Written by ``run_classifier``, ``aggregate_classifier_probs`` (``…_remapped.csv``: a column
per target, sorted by name) and ``evaluate_model`` (``outputs_{split}.csv.gz``: with the
columns ``label`` and ``weight``); read by ``aggregate_classifier_probs``,
``merge_classification_detection_output``, ``calibrate_classifier`` and ``report_results``::

    path,bear,deer
    a/b.JPG___crop00_md_v5a.0.0.pt.jpg,0.90282,0.09718

    path,label,weight,bear,deer
    ds/a/b.JPG___crop00_mdv4.1.jpg,deer,1,0.90282,0.09718

``path`` is the crop's name relative to the crops folder and stands once. Probabilities
are in [0, 1]; what a classifier computed in float32 is written in the fewest digits that
read back to the same float32. Any other column than ``path``, ``label`` and ``weight``
is a category. A file written here is one gzip member without clock or name, so that the
same predictions give the same bytes; files of many members are read, too. Every row ends
with a line end, which a truncated file lacks. Addresses count rows as a spreadsheet does:
the header is row 1.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import math
import re
import zlib
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Generic,
    NamedTuple,
    NoReturn,
    TypeAlias,
    TypeVar,
)

import numpy as np

from classification.artifacts import _limits, _names, layout
from classification.runtime import parallel
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError, StorageError, in_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PATH, LABEL, WEIGHT = "path", "label", "weight"
RESERVED = (PATH, LABEL, WEIGHT)
ENDINGS = (".csv", ".csv.gz")  # of its name

# Of 100,000 x 169 probabilities, level 4 makes a file 5 % larger than level 9 does, in
# an eighth of the time.
_GZIP_LEVEL = 4
_WHOLE_ROWS = re.compile(rb'(?:[^"\n]*+(?:"[^"]*+"[^"\n]*+)*+\n)*+')
_BLOCK_BYTES = 4 << 20
_BULK_NUMBERS = 1 << 18
_ROUNDING = 1e-3  # sums of float32 probabilities leave [0, 1] by less than this
_NEEDS_QUOTES = frozenset(',"\r\n')

_OUTPUTS = re.compile(r"outputs_([A-Za-z0-9_-]+)\.csv\.gz")

FloatT = TypeVar("FloatT", np.float32, np.float64)
# The text of each row's first columns, and its numbers, shape [rows, categories].
_Rows: TypeAlias = "tuple[Sequence[str], NDArray[FloatT]]"


@dataclass(frozen=True)
class Predictions(Generic[FloatT]):
    """Some rows of the file.

    Attributes:
        paths: names of the crops.
        probabilities: shape [rows, categories], in [0, 1].
        labels: true label of each crop, or None where the file has none.
    """

    paths: list[str]
    probabilities: NDArray[FloatT]
    labels: list[str] | None


class Evaluated(NamedTuple):
    """Some rows to write, with what is true of them.

    Attributes:
        paths: names of the crops.
        labels: true label of each crop.
        weights: weight of each crop, shape [rows].
        probabilities: shape [rows, categories], in [0, 1].
    """

    paths: Sequence[str]
    labels: Sequence[str]
    weights: NDArray[np.float32]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class PredictionsFile:
    """A classifier output whose header was checked; rows are checked when read.

    Attributes:
        path: where it is.
        columns: names of all columns, in file order.
    """

    path: Path
    columns: tuple[str, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """Returns the names of the categories, in file order."""
        return tuple(name for name in self.columns if name not in RESERVED)

    @property
    def has_label(self) -> bool:
        """Says whether the file holds each crop's true label."""
        return LABEL in self.columns

    def batches(self, *, rows: int = 4096) -> Iterator[Predictions[np.float32]]:
        """Yields all rows in file order, at most ``rows`` at a time.

        Raises:
            ArtifactError: a row breaks the format, or a path stands twice; with its
                row and column. Repetitions are known after the last batch.
        """
        return self._read(rows, np.float32)

    def float64_batches(self, *, rows: int = 4096) -> Iterator[Predictions[np.float64]]:
        """Yields what ``batches`` does, as the doubles nearest to the file's text."""
        return self._read(rows, np.float64)

    def _read(self, rows: int, dtype: type[FloatT]) -> Iterator[Predictions[FloatT]]:
        seen = _names.SeenNames()
        with in_file(self.path):
            # While these rows are used, the next ones are unpacked and parsed.
            for batch in parallel.ahead(_parse_blocks(self, dtype)):
                seen.add(batch.paths)
                for start in range(0, len(batch.paths), rows):
                    yield _rows_of(batch, slice(start, start + rows))
            if repeated := seen.repeated_hashes():
                _refuse_repeated(self, repeated)


def outputs_name(split: str) -> str:
    """Returns the name of the file that holds the probabilities of a split."""
    return f"outputs_{split}.csv.gz"


def find_outputs(folder: Path) -> dict[str, Path]:
    """Returns the files of a folder that ``outputs_name`` names, by split, sorted.

    Raises:
        StorageError: the folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror}") from error
    return {
        match[1]: path for path in paths if (match := _OUTPUTS.fullmatch(path.name))
    }


def open_file(path: Path) -> PredictionsFile:
    """Reads and checks the header of a classifier output.

    Raises:
        ArtifactError: the file is missing, empty or no CSV, has no column ``path``,
            or a column stands twice.
    """
    with in_file(path), _open_text(path) as text:
        header = next(_records(text), None)
        if not header:
            raise ArtifactError("empty; a header with the column path expected")
        _check_header(header)
    return PredictionsFile(path, tuple(header))


def write(
    path: Path,
    categories: Sequence[str],
    batches: Iterable[tuple[Sequence[str], NDArray[FloatT]]],
) -> int:
    """Writes a classifier output, streaming; compressed if ``path`` ends in ``.gz``.

    Args:
        path: the file; it appears whole or not at all.
        categories: names of the columns.
        batches: paths and their probabilities, shape [rows, categories].

    Returns:
        The number of rows written.
    """
    blocks = (
        (_quoted(paths), probabilities) for paths, probabilities in batches if paths
    )
    return _write(path, (PATH, *categories), blocks)


def write_evaluated(
    path: Path, categories: Sequence[str], batches: Iterable[Evaluated]
) -> int:
    """Writes a classifier output with ``label`` and ``weight``; see ``write``."""
    blocks = (
        (
            [
                f"{name},{label},{weight}"
                for name, label, weight in zip(
                    _quoted(batch.paths),
                    _quoted(batch.labels),
                    _lines_of(batch.weights[:, np.newaxis]),
                    strict=True,
                )
            ],
            batch.probabilities,
        )
        for batch in batches
        if batch.paths
    )
    return _write(path, (*RESERVED, *categories), blocks)


def join(path: Path, sources: Sequence[Path]) -> int:
    """Puts the rows of several classifier outputs one behind the other; see ``write``.

    Args:
        path: the file to write.
        sources: in order, of the same categories; written by ``write``.

    Returns:
        The number of rows written.

    Raises:
        ArtifactError: one breaks the format, has other categories than the first, or a
            path of another.
    """
    files = [open_file(source) for source in sources]
    for file in files:
        if file.columns != (PATH, *files[0].categories):
            raise ArtifactError(
                f"other columns than path and the categories of {files[0].path}",
                where=str(file.path),
            )

    def named() -> Iterator[
        tuple[Path, list[str], tuple[list[str], NDArray[np.float32]]]
    ]:
        for file in files:
            for batch in file.batches():
                yield file.path, batch.paths, (batch.paths, batch.probabilities)

    return write(path, files[0].categories, _names.once(named(), named))


def _write(
    path: Path,
    columns: Sequence[str],
    blocks: Iterable[_Rows[FloatT]],
) -> int:
    """Writes rows given as the text of their first columns and their numbers."""
    with in_file(path):
        _check_header(columns)
        if set(columns) <= set(RESERVED):
            raise ArtifactError("no categories to write")
    rows = 0
    with replacing(path) as file, _compressing(file, path) as out:
        out.write((",".join(_quoted(columns)) + "\n").encode())
        # While one block is formatted, the one before it is compressed.
        texts = parallel.ordered_map(_format, _in_bulk(blocks), threads=2, ahead=1)
        for count, text in texts:
            out.write(text)
            rows += count
    return rows


def _in_bulk(blocks: Iterable[_Rows[FloatT]]) -> Iterator[list[_Rows[FloatT]]]:
    """Puts small blocks together: formatting has a price per block."""
    held: list[_Rows[FloatT]] = []
    size = 0
    for block in blocks:
        held.append(block)
        size += block[1].size
        if size >= _BULK_NUMBERS:
            yield held
            held, size = [], 0
    if held:
        yield held


def _format(blocks: list[_Rows[FloatT]]) -> tuple[int, bytes]:
    """Returns the number of rows and their text."""
    starts = [start for some, _ in blocks for start in some]
    lines = zip(
        starts, _lines_of(np.concatenate([rows for _, rows in blocks])), strict=True
    )
    return len(starts), "".join(f"{one},{line}\n" for one, line in lines).encode()


@contextlib.contextmanager
def _compressing(file: BinaryIO, path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    if path.suffix != ".gz":
        yield file
        return
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed:
        yield packed


def _lines_of(numbers: NDArray[FloatT]) -> list[str]:
    """Formats each row as comma-separated numbers in the fewest exact digits."""
    import pyarrow as pa  # noqa: PLC0415 - heavy; --help must not load it
    from pyarrow import csv as arrow_csv  # noqa: PLC0415 - as above

    sink = pa.BufferOutputStream()
    column = pa.table([pa.array(numbers.reshape(-1))], names=["x"])
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="none")
    arrow_csv.write_csv(column, sink, options)
    # One number per line was written; all line ends but the last of a row become commas.
    text = np.frombuffer(sink.getvalue(), np.uint8).copy()
    ends = np.flatnonzero(text == ord("\n")).reshape(numbers.shape)
    text[ends[:, :-1].ravel()] = ord(",")
    return text.tobytes().decode().split("\n")[:-1]


def _quoted(texts: Sequence[str]) -> list[str]:
    return [
        text if _NEEDS_QUOTES.isdisjoint(text) else '"' + text.replace('"', '""') + '"'
        for text in texts
    ]


def _check_header(columns: Sequence[str]) -> None:
    if PATH not in columns:
        raise ArtifactError("no column path; run_classifier writes one")
    seen = set()
    for number, name in enumerate(columns, 1):
        if not name:
            raise ArtifactError(f"column {number} has no name", where="row 1")
        if name in seen:
            raise ArtifactError(f"the column {name!r} stands twice", where="row 1")
        seen.add(name)


@contextlib.contextmanager
def _open_binary(path: Path) -> Iterator[BinaryIO]:
    """Opens the file, unpacked; damage found while it is read is an ArtifactError."""
    if path.exists() and not path.is_file():
        raise ArtifactError("not a plain file")
    try:
        with path.open("rb") as file, _unpacking(file) as unpacked:
            yield unpacked
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ArtifactError(f"damaged or truncated gzip: {error}") from error
    except OSError as error:
        raise ArtifactError(f"cannot read: {error.strerror}") from error


@contextlib.contextmanager
def _unpacking(file: BinaryIO) -> Iterator[BinaryIO]:
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not packed:
        yield file
        return
    with gzip.GzipFile(fileobj=file) as unpacked:
        yield unpacked  # type: ignore[misc]  # it is a BinaryIO in all but name


@contextlib.contextmanager
def _open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    with (
        _open_binary(path) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        yield text


def _records(text: io.TextIOWrapper) -> Iterator[list[str]]:
    try:
        yield from csv.reader(_limits.lines(text), strict=True)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ArtifactError(f"not CSV: {error}") from error


def _parse_blocks(
    file: PredictionsFile, dtype: type[FloatT]
) -> Iterator[Predictions[FloatT]]:
    parse = _block_parser(file, dtype)
    with _open_binary(file.path) as binary:
        for number, block in enumerate(_whole_rows(binary)):
            batch = parse(block, 0 if number else 1)
            if batch is None:
                _refuse_first_fault(file)
            elif batch.paths:
                yield batch


def _whole_rows(file: BinaryIO) -> Iterator[bytes]:
    """Cuts the file into blocks that end where a row ends."""
    rest = b""
    lines = 0
    while piece := file.read(
        min(max(_BLOCK_BYTES, len(rest)), _limits.LONGEST + 1 - len(rest))
    ):
        rest += piece
        if end := _end_of_rows(rest):
            yield rest[:end]
            lines += rest.count(b"\n", 0, end)
            rest = rest[end:]
        if len(rest) > _limits.LONGEST:
            raise _limits.too_long(f"line {lines + 1}")
    if rest:
        raise ArtifactError("the last row has no line end: the file is truncated")


def _end_of_rows(block: bytes) -> int:
    """Returns where the last whole row ends; a line end between quotes ends none."""
    end = block.rfind(b"\n") + 1
    if block.count(b'"', 0, end) % 2 == 0:
        return end
    rows = _WHOLE_ROWS.match(block)
    return rows.end() if rows else 0


def _block_parser(
    file: PredictionsFile, dtype: type[FloatT]
) -> Callable[[bytes, int], Predictions[FloatT] | None]:
    """Returns a function that parses rows, given how many rows of them to skip.

    It returns None where any row breaks the format.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy; --help must not load it
    from pyarrow import csv as arrow_csv  # noqa: PLC0415 - as above

    number = pa.from_numpy_dtype(dtype)
    wanted = [name for name in file.columns if name != WEIGHT]
    text = {PATH, LABEL}
    convert = arrow_csv.ConvertOptions(
        column_types={name: pa.string() if name in text else number for name in wanted},
        include_columns=wanted,
        null_values=[],
        strings_can_be_null=False,
    )
    options = arrow_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)

    def parse(block: bytes, skip: int) -> Predictions[FloatT] | None:
        reading = arrow_csv.ReadOptions(
            column_names=list(file.columns),
            skip_rows_after_names=skip,
            use_threads=False,
            block_size=max(len(block), 1),
        )
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(block), reading, options, convert
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            return None
        batch = _to_predictions(file, table, dtype)
        return batch if _is_sound(batch) else None

    return parse


def _to_predictions(
    file: PredictionsFile,
    table: Any,  # noqa: ANN401 - a pyarrow.Table; pyarrow has no types
    dtype: type[FloatT],
) -> Predictions[FloatT]:
    categories = file.categories
    numbers = np.empty((len(categories), table.num_rows), dtype)
    for row, name in zip(numbers, categories, strict=True):
        row[:] = table.column(name).to_numpy()
    return Predictions(
        table.column(PATH).to_pylist(),
        np.ascontiguousarray(numbers.T),
        table.column(LABEL).to_pylist() if file.has_label else None,
    )


def _is_sound(batch: Predictions[FloatT]) -> bool:
    # A NaN makes both comparisons false.
    in_range = batch.probabilities.size == 0 or bool(
        batch.probabilities.min() >= -_ROUNDING
        and batch.probabilities.max() <= 1 + _ROUNDING
    )
    return in_range and _names.find_unsafe(batch.paths) is None


def _rows_of(batch: Predictions[FloatT], rows: slice) -> Predictions[FloatT]:
    return Predictions(
        batch.paths[rows],
        batch.probabilities[rows],
        None if batch.labels is None else batch.labels[rows],
    )


def _refuse_first_fault(file: PredictionsFile) -> NoReturn:
    """Reads the file again, slowly, to say which cell is wrong."""
    with _open_text(file.path) as text:
        for row, record in enumerate(_records(text), 1):
            if row > 1:
                _check_record(file, record, f"row {row}")
    raise ArtifactError("not CSV")


def _check_record(file: PredictionsFile, record: list[str], where: str) -> None:
    if len(record) != len(file.columns):
        raise ArtifactError(
            f"{len(record)} cells, but the header has {len(file.columns)}", where=where
        )
    for name, cell in zip(file.columns, record, strict=True):
        address = f"{where}, column {name}"
        if name == PATH:
            layout.checked_name(cell, where=address)
        elif name not in RESERVED and not _is_probability(cell):
            raise ArtifactError(
                f"{cell!r} is not a number between 0 and 1", where=address
            )


def _is_probability(cell: str) -> bool:
    try:
        value = float(cell)
    except ValueError:
        return False
    return math.isfinite(value) and -_ROUNDING <= value <= 1 + _ROUNDING


def _refuse_repeated(file: PredictionsFile, hashes: frozenset[int]) -> None:
    seen = set()
    column = file.columns.index(PATH)
    with _open_text(file.path) as text:
        for row, record in enumerate(_records(text), 1):
            path = record[column]
            if hash(path) not in hashes:
                continue
            if path in seen:
                where = f"row {row}, column {PATH}"
                raise ArtifactError(f"{path!r} stands twice", where=where)
            seen.add(path)
