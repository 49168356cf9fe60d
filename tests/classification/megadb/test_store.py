from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from classification.artifacts import dataset_list, image_table
from classification.artifacts.dataset_list import DatasetEntry
from classification.megadb import store
from classification.megadb.store import Summary
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    StorageError,
)

if TYPE_CHECKING:
    from pathlib import Path

DIE = """
import os, pathlib, signal, sys
from classification.megadb import store
from classification.runtime.atomic import replacing
folder = pathlib.Path(sys.argv[1])
with store.hold(folder), replacing(folder / "x.parquet") as file:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_second_import_is_refused(tmp_path: Path) -> None:
    with store.hold(tmp_path):
        with pytest.raises(StorageError) as refusal, store.hold(tmp_path):
            pass
        assert str(refusal.value) == (
            f"another import is writing {tmp_path}; wait for it to end"
        )
    with store.hold(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_import_left_is_removed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DIE, tmp_path], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.glob(".ct-*"))) == 2
    with store.hold(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_datasets_are_added_and_replaced(tmp_path: Path) -> None:
    assert store.read_entries(tmp_path) == {}
    store.put(tmp_path, "b", DatasetEntry(images=1))
    store.put(tmp_path, "a", DatasetEntry(images=2))
    store.put(tmp_path, "b", DatasetEntry(images=3))
    assert store.read_entries(tmp_path) == {
        "a": DatasetEntry(images=2),
        "b": DatasetEntry(images=3),
    }


def test_d7_a_name_is_taken_in_any_case(tmp_path: Path) -> None:
    store.check_name(tmp_path, "Caltech")
    store.put(tmp_path, "Caltech", DatasetEntry())
    store.check_name(tmp_path, "Caltech")
    with pytest.raises(ConfigurationError) as refusal:
        store.check_name(tmp_path, "caltech")
    assert str(refusal.value) == (
        f"{tmp_path} holds a dataset 'Caltech', and names are compared without case; "
        "import it as 'Caltech', or choose another name"
    )


def test_d43_a_name_stays_in_the_store(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"leaves its folder$"):
        store.check_name(tmp_path, "..")


def test_a_broken_list_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / dataset_list.FILENAME
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match=f"^{path}: not JSON"):
        store.check_name(tmp_path, "x")


def test_a_store_is_summed_up(tmp_path: Path) -> None:
    rows = [
        {"labels": ["elk"], "location": "1", "boxes": []},
        {"labels": ["deer", "elk"], "location": "1"},
        {"labels": []},
    ]
    whole = [{"dataset": "x", "file": f"{n}", **row} for n, row in enumerate(rows)]
    table = pa.Table.from_pylist(whole, image_table.schema())
    image_table.write(image_table.path_of(tmp_path, "x"), table.to_batches())
    store.put(tmp_path, "x", DatasetEntry(images=3, base_url="https://x/"))
    assert store.summarize(tmp_path) == [
        Summary(
            dataset="x",
            images=3,
            labelled=2,
            boxed=1,
            labels=2,
            locations=1,
            location_from="column",
            source="https://x/",
        )
    ]
