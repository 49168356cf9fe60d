from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import dataset_list
from classification.artifacts.dataset_list import DatasetEntry
from classification.runtime.errors import ConfigurationError
from classification.storage.opening import find_folders, open_images

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def megadb(tmp_path: Path) -> Path:
    (tmp_path / "root/x").mkdir(parents=True)
    (tmp_path / "root/x/a.jpg").write_bytes(b"root")
    folder = tmp_path / "megadb"
    folder.mkdir()
    entries = {
        "Idfg": DatasetEntry(root=str(tmp_path / "root")),
        "gone": DatasetEntry(root=str(tmp_path / "gone")),
        "far": DatasetEntry(base_url="https://example.org/"),
    }
    dataset_list.write(folder, entries)
    return folder


def test_a_metadata_store_knows_the_folder(megadb: Path) -> None:
    store = open_images(["idfg"], images_dir=None, megadb=megadb)
    assert store.read("idfg/x/a.jpg") == b"root"


def test_the_images_folder_wins(megadb: Path, tmp_path: Path) -> None:
    (tmp_path / "images/idfg/x").mkdir(parents=True)
    (tmp_path / "images/idfg/x/a.jpg").write_bytes(b"images")
    store = open_images(["idfg"], images_dir=tmp_path / "images", megadb=megadb)
    assert store.read("idfg/x/a.jpg") == b"images"


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("other", "has no dataset 'other'"),
        ("gone", "no such folder"),
        ("far", "remote stores come in a later version"),
    ],
)
def test_what_is_not_here_is_one_line(megadb: Path, dataset: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_images([dataset], images_dir=None, megadb=megadb)


def test_one_of_the_two_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="where are the images"):
        open_images(["a"], images_dir=None, megadb=None)


def test_folders_stand_in_the_order_in_which_they_are_looked_into(
    megadb: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    datasets = ["idfg", "gone", "far", "other"]
    assert find_folders(datasets, images_dir=images, megadb=megadb) == {
        "idfg": (images / "idfg", tmp_path / "root"),
        "gone": (images / "gone", tmp_path / "gone"),
        "far": (images / "far",),
        "other": (images / "other",),
    }


def test_messages_name_the_flag_of_the_command(megadb: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="; --here names a folder that holds"):
        find_folders(["far"], images_dir=None, megadb=megadb, flag="--here")
    with pytest.raises(ConfigurationError, match=r"no such folder: .*/no \(--here\)"):
        find_folders(["far"], images_dir=tmp_path / "no", megadb=None, flag="--here")
