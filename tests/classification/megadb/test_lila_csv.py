from __future__ import annotations

import csv
import gzip
import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from classification.megadb import clock, csv_columns, lila_csv
from classification.megadb.lila_csv import Cloud, Options
from classification.megadb.staging import Staging
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GCP, AWS, AZURE = (
    "https://gcp.example/lila",
    "http://aws.example/a/lila",
    "https://azure.example/l",
)
COLUMNS = (
    *("dataset_name", "url_gcp", "url_aws", "url_azure", "image_id", "sequence_id"),
    *("location_id", "frame_num", "original_label", "scientific_name", "common_name"),
    *("datetime", "annotation_level", "kingdom", "species"),
)


def row(dataset: str, file: str, id_: str, **said: str) -> dict[str, str]:
    """Returns a row as LILA writes it, of an image in a folder of the dataset's root."""
    return {
        "dataset_name": dataset,
        "url_gcp": f"{GCP}/{file}",
        "url_aws": f"{AWS}/{file}",
        "url_azure": f"{AZURE}/{file}",
        "image_id": f"{dataset} : {id_}",
        "sequence_id": f"{dataset} : unknown",
        "location_id": dataset,
        "frame_num": "-1",
        "original_label": "empty",
        "annotation_level": "image",
        **said,
    }


def text(
    rows: Sequence[dict[str, str]], columns: Sequence[str] = COLUMNS, extra: str = ""
) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue() + extra


class Read:
    """What was staged, by dataset."""

    def __init__(self, source: Path, work_dir: Path, options: Options) -> None:
        self.images: dict[str, list[dict[str, Any]]] = {}
        self.labels: dict[str, list[tuple[Any, ...]]] = {}
        self.skipped: dict[str, list[tuple[str, str]]] = {}
        with lila_csv.open_table(source, work_dir=work_dir, options=options) as table:
            self.datasets = table.datasets
            self.base_urls = {name: table.base_url(name) for name in table.datasets}
            for name in table.datasets:
                with Staging.open(work_dir) as staging:
                    table.stage(name, staging)
                    self._keep(name, staging)

    def _keep(self, name: str, staging: Staging) -> None:
        connection = staging.connection
        self.images[name] = (
            connection.sql("SELECT * FROM staged_images ORDER BY row")
            .to_arrow_table()
            .to_pylist()
        )
        self.labels[name] = connection.execute(
            "SELECT image_id, label, level FROM staged_labels ORDER BY row"
        ).fetchall()
        self.skipped[name] = connection.execute(
            "SELECT item, reason FROM staged_skipped ORDER BY item"
        ).fetchall()

    def files(self, name: str) -> list[str | None]:
        return [image["file"] for image in self.images[name]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, content: str, **options: Any) -> Read:  # noqa: ANN401 - as Options
    source = folder / "lila.csv"
    source.write_text(content, encoding="utf-8")
    return Read(source, folder / "work", Options(**options))


def test_a_row_says_all_of_an_image(folder: Path) -> None:
    bobcat = row(
        "Caltech Camera Traps",
        "caltech/cct_images/5a1e.jpg",
        "5a1e",
        sequence_id="Caltech Camera Traps : 6f0a",
        location_id="Caltech Camera Traps : 33",
        frame_num="2",
        original_label="bobcat",
        datetime="05-08-2012 19:23:36",
        annotation_level="sequence",
    )
    found = read(folder, text([bobcat]))
    [image] = found.images["Caltech Camera Traps"]
    assert str(image.pop("datetime")) == "2012-05-08 19:23:36"
    assert image == {
        "row": 2,
        "id": "5a1e",
        "file": "5a1e.jpg",
        "location": "33",
        "sequence": "6f0a",
        "frame": 2,
        "width": None,
        "height": None,
        "url": f"{GCP}/caltech/cct_images/5a1e.jpg",
        "rights": None,
        "problem": None,
    }
    assert found.labels["Caltech Camera Traps"] == [("5a1e", "bobcat", "sequence")]
    assert found.skipped["Caltech Camera Traps"] == []
    assert found.base_urls == {
        "Caltech Camera Traps": f"{GCP}/caltech/cct_images/",
    }


