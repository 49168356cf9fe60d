from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from classification.megadb import csv_columns, plain_csv
from classification.megadb.csv_columns import Join
from classification.megadb.csv_rows import Form
from classification.megadb.plain_csv import DateOrder, Options
from classification.megadb.staging import Staging
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

NOT_DECIDED = (
    "its dates do not show whether the day or the month stands first, and are taken as "
    "unknown; --dates day-first or --dates month-first says so"
)


@dataclass(frozen=True)
class Staged:
    images: list[dict[str, Any]]
    labels: list[tuple[str, str]]
    skipped: list[tuple[str, str]]

    def column(self, name: str) -> list[Any]:
        return [image[name] for image in self.images]


def stage(folder: Path, table: str, columns: str = "", **options: Any) -> Staged:  # noqa: ANN401 - of Options
    """Stages a table; returns what is in the staging tables, in row order."""
    source = folder / "t.csv"
    source.write_text(table, encoding="utf-8")
    parsed = csv_columns.parse_columns(columns) if columns else {}
    with Staging.open(folder / "work") as staging:
        plain_csv.read(source, staging, Options(columns=parsed, **options))
        connection = staging.connection
        query = "FROM staged_images ORDER BY row"
        images = connection.sql(query).to_arrow_table().to_pylist()
        file_by_id = {image["id"]: image["file"] for image in images}
        labels = connection.execute(
            "SELECT image_id, label FROM staged_labels ORDER BY row"
        ).fetchall()
        skipped = connection.execute(
            "FROM staged_skipped ORDER BY length(item), item, reason"
        ).fetchall()
    return Staged(images, [(file_by_id[i], label) for i, label in labels], skipped)


def joined(folder: Path, table: str, *keys: str) -> Join:
    path = folder / "deployments.csv"
    path.write_text(table, encoding="utf-8")
    return Join(path, tuple((key, key) for key in keys))


def test_every_role(tmp_path: Path) -> None:
    staged = stage(
        tmp_path,
        "file,label,location,sequence,frame,datetime,width,height,url,rights\n"
        "a.jpg,Elk,13,s1,2,2012-05-08 19:23:36,2048,1494,https://x,CC0\n",
    )
    assert staged.images == [
        {
            "row": 2,
            "id": "2",
            "file": "a.jpg",
            "location": "13",
            "sequence": "s1",
            "frame": 2,
            "datetime": datetime(2012, 5, 8, 19, 23, 36),  # noqa: DTZ001 - a camera's clock has no zone
            "width": 2048,
            "height": 1494,
            "url": "https://x",
            "rights": "CC0",
            "problem": None,
        }
    ]
    assert staged.labels == [("a.jpg", "Elk")]
    assert staged.skipped == []


def test_joined_columns_pass_over_what_is_empty(tmp_path: Path) -> None:
    table = "p,q,genus,species\nx,1.jpg,Lynx,rufus\n,2.jpg,Lynx,\n y\\z ,3.jpg, , \n"
    staged = stage(tmp_path, table, "file=p+q,label=genus+species")
    assert staged.column("file") == ["x/1.jpg", "2.jpg", "y/z/3.jpg"]
    assert staged.labels == [("x/1.jpg", "Lynx rufus"), ("2.jpg", "Lynx")]


def test_a_path_may_be_written_as_on_windows_or_from_here(tmp_path: Path) -> None:
    staged = stage(tmp_path, "file\na\\b\\1.jpg\n./a/2.jpg\n././3.jpg\n.hidden.jpg\n")
    expected = ["a/b/1.jpg", "a/2.jpg", "3.jpg", ".hidden.jpg"]
    assert staged.column("file") == expected


def test_several_rows_of_a_file_are_several_labels(tmp_path: Path) -> None:
    table = "file,label,location\na.jpg,elk,1\nb.jpg,,1\na.jpg,deer,1\na.jpg,cow,2\n"
    staged = stage(tmp_path, table)
    assert staged.column("file") == ["a.jpg", "b.jpg"]
    assert staged.labels == [("a.jpg", "elk"), ("a.jpg", "deer"), ("a.jpg", "cow")]
    expected = [("row 5, column location: 2", plain_csv.OTHER_LOCATION)]
    assert staged.skipped == expected


def test_rows_without_a_file_are_listed(tmp_path: Path) -> None:
    staged = stage(tmp_path, "file,label\n,elk\n,\na.jpg,x\nb.jpg\n")
    assert staged.column("file") == ["a.jpg"]
    assert staged.skipped == [
        ("row 2", plain_csv.NO_FILE),
        ("row 3", plain_csv.NO_CELL),
        ("row 5", "2 cells expected, as the header has"),
    ]


def test_a_url_is_no_path(tmp_path: Path) -> None:
    staged = stage(tmp_path, "file\ngs://bucket/a.jpg\n")
    assert staged.column("problem") == [plain_csv.A_URL]


