from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from classification.artifacts import dataset_list, image_table
from classification.artifacts.dataset_list import DatasetEntry
from classification.megadb.reading import ImageFacts, LabelCount, MetadataStore
from classification.runtime.errors import ArtifactError
from taxonomy.graph import DatasetLabel
from tests.world import write_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# "a b" sorts before "a/" and "A" before all.
WORLD: dict[str, list[dict[str, Any]]] = {
    "a": [
        {"file": "1.jpg", "labels": ["bear"], "label_level": "image", "location": "x"},
        {"file": "2.jpg", "labels": ["bear", "deer"]},
        {"file": "3.jpg"},
    ],
    "a b": [{"file": "d/1.jpg", "labels": ["bear"]}],
    "We[ir]d *": [{"file": "1.jpg", "labels": ["bear"]}],
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetadataStore]:
    folder = write_store(tmp_path / "megadb", WORLD, path_prefix="p/q")
    with MetadataStore.open(folder, work_dir=tmp_path) as opened:
        yield opened


def open_store(folder: Path) -> None:
    with MetadataStore.open(folder, work_dir=folder / "work"):
        pass


def test_places_are_in_the_order_of_full_names(store: MetadataStore) -> None:
    assert store.datasets == ("We[ir]d *", "a b", "a")
    assert store.first.tolist() == [0, 1, 2, 5]
    names = store.names(np.ones(5, np.bool_))
    assert names == sorted(names)
    assert names == [
        "We[ir]d */p/q/1.jpg",
        "a b/p/q/d/1.jpg",
        "a/p/q/1.jpg",
        "a/p/q/2.jpg",
        "a/p/q/3.jpg",
    ]


def test_only_taken_images_are_read(store: MetadataStore) -> None:
    taken = np.array([False, False, True, False, True])
    assert [list(store.files(name, taken)) for name in store.datasets[:2]] == [[], []]
    [(places, files)] = store.files("a", taken)
    assert (places.tolist(), files) == ([2, 4], ["1.jpg", "3.jpg"])


def test_labels_are_counted(store: MetadataStore) -> None:
    assert store.count_labels() == {
        DatasetLabel("we[ir]d *", "bear"): LabelCount(images=1, alone=1),
        DatasetLabel("a b", "bear"): LabelCount(images=1, alone=1),
        DatasetLabel("a", "bear"): LabelCount(images=2, alone=1),
        DatasetLabel("a", "deer"): LabelCount(images=1, alone=0),
    }


def test_d7_datasets_are_found_in_any_case(store: MetadataStore) -> None:
    assert store.number_of(" A B") == 1
    assert store.number_of("b") is None


@pytest.mark.parametrize("name", ["a/p/q/1.jpg", "A/p/q/1.jpg", "a/1.jpg"])
def test_the_facts_of_an_image(name: str, store: MetadataStore) -> None:
    assert store.facts(name) == ImageFacts(
        dataset="a",
        file="1.jpg",
        row=0,
        place=2,
        labels=("bear",),
        level="image",
        location="x",
    )


def test_an_image_that_is_not_there_has_no_facts(store: MetadataStore) -> None:
    assert store.facts("a/p/q/9.jpg") is None
    assert store.facts("b/1.jpg") is None
    assert store.facts("a") is None
    assert store.like("a b/d/2.jpg") == "it has a b/p/q/d/1.jpg"
    assert store.like("a/p/q/3") == "it has a/p/q/3.jpg, a/p/q/1.jpg, a/p/q/2.jpg"
    assert store.like("b/1.jpg") == (
        "a full name begins with a dataset, here one of 'We[ir]d *', 'a b', 'a'"
    )


def test_a_folder_that_is_no_store_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refusal:
        open_store(tmp_path)
    assert str(refusal.value) == (
        f"{tmp_path}/datasets.json: missing; import_metadata makes a metadata store"
    )
    assert list(tmp_path.iterdir()) == []


def test_two_datasets_that_differ_in_case_are_refused(tmp_path: Path) -> None:
    write_store(tmp_path, {"a": [], "A": []})
    with pytest.raises(ArtifactError) as refusal:
        open_store(tmp_path)
    assert str(refusal.value) == (
        f"{tmp_path}: the datasets 'A' and 'a' differ in case only"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "missing; import_metadata writes it"),
        (b"", "too small to be a Parquet file"),
        (b"PAR1" * 10, "no table of images: "),
        (b"file,labels\n", "No magic bytes found"),
    ],
)
def test_a_damaged_table_is_one_line(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    dataset_list.write(tmp_path, {"a": DatasetEntry()})
    path = image_table.path_of(tmp_path, "a")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError) as refusal:
        open_store(tmp_path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert message in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_table_is_one_line(share: float, tmp_path: Path) -> None:
    write_store(tmp_path, WORLD)
    path = image_table.path_of(tmp_path, "a")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArtifactError) as refusal:
        open_store(tmp_path)
    assert str(refusal.value).startswith(f"{path}: no table of images: ")
    assert str(refusal.value).endswith("; import_metadata writes it anew")


def test_a_table_damaged_inside_is_one_line(tmp_path: Path) -> None:
    write_store(tmp_path, {"a": [{"file": f"{n:05}.jpg"} for n in range(5000)]})
    path = image_table.path_of(tmp_path, "a")
    content = bytearray(path.read_bytes())
    content[100:2000] = b"\xff" * 1900
    path.write_bytes(content)
    with (
        MetadataStore.open(tmp_path, work_dir=tmp_path) as store,
        pytest.raises(ArtifactError, match=r"a\.parquet: no table of images: "),
    ):
        store.names(np.ones(5000, np.bool_))


def test_a_table_of_other_columns_is_one_line(tmp_path: Path) -> None:
    write_store(tmp_path, {"a": []})
    path = image_table.path_of(tmp_path, "a")
    table = parquet.read_table(path)
    as_text = table.set_column(8, "labels", pa.array([], pa.string()))
    for other in (as_text, table.drop_columns(["labels"])):
        parquet.write_table(other, path)
        with pytest.raises(ArtifactError) as refusal:
            open_store(tmp_path)
        assert str(refusal.value) == (
            f"{path}: the column labels, VARCHAR[], expected; import_metadata writes it"
        )
