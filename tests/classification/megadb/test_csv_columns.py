from __future__ import annotations

import re
from pathlib import Path

import pytest

from classification.megadb import csv_columns
from classification.megadb.csv_columns import Join, Table
from classification.runtime.errors import ArtifactError

TABLE = Table(Path("t.csv"), ["file", "genus", "species", "twice", "twice"], "main")
OTHER = Table(Path("d.csv"), ["site", "species"], "joined")


def test_a_map_of_columns() -> None:
    text = "file=path, label=genus+ species ,location=site"
    assert csv_columns.parse_columns(text) == {
        "file": ("path",),
        "label": ("genus", "species"),
        "location": ("site",),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label=x", "file=COLUMN is missing"),
        ("file=a,file=b", "file stands twice; + joins columns"),
        ("file", "'file' names no column, as file=path does"),
        ("file=a+", "'file=a+' names no column, as file=path does"),
        (
            "file=a,colour=b",
            "'colour' is none of file, label, location, sequence, frame, datetime, "  # noqa: ISC004 - one message
            "width, height, url, rights",
        ),
    ],
)
def test_a_map_that_is_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        csv_columns.parse_columns(text)


def test_a_joined_table() -> None:
    assert csv_columns.parse_join("a:b/d.csv:site") == Join(
        Path("a:b/d.csv"), (("site", "site"),)
    )
    assert csv_columns.parse_join(r"C:\a\d.csv:site").path == Path(r"C:\a\d.csv")
    assert csv_columns.parse_join("d.csv:project, site = place").keys == (
        ("project", "project"),
        ("site", "place"),
    )


@pytest.mark.parametrize("text", ["d.csv", "d.csv:", ":x", "d.csv:a,", "d.csv:=b"])
def test_a_joined_table_that_is_none(text: str) -> None:
    message = f"{text!r} is not TABLE.csv:COLUMN"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        csv_columns.parse_join(text)


def test_without_a_map_columns_are_named_as_roles() -> None:
    assert csv_columns.resolve({}, [TABLE]) == {"file": ("file",)}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"file": ("file",), "label": ("speceis",)},
            "d.csv: row 1: no column 'speceis'; did you mean 'species'",
        ),
        (
            {"file": ("zzz",)},
            "d.csv: row 1: no column 'zzz'; there are file, genus, species, twice, "  # noqa: ISC004 - one message
            "twice, site, species",
        ),
        ({"file": ("twice",)}, "t.csv: row 1: the column 'twice' stands twice"),
    ],
)
def test_a_missing_column_is_named(
    columns: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(ArtifactError) as refusal:
        csv_columns.resolve(columns, [TABLE, OTHER])
    assert str(refusal.value) == message


def test_a_table_without_a_file_column_says_what_to_do() -> None:
    with pytest.raises(ArtifactError) as refusal:
        csv_columns.resolve({}, [OTHER])
    assert str(refusal.value) == (
        "d.csv: row 1: no column is named file; --columns file=... says which it is, "
        "of site, species"
    )


def test_the_first_table_has_the_first_word() -> None:
    assert 'main."2"' in csv_columns.text_of("label", ["species"], [TABLE, OTHER])
    assert 'joined."0"' in csv_columns.text_of("location", ["site"], [TABLE, OTHER])


def test_places_are_those_of_columns_that_are_there() -> None:
    assert TABLE.places(["species", "site", "file", "species"]) == [0, 2]
