from __future__ import annotations

import gzip
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.megadb import csv_rows
from classification.megadb.csv_rows import NUMBER, Form
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, form: Form = Form()) -> tuple[list[list[object]], list[int]]:  # noqa: B008 - frozen
    """Returns [number, cell, …] of each row, and the numbers of ragged ones."""
    names = csv_rows.header(path, form)
    rows: list[list[object]] = []
    ragged: list[int] = []
    for block in csv_rows.blocks(path, form, names, range(len(names))):
        columns = [str(place) for place in range(len(names))]
        chosen = block.rows.select([NUMBER, *columns]).to_pylist()
        rows += [list(row.values()) for row in chosen]
        ragged += block.ragged
    return rows, ragged


def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path: Path) -> None:
    table = 'file,label\n"a\nb.jpg",elk\n\nc.jpg\nd.jpg,x,y\n"e ""1"".jpg","x,y"\n,\n'
    assert read(written(tmp_path / "t.csv", table)) == (
        [
            *([2, "a\nb.jpg", "elk"], [3, "", ""]),
            *([6, 'e "1".jpg', "x,y"], [7, "", ""]),
        ],
        [4, 5],
    )


def test_numbers_stay_right_over_many_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "_BLOCK_BYTES", 64)
    lines = [f"f{n},x" if n % 7 else f"f{n}" for n in range(2, 500)]
    rows, ragged = read(written(tmp_path / "t.csv", "\n".join(["file,label", *lines])))
    assert [(row[0], row[1]) for row in rows] == [
        (n, f"f{n}") for n in range(2, 500) if n % 7
    ]
    assert ragged == [n for n in range(2, 500) if n % 7 == 0]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zip"])
def test_packed_tables_are_unpacked(tmp_path: Path, suffix: str) -> None:
    path, content = tmp_path / f"t{suffix}", b"file\na.jpg\n"
    if suffix.endswith("zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inside.csv", content)
    else:
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    assert read(path) == ([[2, "a.jpg"]], [])


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("utf-8", "\ufefffile\nñ.jpg\n".encode()),
        ("UTF8", "file\nñ.jpg\n".encode()),
        ("cp1252", "file\nñ.jpg\n".encode("cp1252")),
        ("utf-16", "file\nñ.jpg\n".encode("utf-16")),
    ],
)
def test_text_of_any_encoding(tmp_path: Path, encoding: str, content: bytes) -> None:
    path = written(tmp_path / "t.csv", content)
    assert read(path, Form(encoding=encoding)) == ([[2, "ñ.jpg"]], [])


@settings(max_examples=20)
@given(st.text(st.characters(exclude_characters='\0\r\n",', codec="utf-8")))
def test_a_character_may_be_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = written(tmp_path_factory.mktemp("t") / "t.csv", f"file,label\n{text},x\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "_BLOCK_BYTES", 512)
        assert read(path) == ([[2, text, "x"]], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "row 1: the names of the columns expected"),
        ("\n1,2\n", "row 1: the names of the columns expected"),
        (
            "file;label\na;b\n",
            (
                "row 1: a single column, 'file;label'; cells that are separated by ';' are "
                "read with --delimiter ';'"
            ),
        ),
        (
            "file\tlabel\n",
            (
                "row 1: a single column, 'file\\tlabel'; cells that are separated by '\\t' "
                "are read with --delimiter 'tab'"
            ),
        ),
        (
            b"file\n\xe9.jpg\n",
            (
                "not utf-8 text: invalid continuation byte; --encoding names another "
                "encoding, such as cp1252"
            ),
        ),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(ArtifactError) as refusal:
        read(written(tmp_path / "t.csv", content))
    assert str(refusal.value) == message


@pytest.mark.parametrize("row", ['"a.jpg,x', 'a.jpg,"x'])
def test_a_quote_that_never_ends_is_refused(tmp_path: Path, row: str) -> None:
    table = f"file,label\nfirst.jpg,y\n{row}\nb.jpg,y\nc.jpg,y\n"
    with pytest.raises(ArtifactError) as refusal:
        read(written(tmp_path / "t.csv", table))
    assert str(refusal.value) == "row 3: a quote opens in this row and never ends"


def test_a_quote_inside_a_cell_is_a_character(tmp_path: Path) -> None:
    table = 'file,label\na.jpg,12" dish\n"b\n.jpg",x,y\nc.jpg,"d\ne"\nf.jpg,1"\n'
    rows, ragged = read(written(tmp_path / "t.csv", table))
    expected = [[2, "a.jpg", '12" dish'], [4, "c.jpg", "d\ne"], [5, "f.jpg", '1"']]
    assert (rows, ragged) == (expected, [3])


def test_a_row_as_long_as_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "_BLOCK_BYTES", 1 << 20)
    path = written(tmp_path / "t.csv", 'file\n"' + "a.jpg\n" * 500_000)
    with pytest.raises(ArtifactError) as refusal:
        read(path)
    expected = "row 2: a row of more than 1 MiB; is there a quote that never ends?"
    assert str(refusal.value) == expected


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(b"file\n" + b"a.jpg\n" * 100_000)
    path = written(tmp_path / "t.csv.gz", content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=r"^cannot be unpacked: "):
        read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refusal:
        read(tmp_path / "t.csv")
    assert str(refusal.value) == "cannot read: No such file or directory"


@pytest.mark.parametrize("encoding", ["klingon", "rot13"])
def test_an_unknown_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read(written(tmp_path / "t.csv", "file\n"), Form(encoding=encoding))
    assert str(refusal.value) == f"unknown encoding {encoding!r}"


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"^not utf-16 text: "):
        read(written(tmp_path / "t.csv", "file\n"), Form(encoding="utf-16"))


def test_a_semicolon_separates(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "file;label\na,1.jpg;x\n")
    assert read(path, Form(delimiter=";")) == ([[2, "a,1.jpg", "x"]], [])