def test_what_is_unknown_is_null(folder: Path) -> None:
    found = read(
        folder,
        text(
            [
                row("ENA24", "ena24/1.jpg", "1"),
                row("ENA24", "ena24/2.jpg", "2", location_id="ENA24 : Unknown"),
                row("ENA24", "ena24/3.jpg", "3", location_id="", frame_num=""),
                row("ENA24", "ena24/4.jpg", "4", frame_num="3.0"),
            ]
        ),
    )
    places = [(i["location"], i["sequence"], i["frame"]) for i in found.images["ENA24"]]
    assert places == [(None, None, None)] * 3 + [(None, None, 3)]
    assert found.skipped["ENA24"] == []


def test_rows_of_an_image_are_its_labels_even_where_they_stand_apart(
    folder: Path,
) -> None:
    fox = {"original_label": "red fox", "annotation_level": "unknown"}
    found = read(
        folder,
        text(
            [
                row("A", "a/1.jpg", "1", location_id="A : x"),
                row("A", "a/2.jpg", "2", original_label=""),
                row("A", "a/other.jpg", "1", location_id="A : y", **fox),
            ]
        ),
    )
    assert [(i["id"], i["location"]) for i in found.images["A"]] == [
        ("1", "x"),
        ("2", None),
    ]
    assert found.labels["A"] == [("1", "empty", "image"), ("1", "red fox", "image")]


@pytest.mark.parametrize(
    ("files", "ids", "expected", "root"),
    [
        # Ids that are paths, of which the table holds one season.
        (
            ("s/KGA/S1/A/x_1.JPG", "s/KGA/S1/A/x_2.JPG"),
            ("S1/A/x_1", "S1/A/x_2"),
            ["S1/A/x_1.JPG", "S1/A/x_2.JPG"],
            "s/KGA/",
        ),
        # Ids with an extension.
        (
            ("w/a/1.jpg", "w/a/2.jpg"),
            ("a/1.jpg", "a/2.jpg"),
            ["a/1.jpg", "a/2.jpg"],
            "w/",
        ),
        # Ids that are names, in folders.
        (
            ("i/public/loc_1/im_1.jpg", "i/public/loc_2/im_2.jpg"),
            ("im_1", "im_2"),
            ["loc_1/im_1.jpg", "loc_2/im_2.jpg"],
            "i/public/",
        ),
        # Ids that are no names; folders that begin alike.
        (
            ("d/cam1/a.jpg", "d/cam2/b.jpg"),
            ("7", "8"),
            ["cam1/a.jpg", "cam2/b.jpg"],
            "d/",
        ),
        # One image.
        (("d/cam1/a.jpg",), ("7",), ["a.jpg"], "d/cam1/"),
        # Letters of any script, a quote, a blank, %; nothing is decoded.
        (
            ("d/cañón 1/o'b%20.jpg", "d/é.jpg"),
            ("7", "é"),
            ["cañón 1/o'b%20.jpg", "é.jpg"],
            "d/",
        ),
    ],
)
def test_the_root_of_a_dataset_is_found(
    folder: Path,
    files: Sequence[str],
    ids: Sequence[str],
    expected: Sequence[str],
    root: str,
) -> None:
    rows = [row("A", file, id_) for file, id_ in zip(files, ids, strict=True)]
    found = read(folder, text(rows))
    assert found.files("A") == expected
    assert found.base_urls["A"] == f"{GCP}/{root}"
    urls = [image["url"] for image in found.images["A"]]
    assert urls == [f"{GCP}/{root}{file}" for file in expected]


def test_a_cloud_is_chosen_and_others_stand_in(folder: Path) -> None:
    rows = [row("A", f"a/{n}/{n}.jpg", f"id{n}") for n in (1, 2, 3)]
    rows[2]["url_azure"] = ""
    found = read(folder, text(rows), cloud=Cloud.AZURE)
    assert [image["url"] for image in found.images["A"]] == [
        f"{AZURE}/a/1/1.jpg",
        f"{AZURE}/a/2/2.jpg",
        f"{GCP}/a/3/3.jpg",
    ]
    assert found.files("A") == ["1/1.jpg", "2/2.jpg", "3/3.jpg"]
    assert found.base_urls["A"] == f"{AZURE}/a/"


