from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from classification.megadb import data_package
from classification.megadb.csv_rows import Form
from classification.megadb.sources import Member
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, document: object) -> Path:
    path = folder / "datapackage.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def resource(folder: Path, **said: object) -> data_package.Resource:
    write(folder, {"resources": [{"name": "media", **said}]})
    return data_package.open_package(folder).resource("media")


def test_a_table(tmp_path: Path) -> None:
    found = resource(tmp_path, path="t/media.csv")
    assert found.parts == [tmp_path / "t/media.csv"]
    assert found.form == Form()


def test_a_table_in_a_zip(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as file:
        document = {"resources": [{"name": "media", "path": ["a.csv", "b.csv"]}]}
        file.writestr("p/datapackage.json", json.dumps(document))
        file.writestr("p/deeper/datapackage.json", "{}")
        file.writestr("__MACOSX/datapackage.json", "{}")
    package = data_package.open_package(archive)
    parts = [Member(archive, "p/a.csv"), Member(archive, "p/b.csv")]
    assert package.resource("media").parts == parts


@pytest.mark.parametrize(
    ("said", "form"),
    [
        ({"format": "tsv"}, Form("\t")),
        ({"mediatype": "text/tab-separated-values"}, Form("\t")),
        ({"dialect": {"delimiter": "|"}, "format": "tsv"}, Form("|")),
        ({"encoding": "ISO-8859-1"}, Form(",", "ISO-8859-1")),
    ],
)
def test_how_a_table_is_written_down(
    tmp_path: Path, said: dict[str, object], form: Form
) -> None:
    assert resource(tmp_path, path="m.csv", **said).form == form


@pytest.mark.parametrize(
    "path",
    [
        *("../m.csv", "t/../../m.csv", "/etc/passwd", "~/m.csv", "C:/m.csv"),
        *(
            "..\\m.csv",
            "m\0.csv",
            "",
            "https://example.org/m.csv",
            "file:///etc/passwd",
        ),
    ],
)
def test_a_path_that_leaves_the_package_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ArtifactError, match=r"resources\[0\]\.path\[1\]: "):
        resource(tmp_path, path=["m.csv", path])


def test_a_link_that_leaves_the_package_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (tmp_path / "secret.csv").write_text("a,b\n", encoding="utf-8")
    (folder / "m.csv").symlink_to("../secret.csv")
    with pytest.raises(ArtifactError, match="a link that leads out of the package"):
        resource(folder, path="m.csv")


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ({}, "path"),
        ({"path": []}, "path"),
        ({"path": [7]}, r"path\[0\]"),
        ({"data": [{"mediaID": "a"}]}, "path"),
        ({"path": "m.csv", "dialect": 7}, "dialect"),
        ({"path": "m.csv", "dialect": {"delimiter": ";;"}}, "dialect.delimiter"),
        ({"path": "m.csv", "dialect": {"quoteChar": "'"}}, "dialect.quoteChar"),
        ({"path": "m.csv", "dialect": {"header": False}}, "dialect.header"),
        ({"path": "m.csv", "encoding": 7}, "encoding"),
        ({"path": "m.csv", "encoding": "klingon"}, "encoding: unknown"),
        ({"path": "m.csv", "encoding": "a\0b"}, "encoding: unknown"),
    ],
)
def test_a_broken_resource_is_one_line(
    tmp_path: Path, said: dict[str, object], address: str
) -> None:
    with pytest.raises(ArtifactError, match=rf"json: resources\[0\]\.{address}"):
        resource(tmp_path, **said)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "expected an object"),
        ({}, "resources: a list of tables expected"),
        ({"resources": [7, {"name": "other"}]}, "resources: one table named media"),
        ({"resources": [{"name": "media"}, {"name": "media"}]}, "2 found"),
    ],
)
def test_a_broken_package_is_one_line(
    tmp_path: Path, document: object, message: str
) -> None:
    path = write(tmp_path, document)
    with pytest.raises(ArtifactError, match=message):
        data_package.open_package(path).resource("media")


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"datapackage\.json: cannot read"):
        data_package.open_package(tmp_path)
    archive = tmp_path / "x.zip"
    archive.write_bytes(b"no zip")
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        data_package.open_package(archive)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("m.csv", "")
    with pytest.raises(ArtifactError, match=r"one datapackage\.json expected, 0 found"):
        data_package.open_package(archive)
