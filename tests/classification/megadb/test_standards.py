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

    from classification.megadb.standards import Reader

LILA = "dataset_name,url_gcp,image_id,original_label\n"
TWO_DATASETS = """dataset_name,url_gcp,image_id,original_label
B,https://lila.example/b/2.jpg,B : 2,elk
A,https://lila.example/a/1.jpg,A : 1,elk
"""


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
    with (
        pytest.raises(ConfigurationError) as refusal,
        standards.open_source(source, work_dir=tmp_path),
    ):
        pass
    assert str(refusal.value) == "--dataset says what the dataset is called"


def test_a_source_is_staged_by_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("file\na.jpg\n", encoding="utf-8")
    source = Source(path=path, standard=Standard.CSV, dataset="x")
    with standards.open_source(source, work_dir=tmp_path / "work") as reader:
        assert reader.datasets == ("x",)
        assert reader.base_url("x") is None
        assert staged_files(reader, "x", tmp_path) == ["a.jpg"]


def test_a_source_of_several_datasets_is_opened_once(tmp_path: Path) -> None:
    path = tmp_path / "lila.csv"
    path.write_text(TWO_DATASETS, encoding="utf-8")
    source = Source(path=path, standard=Standard.LILA)
    with standards.open_source(source, work_dir=tmp_path / "work") as reader:
        path.unlink()
        assert reader.datasets == ("B", "A")
        assert staged_files(reader, "A", tmp_path) == ["1.jpg"]
        assert staged_files(reader, "B", tmp_path) == ["2.jpg"]
        assert reader.base_url("B") == "https://lila.example/b/"


def test_a_file_of_boxes_is_of_one_dataset(tmp_path: Path) -> None:
    path, boxes = tmp_path / "lila.csv", tmp_path / "boxes.json"
    path.write_text(TWO_DATASETS, encoding="utf-8")
    source = Source(path=path, standard=Standard.LILA, boxes=boxes)
    with (
        pytest.raises(ConfigurationError) as refusal,
        standards.open_source(source, work_dir=tmp_path / "work"),
    ):
        pass
    assert str(refusal.value) == (
        f"--boxes {boxes} is of one dataset; --dataset says of which"
    )


def staged_files(reader: Reader, dataset: str, folder: Path) -> list[str]:
    with Staging.open(folder / "work") as staging:
        reader.stage(dataset, staging)
        rows = staging.connection.execute("SELECT file FROM staged_images").fetchall()
    return [file for (file,) in rows]
