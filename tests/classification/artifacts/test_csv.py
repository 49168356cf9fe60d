from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import _csv
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def table(
    path: Path, text: str | bytes, *, further_columns: bool = True
) -> list[_csv.Row]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(_csv.read(path, columns=("a", "b"), further_columns=further_columns))


def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path: Path) -> None:
    rows = table(tmp_path / "t.csv", '\ufeff a ,b,c\r\n1, 2 ,3\n\n,,\n"x\ny",nan,\n')
    assert rows == [
        _csv.Row(2, {"a": "1", "b": "2", "c": "3"}),
        _csv.Row(5, {"a": "x\ny", "b": "nan", "c": ""}),
    ]
    assert rows[1].where("b") == "row 5, column b"


def test_cells_hold_counts_and_shares(tmp_path: Path) -> None:
    (row,) = table(tmp_path / "t.csv", "a,b\n012,0.5\n")
    assert row.count("a") == 12
    assert row.share("b") == 0.5


@pytest.mark.parametrize("cell", ["", "x", "-1", "1.5", "²", "nan", "inf"])
def test_what_is_no_count_or_share_has_an_address(cell: str, tmp_path: Path) -> None:
    (row,) = table(tmp_path / "t.csv", f"a,b\n{cell},x\n")
    with pytest.raises(ArtifactError, match="row 2, column a: a whole number"):
        row.count("a")
    with pytest.raises(ArtifactError, match="row 2, column a: a number between"):
        row.share("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "row 1: the column a is missing; expected a,b"),
        ("\n\n", "row 1: the column a is missing; expected a,b"),
        ("a,c\n", "row 1: the column b is missing; expected a,b"),
        ("\na,b,a\n", "row 2: the column a stands twice; expected a,b"),
        ("a,b,c\n", "row 1: the column c is unknown; expected a,b"),
        ("a,b\n1\n", "row 2: 2 cells expected, 1 found"),
        ("a,b\n1,2,3\n", "row 2: 2 cells expected, 3 found"),
        ('a,b\n1,"2\n', "row 2: not CSV: unexpected end of data"),
        ('a,b\n1,"2"3\n', "row 2: not CSV: ',' expected after '\"'"),
        (
            "a,b\n1," + "x" * 200_000,
            "row 2: not CSV: field larger than field limit (131072)",
        ),
        (
            b"a,b\n1,\xff\n",
            "not UTF-8 text: 'utf-8' codec can't decode byte 0xff in position 6: invalid start byte",
        ),
    ],
)
def test_refuses(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refusal:
        table(tmp_path / "t.csv", text, further_columns=False)
    assert str(refusal.value) == message


def test_refuses_what_is_no_plain_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path):
        with pytest.raises(ArtifactError, match=r"^not a plain file$"):
            next(_csv.read(path, columns=()))
    with pytest.raises(ArtifactError, match=r"^cannot read: No such file"):
        next(_csv.read(tmp_path / "no", columns=()))


def test_a_carriage_return_in_a_cell_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with _csv.writing(path, ("a", "b")) as table:
        table.writerow(("1\r2", "3"))
    assert path.read_bytes() == b'a,b\n"1\r2",3\n'
    assert [row.cells for row in _csv.read(path, columns=("a", "b"))] == [
        {"a": "1\r2", "b": "3"}
    ]


def test_a_count_of_thousands_of_digits_is_none(tmp_path: Path) -> None:
    (row,) = table(tmp_path / "t.csv", f"a,b\n{'9' * 5000},x\n")
    with pytest.raises(ArtifactError, match="row 2, column a: a whole number"):
        row.count("a")
