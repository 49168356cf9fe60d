from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import mislabeled
from classification.megadb.corrections import read_corrections
from classification.megadb.reading import MetadataStore
from classification.runtime.errors import ArtifactError
from tests.world import write_store

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, **entry: str) -> object:
    store_dir = write_store(folder / "megadb", {"Caltech": [], "idfg": []}, **entry)
    with MetadataStore.open(store_dir, work_dir=folder) as store:
        return read_corrections(store, folder / "wrong")


def test_d7_files_and_datasets_are_matched_in_any_case(tmp_path: Path) -> None:
    mislabeled.write(tmp_path / "wrong/CALTECH.csv", {"a.jpg": "Bear", "b.jpg": ""})
    mislabeled.write(tmp_path / "wrong/other.csv", {"a.jpg": "x"})
    assert read(tmp_path) == {"Caltech": {"a.jpg": "Bear", "b.jpg": ""}}


def test_the_path_prefix_is_no_part_of_a_tables_files(tmp_path: Path) -> None:
    corrections = {"p/q/a.jpg": "bear", "a.jpg": "deer", "p/q": "fox"}
    mislabeled.write(tmp_path / "wrong/caltech.csv", corrections)
    assert read(tmp_path, path_prefix="p/q") == {
        "Caltech": {"a.jpg": "bear", "/a.jpg": "deer", "/p/q": "fox"}
    }


def test_a_broken_file_is_refused_with_its_address(tmp_path: Path) -> None:
    (tmp_path / "wrong").mkdir()
    path = tmp_path / "wrong/idfg.csv"
    path.write_text("file,correct_class\n../x.jpg,bear\n")
    with pytest.raises(ArtifactError) as refusal:
        read(tmp_path)
    assert str(refusal.value) == (
        f"{path}: row 2, column file: '../x.jpg' leaves its folder"
    )