def test_numbers_that_are_none_are_listed(tmp_path: Path) -> None:
    staged = stage(
        tmp_path,
        "file,frame,width,height\na.jpg,x,3.0,-1\nb.jpg,1.5,99999999999,\nc.jpg,,7.,+8\n",
    )
    assert staged.column("frame") == [None, None, None]
    assert staged.column("width") == [3, None, 7]
    assert staged.column("height") == [-1, None, 8]
    assert staged.skipped == [
        ("row 2, column frame: x", plain_csv.NO_NUMBER),
        ("row 3, column frame: 1.5", plain_csv.NO_NUMBER),
        ("row 3, column width: 99999999999", plain_csv.NO_NUMBER),
    ]


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("2014-12-08 07:46:00", "2014-12-08 07:46:00"),
        ("2014-12-08T07:46:00Z", "2014-12-08 07:46:00"),
        ("2014:12:08 07:46:00", "2014-12-08 07:46:00"),
        ("25/12/2012 19:23", "2012-12-25 19:23:00"),
        ("12/25/2012 7:23:05 PM", "2012-12-25 19:23:05"),
        ("25.12.2012", "2012-12-25 00:00:00"),
        ("25-12-2012 19:23:01", "2012-12-25 19:23:01"),
    ],
)
def test_times_in_many_spellings(tmp_path: Path, said: str, moment: str) -> None:
    staged = stage(tmp_path, f"file,datetime\na.jpg,{said}\n")
    assert staged.column("datetime") == [datetime.fromisoformat(moment)]
    assert staged.skipped == []


def test_other_dates_of_the_table_show_what_stands_first(tmp_path: Path) -> None:
    table = (
        "file,datetime\na.jpg,05/08/2012 19:23\nb.jpg,05/13/2012\nc.jpg,13/05/2012\n"
    )
    month_first = stage(tmp_path, table.partition("c.jpg")[0])
    assert month_first.column("datetime")[0] == datetime.fromisoformat(
        "2012-05-08 19:23"
    )
    said = stage(tmp_path, table, date_order=DateOrder.DAY_FIRST)
    assert said.column("datetime")[0] == datetime.fromisoformat("2012-08-05 19:23")
    assert said.skipped == [
        (
            "row 3, column datetime: 05/13/2012",
            "its time cannot be read and is taken as unknown",
        )
    ]


@pytest.mark.parametrize("second", ["06/07/2012", "13/05/2012\nc.jpg,05/13/2012"])
def test_dates_that_do_not_show_it_are_unknown(
    tmp_path: Path, second: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = f"file,datetime\na.jpg,05/08/2012 19:23\nb.jpg,{second}\n"
    staged = stage(tmp_path, table)
    assert set(staged.column("datetime")) == {None}
    assert staged.skipped[0][1] == plain_csv.UNDECIDED
    assert caplog.messages == [NOT_DECIDED]


def test_a_second_table_brings_its_columns(tmp_path: Path) -> None:
    join = joined(
        tmp_path,
        "project,deployment,place,species\n1,d1, ridge ,x\n2,d1,creek,x\n,d3,,x\n",
        *("project", "deployment"),
    )
    table = "file,project,deployment,species\na.jpg,2,d1,elk\nb.jpg,1,d2,\nc.jpg,,d3,\n"
    staged = stage(tmp_path, table, "file=file,label=species,location=place", join=join)
    assert staged.column("location") == ["creek", None, None]
    assert staged.labels == [("a.jpg", "elk")]
    expected = [("row 3", plain_csv.NO_PARTNER), ("row 4", plain_csv.NO_PARTNER)]
    assert staged.skipped == expected


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "site,place\na,1\nb,2\na,3\n",
            "row 4, column site: 'a' stands in an earlier row, too",
        ),
        ("site,place\na\n", "row 2: 2 cells expected"),
        ("sight,place\na,1\n", "row 1: no column 'site'; did you mean 'sight'"),
    ],
)
def test_a_second_table_that_cannot_be_joined(
    tmp_path: Path, table: str, message: str
) -> None:
    join = joined(tmp_path, table, "site")
    with pytest.raises(ArtifactError) as refusal:
        stage(tmp_path, "file,site\na.jpg,a\n", join=join)
    assert str(refusal.value) == f"{tmp_path}/deployments.csv: {message}"


def test_the_first_table_needs_the_key_too(tmp_path: Path) -> None:
    join = joined(tmp_path, "site,place\na,1\n", "site")
    with pytest.raises(ArtifactError) as refusal:
        stage(tmp_path, "file,sites\na.jpg,a\n", join=join)
    expected = f"{tmp_path}/t.csv: row 1: no column 'site'; did you mean 'sites'"
    assert str(refusal.value) == expected


def test_both_tables_are_written_down_alike(tmp_path: Path) -> None:
    join = joined(tmp_path, "site;place\na;x, y\n", "site")
    staged = stage(
        tmp_path,
        "file;site\na,1.jpg;a\n",
        "file=file,location=place",
        join=join,
        form=Form(delimiter=";"),
    )
    assert staged.column("file") == ["a,1.jpg"]
    assert staged.column("location") == ["x, y"]
