from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import dataset_list
from classification.artifacts.dataset_list import DatasetEntry
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, document: Any) -> Path:  # noqa: ANN401 - JSON of any shape
    path = folder / dataset_list.FILENAME
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_datasets_come_back_sorted(tmp_path: Path) -> None:
    entries = {
        "b": DatasetEntry(root="/data/b", location_from="day", images=3),
        "A B": DatasetEntry(base_url="https://x/", path_prefix="c/d"),
    }
    dataset_list.write(tmp_path, entries)
    assert list(dataset_list.read(tmp_path).items()) == sorted(entries.items())


@pytest.mark.parametrize(
    ("prefix", "expected"), [("", "ds/a/b.jpg"), ("c/d", "ds/c/d/a/b.jpg")]
)
def test_an_image_is_named_after_dataset_prefix_and_file(
    prefix: str, expected: str
) -> None:
    assert DatasetEntry(path_prefix=prefix).name_of("ds", "a/b.jpg") == expected


def test_a_folder_that_is_no_store_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refusal:
        dataset_list.read(tmp_path / "x")
    expected = (
        f"{tmp_path}/x/datasets.json: missing; import_metadata makes a metadata store"
    )
    assert str(refusal.value) == expected


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"../x": {}}, "../x: '../x' leaves its folder"),
        ({"a/b": {}}, "a/b: 'a/b' names more than one folder"),
        ({"a": 1}, "a: Expected `object`, got `int`"),
        ({"a": {"root": 1}}, "a.root: Expected `str | null`, got `int`"),
        ({"a": {"images": -1}}, "a.images: Expected `int` >= 0"),
        ({"a": {"location_from": "x"}}, "a.location_from: Invalid enum value 'x'"),
        (
            {"a": {"path_prefix": "b/../.."}},
            "a.path_prefix: 'b/../..' leaves its folder",
        ),
        ({"a": {"sas": "x"}}, "a: Object contains unknown field `sas`"),
        ([], "expected an object at the top level"),
    ],
)
def test_what_breaks_the_format_has_an_address(
    tmp_path: Path,
    document: Any,  # noqa: ANN401 - JSON of any shape
    message: str,
) -> None:
    path = written(tmp_path, document)
    with pytest.raises(ArtifactError) as refusal:
        dataset_list.read(tmp_path)
    assert str(refusal.value) == f"{path}: {message}"
