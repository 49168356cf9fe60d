from __future__ import annotations

import csv
import gzip
import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.artifacts import predictions
from classification.runtime.errors import ArtifactError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

PLAIN = "path,bear,deer\na.jpg___crop00.jpg,0.9,0.1\nb.jpg___crop00.jpg,0.25,0.75\n"


def save(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read_all(path: Path, rows: int = 4096) -> tuple[list[str], NDArray[np.float32]]:
    file = predictions.open_file(path)
    batches = list(file.batches(rows=rows))
    assert all(0 < len(batch.paths) <= rows for batch in batches)
    empty = np.empty((0, len(file.categories)), np.float32)
    paths = [name for batch in batches for name in batch.paths]
    return paths, np.concatenate([empty, *(batch.probabilities for batch in batches)])


def softmax(rows: int, categories: int, seed: int = 0) -> NDArray[np.float32]:
    raised = np.exp(np.random.default_rng(seed).normal(0, 3, (rows, categories)))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def refusal(path: Path) -> str:
    with pytest.raises(ArtifactError) as refused:
        for _ in predictions.open_file(path).batches():
            pass
    name, separator, rest = str(refused.value).partition(": ")
    assert (name, separator) == (str(path), ": ")
    assert "\n" not in rest
    return rest


def test_the_columns_are_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    numbers = np.array([[0.9, 0.1], [0.25, 0.75]], np.float32)
    names = ["a.jpg___crop00.jpg", "b.jpg___crop00.jpg"]
    assert predictions.write(path, ["bear", "deer"], [(names, numbers)]) == 2
    assert path.read_text() == PLAIN


TEXTS = st.text("ab,\"'; \n\r\u00e9#", min_size=1, max_size=5)


@settings(max_examples=50)
@given(
    categories=st.lists(TEXTS, unique=True, min_size=1, max_size=4),
    names=st.lists(TEXTS.map(lambda name: f"x{name}.jpg"), unique=True, max_size=9),
    rows=st.integers(1, 4),
    name=st.sampled_from(["out.csv", "out.csv.gz"]),
    data=st.data(),
)
def test_what_is_written_is_read_back(  # noqa: PLR0913 - one per property of the file
    tmp_path: Path,
    *,
    categories: list[str],
    names: list[str],
    rows: int,
    name: str,
    data: st.DataObject,
) -> None:
    number = st.floats(0, 1, width=32)
    row = st.lists(number, min_size=len(categories), max_size=len(categories))
    cells = data.draw(st.lists(row, min_size=len(names), max_size=len(names)))
    numbers = np.array(cells, np.float32).reshape(len(names), len(categories))
    starts = range(0, len(names), rows)
    batches = [(names[at : at + rows], numbers[at : at + rows]) for at in starts]
    path = tmp_path / name
    assert predictions.write(path, categories, batches) == len(names)
    assert predictions.open_file(path).categories == tuple(categories)
    read_names, read_numbers = read_all(path, rows)
    assert read_names == names
    np.testing.assert_array_equal(read_numbers, numbers)


def test_pandas_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "out.csv.gz"
    numbers = softmax(50, 7)
    names = [f'{index}, the "{index}".jpg' for index in range(50)]
    categories = ["a,b", 'say "c"', *"defgh"]
    predictions.write(path, categories, [(names, numbers)])
    frame = pd.read_csv(path)
    assert list(frame.columns) == ["path", *categories]
    assert list(frame["path"]) == names
    # pandas parses in double precision, give or take its last bit.
    np.testing.assert_array_equal(frame[categories].astype(np.float32), numbers)


def test_numbers_are_written_in_the_fewest_digits_that_read_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.csv"
    numbers = softmax(100, 5)
    names = [f"{index}.jpg" for index in range(100)]
    predictions.write(path, "abcde", [(names, numbers)])
    with path.open(newline="") as file:
        cells = [row[1:] for row in csv.reader(file)][1:]
    for row, expected in zip(cells, numbers, strict=True):
        for cell, number in zip(row, expected, strict=True):
            assert np.float32(cell) == number
            digits = cell.replace(".", "").lstrip("0").partition("e")[0]
            shortest = np.format_float_scientific(number, trim="-").partition("e")[0]
            assert len(digits) == len(shortest.replace(".", ""))


def test_double_precision_survives(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    numbers = np.random.default_rng(0).random((20, 3))
    names = [f"{index}.jpg" for index in range(20)]
    predictions.write(path, "abc", [(names, numbers)])
    (batch,) = predictions.open_file(path).float64_batches()
    np.testing.assert_array_equal(batch.probabilities, numbers)


def test_a_decimal_is_read_as_the_nearest_double_not_float(tmp_path: Path) -> None:
    path = save(tmp_path / "out.csv", "path,bear\na.jpg,0.7\n")
    (batch,) = predictions.open_file(path).float64_batches()
    assert batch.probabilities[0, 0] == 0.7


def test_d51_a_compressed_file_is_one_member_without_clock_or_name(
    tmp_path: Path,
) -> None:
    numbers = softmax(40, 3)
    names = [f"{index}.jpg" for index in range(40)]
    contents = []
    for stem, rows in (("one", 7), ("two", 40)):
        path = tmp_path / f"{stem}.csv.gz"
        batches = [
            (names[at : at + rows], numbers[at : at + rows])
            for at in range(0, 40, rows)
        ]
        predictions.write(path, "abc", batches)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    flags, mtime = contents[0][3], contents[0][4:8]
    assert (flags, mtime) == (0, b"\0\0\0\0")
    assert contents[0].count(b"\x1f\x8b\x08") == 1


def test_a_file_of_many_members_is_read(tmp_path: Path) -> None:
    header, *rows = PLAIN.splitlines(keepends=True)
    members = [gzip.compress(part.encode()) for part in (header, *rows)]
    path = save(tmp_path / "out.csv.gz", b"".join(members))
    assert read_all(path)[0] == ["a.jpg___crop00.jpg", "b.jpg___crop00.jpg"]


def test_an_evaluation_output_is_read_with_its_labels(tmp_path: Path) -> None:
    path = tmp_path / "outputs_test.csv.gz"
    evaluated = predictions.Evaluated(
        paths=["ds/a.jpg___crop00.jpg", "ds/b.jpg___crop00.jpg"],
        labels=["bear", "deer, other"],
        weights=np.array([1, 0.5], np.float32),
        probabilities=np.array([[0.9, 0.1], [0.25, 0.75]], np.float32),
    )
    assert predictions.write_evaluated(path, ["bear", "deer, other"], [evaluated]) == 2
    assert gzip.decompress(path.read_bytes()).decode() == (
        'path,label,weight,bear,"deer, other"\n'
        "ds/a.jpg___crop00.jpg,bear,1,0.9,0.1\n"
        'ds/b.jpg___crop00.jpg,"deer, other",0.5,0.25,0.75\n'
    )
    file = predictions.open_file(path)
    assert file.has_label
    assert file.categories == ("bear", "deer, other")
    (batch,) = file.batches()
    assert batch.labels == evaluated.labels
    np.testing.assert_array_equal(batch.probabilities, evaluated.probabilities)


def test_windows_line_ends_a_byte_order_mark_and_another_order_are_read(
    tmp_path: Path,
) -> None:
    path = save(tmp_path / "out.csv", b"\xef\xbb\xbfbear,path\r\n0.5,a.jpg\r\n")
    assert read_all(path) == (["a.jpg"], np.array([[0.5]], np.float32))


def test_many_blocks_with_quoted_line_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "_BLOCK_BYTES", 37)
    names = [f'{index}\n{"x" * (index % 5)}".jpg' for index in range(200)]
    numbers = softmax(200, 3)
    path = tmp_path / "out.csv.gz"
    predictions.write(path, ["a\nb", "c", "d"], [(names, numbers)])
    read_names, read_numbers = read_all(path, rows=3)
    assert read_names == names
    np.testing.assert_array_equal(read_numbers, numbers)


def row(text: str) -> str:
    return PLAIN + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty; a header with the column path expected"),
        ("\n", "empty; a header with the column path expected"),
        ("x,y\n", "no column path; run_classifier writes one"),
        ("path,a,a\n", "row 1: the column 'a' stands twice"),
        ("path,a,\n", "row 1: column 3 has no name"),
        (row("c.jpg,0.5\n"), "row 4: 2 cells, but the header has 3"),
        (row("c.jpg,0.5,0.5,0\n"), "row 4: 4 cells, but the header has 3"),
        (row("\n"), "row 4: 0 cells, but the header has 3"),
        (
            row("c.jpg,0.5,x\n"),
            "row 4, column deer: 'x' is not a number between 0 and 1",
        ),
        (
            row("c.jpg,0.5,\n"),
            "row 4, column deer: '' is not a number between 0 and 1",
        ),
        (
            row("c.jpg,nan,0.5\n"),
            "row 4, column bear: 'nan' is not a number between 0 and 1",
        ),
        (
            row("c.jpg,0.5,inf\n"),
            "row 4, column deer: 'inf' is not a number between 0 and 1",
        ),
        (
            row("c.jpg,0.5,1.3\n"),
            "row 4, column deer: '1.3' is not a number between 0 and 1",
        ),
        (
            row("c.jpg,-0.1,1\n"),
            "row 4, column bear: '-0.1' is not a number between 0 and 1",
        ),
        (row("../c.jpg,0,1\n"), "row 4, column path: '../c.jpg' leaves its folder"),
        (row("c\0.jpg,0,1\n"), "row 4, column path: 'c\\x00.jpg' holds a NUL"),
        (
            row("c\\d.jpg,0,1\n"),
            "row 4, column path: 'c\\\\d.jpg' holds a backslash; names use /",
        ),
        (row(",0,1\n"), "row 4, column path: '' names no file"),
        (
            row("a.jpg___crop00.jpg,0,1\n"),
            "row 4, column path: 'a.jpg___crop00.jpg' stands twice",
        ),
        (row("c.jpg,0,1"), "the last row has no line end: the file is truncated"),
        (PLAIN[:-9], "the last row has no line end: the file is truncated"),
        ('path,a\n"x.jpg,0.5\n', "the last row has no line end: the file is truncated"),
        ('path,"a', "not CSV: unexpected end of data"),
    ],
)
def test_what_breaks_the_format_is_refused_with_its_address(
    tmp_path: Path, content: str, message: str
) -> None:
    assert refusal(save(tmp_path / "out.csv", content)) == message
    packed = gzip.compress(content.encode())
    assert refusal(save(tmp_path / "out.csv.gz", packed)) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda packed: packed[:-30],
            (
                "damaged or truncated gzip: Compressed file ended before the "
                "end-of-stream marker was reached"
            ),
        ),
        (
            lambda packed: packed + b"x",
            "damaged or truncated gzip: Not a gzipped file (b'x')",
        ),
        (
            lambda packed: packed[:-8] + b"\0" * 8,
            "damaged or truncated gzip: CRC check failed",
        ),
    ],
    ids=["truncated", "trailing", "crc"],
)
def test_a_damaged_archive_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    rows = "".join(f"{number}.jpg,0,1\n" for number in range(1000))
    packed = gzip.compress(row(rows).encode())
    path = save(tmp_path / "out.csv.gz", change(packed))
    assert refusal(path).startswith(message)


