from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import dataset_list
from classification.artifacts.dataset_list import DatasetEntry
from classification.runtime.errors import ConfigurationError, ItemError
from classification.storage import places
from classification.storage.places import Place, open_places
from tests.web import serving_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("images", Place("images")),
        ("wcs=/data/wcs", Place("/data/wcs", "wcs")),
        ("Caltech Camera Traps=https://x.org/c", Place("https://x.org/c", "Caltech Camera Traps")),
        ("https://x.org/c?sig=a=b", Place("https://x.org/c?sig=a=b")),
        ("./a=b", Place("./a=b")),
        ("C:\\a=b", Place("C:\\a=b")),
        (r"C:\photos", Place(r"C:\photos")),
        ("D:/photos", Place("D:/photos")),
        (r"caltech=C:\photos", Place(r"C:\photos", "caltech")),
        (r"caltech=\\nas\photos", Place(r"\\nas\photos", "caltech")),
        (r"\\nas\photos\a=b", Place(r"\\nas\photos\a=b")),
    ],
)  # fmt: skip
def test_a_dataset_may_stand_before_a_place(text: str, place: Place) -> None:
    assert places.parse(text) == place
    assert place.is_remote == ("//" in place.where)


def put(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(folder.name).encode())


@pytest.fixture
def megadb(tmp_path: Path) -> Path:
    put(tmp_path / "root", "x/a.jpg")
    folder = tmp_path / "megadb"
    folder.mkdir()
    entries = {
        "Idfg": DatasetEntry(root=str(tmp_path / "root")),
        "gone": DatasetEntry(root=str(tmp_path / "gone")),
        "far": DatasetEntry(base_url="https://example.org/"),
        "box": DatasetEntry(container="https://example.org/c"),
    }
    dataset_list.write(folder, entries)
    return folder


def test_a_metadata_store_knows_the_folder(megadb: Path) -> None:
    store = open_places([], datasets=["idfg"], megadb=megadb)
    assert store.read("idfg/x/a.jpg") == b"root"


def test_a_metadata_store_knows_the_address(tmp_path: Path) -> None:
    put(tmp_path / "served", "p/a b.jpg")
    with serving_folder(tmp_path / "served") as web:
        (tmp_path / "megadb").mkdir()
        entry = DatasetEntry(root=str(tmp_path / "gone"), base_url=f"{web.url}/")
        dataset_list.write(tmp_path / "megadb", {"d": entry})
        store = open_places([], datasets=["d"], megadb=tmp_path / "megadb")
        assert store.read("d/p/a b.jpg") == b"served"
        assert not store.exists("d/p/z.jpg")


def test_what_a_person_says_comes_first(megadb: Path, tmp_path: Path) -> None:
    put(tmp_path / "shared", "idfg/x/a.jpg")
    put(tmp_path / "own", "x/a.jpg")
    put(tmp_path / "own", "x/b.jpg")
    given = [Place(str(tmp_path / "own"), "IDFG"), Place(str(tmp_path / "shared"))]
    store = open_places(given, datasets=["idfg"], megadb=megadb)
    assert store.read("idfg/x/a.jpg") == b"shared"
    assert store.read("idfg/x/b.jpg") == b"own"
    assert open_places(given[:1], datasets=["idfg"], megadb=megadb).read(
        "idfg/x/a.jpg"
    ) == b"own"  # fmt: skip


def test_names_need_no_dataset_where_one_place_holds_all(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.jpg")
    store = open_places(
        [Place(str(tmp_path / "images"))], datasets=["a.jpg"], megadb=None
    )
    assert store.read("a.jpg") == b"images"
    with pytest.raises(ItemError, match="no such file"):
        store.read("b.jpg")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("other", "the dataset 'other': nobody says where it is; --images-dir DIR"),
        ("gone", "the dataset 'gone': no such folder: .*/gone, its root"),
    ],
)
def test_a_dataset_that_is_nowhere_is_one_line(
    megadb: Path, dataset: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_places([], datasets=[dataset], megadb=megadb)


def test_somewhere_images_have_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="where are the images"):
        open_places([], datasets=["d"], megadb=None)
    with pytest.raises(
        ConfigurationError, match=r"no such folder: .*no \(--images-dir"
    ):
        open_places([Place(str(tmp_path / "no"))], datasets=["d"], megadb=None)