def test_older_releases_have_one_url(folder: Path) -> None:
    rows = [
        row("A", f"a/{n}.jpg", str(n)) | {"url": f"{AWS}/x/{n}.jpg"} for n in (1, 2)
    ]
    columns = ("dataset_name", "url", "image_id", "original_label")
    found = read(folder, text(rows, columns))
    assert found.files("A") == ["1.jpg", "2.jpg"]
    assert found.base_urls["A"] == f"{AWS}/x/"


def test_a_given_root_is_what_files_are_below(folder: Path) -> None:
    rows = [row("A", "a/s/1.jpg", "1"), row("B", "b/2.jpg", "2")]
    rows.append(row("B", "b/3.jpg", "3", url_gcp=f"{AWS}/b/3.jpg"))
    found = read(folder, text(rows), root=f"{GCP}/")
    assert found.files("A") == ["a/s/1.jpg"]
    assert found.files("B") == ["b/2.jpg", None]
    assert [image["problem"] for image in found.images["B"]] == [
        None,
        lila_csv.NOT_BELOW,
    ]


def test_without_a_url_the_id_is_the_file(folder: Path) -> None:
    no_urls = {"url_gcp": "", "url_aws": "soon", "url_azure": " "}
    found = read(folder, text([row("A", "", "x/1.jpg", **no_urls)]))
    assert found.files("A") == ["x/1.jpg"]
    assert found.base_urls["A"] is None
    assert found.images["A"][0]["url"] is None


def test_a_token_is_no_part_of_a_file(folder: Path) -> None:
    found = read(
        folder, text([row("A", "a/1.jpg", "1", url_gcp=f"{GCP}/a/1.jpg?sig=x/y")])
    )
    assert found.files("A") == ["1.jpg"]


def test_urls_of_several_hosts_have_no_root(folder: Path) -> None:
    rows = [row("A", "a/1.jpg", "7"), row("A", "", "8", url_gcp=f"{AWS}/b/2.jpg")]
    found = read(folder, text(rows))
    assert found.files("A") == ["lila/a/1.jpg", "a/lila/b/2.jpg"]
    assert found.base_urls["A"] is None


def test_datasets_are_staged_apart_from_one_reading(folder: Path) -> None:
    rows = [
        row("B b", "b/1.jpg", "1"),
        row("A", "a/1.jpg", "1"),
        row("B b", "b/2.jpg", "2"),
    ]
    found = read(folder, text(rows))
    assert found.datasets == ("B b", "A")
    assert found.files("B b") == ["1.jpg", "2.jpg"]
    assert found.files("A") == ["1.jpg"]


def test_one_dataset_is_chosen_in_any_case(folder: Path) -> None:
    rows = [row("B b", "b/1.jpg", "1"), row("a/b", "a/1.jpg", "1")]
    found = read(folder, text(rows), dataset="b B")
    assert found.datasets == ("B b",)
    assert found.files("B b") == ["1.jpg"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("caltech camera trap", "did you mean 'Caltech Camera Traps'"),
        ("x", "there are Caltech Camera Traps, ENA24"),
    ],
)
def test_a_dataset_that_is_not_there_is_named(
    folder: Path, wanted: str, message: str
) -> None:
    rows = [row("ENA24", "e/1.jpg", "1"), row("Caltech Camera Traps", "c/1.jpg", "1")]
    with pytest.raises(ConfigurationError) as refusal:
        read(folder, text(rows), dataset=wanted)
    assert str(refusal.value) == f"{folder}/lila.csv: no dataset {wanted!r}; {message}"