def test_latin_1_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "out.csv", row("\u00e9.jpg,0,1\n").encode("latin-1"))
    assert refusal(path).startswith("not CSV: 'utf-8' codec can't decode byte 0xe9")


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x.csv") == "cannot read: No such file or directory"
    assert refusal(tmp_path) == "not a plain file"
    os.mkfifo(tmp_path / "pipe.csv")
    assert refusal(tmp_path / "pipe.csv") == "not a plain file"


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (["a", "path"], "row 1: the column 'path' stands twice"),
        (["a", "a"], "row 1: the column 'a' stands twice"),
        ([""], "row 1: column 2 has no name"),
        ([], "no categories to write"),
    ],
)
def test_categories_that_are_no_columns_are_not_written(
    tmp_path: Path, categories: list[str], message: str
) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(ArtifactError) as refused:
        predictions.write(path, categories, [])
    assert str(refused.value) == f"{path}: {message}"
    assert not path.exists()


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    def batches() -> Any:  # noqa: ANN401 - a generator
        yield ["a.jpg"], np.ones((1, 1), np.float32)
        raise ArtifactError("late")

    with pytest.raises(ArtifactError):
        predictions.write(tmp_path / "out.csv.gz", ["a"], batches())
    assert not list(tmp_path.iterdir())


def test_the_text_is_that_of_the_module_description() -> None:
    """The example in the docstring is a file of this format."""
    example = (predictions.__doc__ or "").split("::\n\n")[1].split("\n\n")[0]
    rows = list(csv.reader(io.StringIO(example.replace("    ", ""))))
    assert rows[0][0] == predictions.PATH
    assert {len(cells) for cells in rows} == {3}


def test_outputs_are_found_by_their_name(tmp_path: Path) -> None:
    for name in ("outputs_val.csv.gz", "outputs_.csv.gz", "outputs_a.csv", "x.csv.gz"):
        (tmp_path / name).touch()
    path = tmp_path / predictions.outputs_name("test")
    path.touch()
    assert predictions.find_outputs(tmp_path) == {
        "test": path,
        "val": tmp_path / "outputs_val.csv.gz",
    }
    with pytest.raises(StorageError, match="cannot read"):
        predictions.find_outputs(tmp_path / "gone")
