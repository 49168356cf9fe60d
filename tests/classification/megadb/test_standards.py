from __future__ import annotations

import gzip
import zipfile
from typing import TYPE_CHECKING

import pytest

from classification.megadb import standards
from classification.megadb.staging import Staging
from classification.megadb.standards import Source, Standard
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

LILA = "dataset_name,url_gcp,image_id,annotation_level\n"


@pytest.mark.parametrize(
    ("name", "content", "standard"),
    [
        ("caltech.json", "{}", Standard.COCO),
        ("caltech.JSON.gz", "{}", Standard.COCO),
        ("datapackage.json", "{}", Standard.CAMTRAP_DP),
        ("t.csv", "file,label\n", Standard.CSV),
        ("t.tsv", "file\tlabel\n", Standard.CSV),
        ("t.csv", "", Standard.CSV),
        ("lila.csv", LILA, Standard.LILA),
        ("lila.csv.gz", LILA, Standard.LILA),
    ],
)
def test_a_file_shows_its_standard(
    tmp_path: Path, name: str, content: str, standard: Standard
) -> None:
    path = tmp_path / name
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    assert standards.recognize(path) == standard


@pytest.mark.parametrize(
    ("members", "standard"),
    [
        (("__MACOSX/x", "cct/caltech.json"), Standard.COCO),
        (("a/media.csv", "a/datapackage.json"), Standard.CAMTRAP_DP),
        (("t.csv",), Standard.CSV),
    ],
)
def test_a_zip_shows_the_standard_of_what_is_in_it(
    tmp_path: Path, members: tuple[str, ...], standard: Standard
) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, "")
    assert standards.recognize(path) == standard


def test_a_folder_is_a_package_or_holds_images(tmp_path: Path) -> None:
    assert standards.recognize(tmp_path) == Standard.FOLDERS
    (tmp_path / "datapackage.json").touch()
    assert standards.recognize(tmp_path) == Standard.CAMTRAP_DP


def test_what_shows_nothing_names_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "metadata.xlsx"
    path.touch()
    with pytest.raises(ConfigurationError) as refusal:
        standards.recognize(path)
    assert str(refusal.value) == (
        f"{path}: neither JSON nor CSV by its name; --format says what it is"
    )


def test_a_missing_source_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refusal:
        standards.recognize(tmp_path / "x.json")
    assert str(refusal.value) == f"{tmp_path}/x.json: no such file or folder"


def test_only_some_sources_name_their_datasets(tmp_path: Path) -> None:
    source = Source(path=tmp_path / "t.csv", standard=Standard.CSV)
    with pytest.raises(ConfigurationError) as refusal:
        standards.datasets(source)
    expected = f"{tmp_path}/t.csv: --dataset says what the dataset is called"
    assert str(refusal.value) == expected


def test_a_source_is_staged_by_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("file\na.jpg\n", encoding="utf-8")
    with Staging.open(tmp_path / "work") as staging:
        standards.stage(Source(path=path, standard=Standard.CSV), "x", staging)
        rows = staging.connection.execute("SELECT file FROM staged_images").fetchall()
    assert rows == [("a.jpg",)]