def test_broken_rows_are_listed(folder: Path) -> None:
    found = read(
        folder,
        text(
            [
                row("", "a/0.jpg", "0"),
                row("A", "a/1.jpg", "1"),
                row("A", "a/2.jpg", "2", image_id=""),
                row("A", "a/3.jpg", "", image_id="A : "),
                row("B", "b/4.jpg", "4"),
                row("A", "a/5.jpg", "5", image_id="B : 5"),
                row(
                    "A", "a/6.jpg", "6", frame_num="six", datetime="13-13-2012 10:00:00"
                ),
                row("A", "a/7.jpg", "7", datetime="2012-05-08 19:23:36"),
            ],
            extra="A,x\n",
        ),
    )
    assert found.skipped["A"] == [
        ("row 10", "15 cells expected, as the header has"),
        ("row 2", lila_csv.NO_DATASET),
        ("row 4", lila_csv.NO_ID),
        ("row 5", lila_csv.NO_ID),
        ("row 7", lila_csv.OTHER_DATASET),
        ("row 8, column datetime: 13-13-2012 10:00:00", clock.UNREADABLE),
        ("row 8, column frame_num: six", csv_columns.NO_NUMBER),
    ]
    assert found.skipped["B"] == []
    assert found.files("A") == ["1.jpg", "6.jpg", "7.jpg"]
    assert str(found.images["A"][2]["datetime"]) == "2012-05-08 19:23:36"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/b", "row 3, column dataset_name: 'a/b' names more than one folder"),
        ("..", "row 3, column dataset_name: '..' leaves its folder"),
        (
            "ena24",
            "row 3, column dataset_name: 'ena24' differs from 'ENA24' in case only",
        ),
    ],
)
def test_a_name_that_no_dataset_can_have_is_refused(
    folder: Path, name: str, message: str
) -> None:
    rows = [row("ENA24", "e/1.jpg", "1"), row(name, "x/1.jpg", "1")]
    with pytest.raises(ArtifactError) as refusal:
        read(folder, text(rows))
    assert str(refusal.value) == f"{folder}/lila.csv: {message}"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "dataset_name,image_id,url",
            "row 1: no column 'original_label'; there are dataset_name, image_id, url",
        ),
        (
            "dataset_name,image_id,original_label",
            "row 1: no column 'url_gcp'; there are dataset_name, image_id, original_label",
        ),
    ],
)
def test_a_missing_column_is_named(folder: Path, header: str, message: str) -> None:
    with pytest.raises(ArtifactError) as refusal:
        read(folder, header + "\n")
    assert str(refusal.value) == f"{folder}/lila.csv: {message}"


@pytest.mark.parametrize(
    ("rows", "wanted", "why"),
    [
        ([], None, "no rows"),
        ([], "A", "no rows"),
        (["", "", "A"], None, "2 x no dataset_name"),
        (["A", "A", "B"], "a", "2 x no image_id"),
    ],
)
def test_a_table_without_images_is_one_line(
    folder: Path, rows: Sequence[str], wanted: str | None, why: str
) -> None:
    broken = [row(name, "a/1.jpg", "", image_id="") for name in rows]
    with pytest.raises(ConfigurationError) as refusal:
        read(folder, text(broken), dataset=wanted)
    assert str(refusal.value) == f"{folder}/lila.csv: no images; {why}"


def test_a_dataset_of_broken_rows_alone_is_none(folder: Path) -> None:
    broken = [row(name, "x/0.jpg", "", image_id="") for name in ("a/b", "B")]
    found = read(folder, text([*broken, row("A", "a/1.jpg", "1"), row("C", "", "1")]))
    assert found.datasets == ("A", "C")
    assert found.skipped["A"] == [("row 2", lila_csv.NO_ID), ("row 3", lila_csv.NO_ID)]
    assert found.skipped["C"] == []


def test_it_is_read_as_it_was_downloaded(folder: Path) -> None:
    content = text([row("A", "a/1.jpg", "1")]).encode()
    packed = folder / "lila.csv.gz"
    packed.write_bytes(gzip.compress(content))
    with zipfile.ZipFile(folder / "lila.csv.zip", "w") as archive:
        archive.writestr("lila_image_urls_and_labels.csv", content)
    for source in (packed, folder / "lila.csv.zip"):
        assert Read(source, folder / "work", Options()).files("A") == ["1.jpg"]
    assert list((folder / "work").iterdir()) == []
