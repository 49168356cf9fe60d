from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import detection_cache
from classification.artifacts.detections import Header
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

HEADER = Header(
    detection_categories={"1": "animal"},
    info={"format_version": "1.6", "detector": "megadetector_v4.1"},
)
IMAGE = b'{"file": "a/b.jpg", "detections": []}'


def test_a_dataset_is_a_file_of_its_version(tmp_path: Path) -> None:
    path = detection_cache.write(tmp_path, "4.1", "caltech", HEADER, [IMAGE])
    assert path == tmp_path / "v4.1" / "caltech.json"
    assert list(json.loads(path.read_bytes())) == [
        "info",
        "detection_categories",
        "classification_categories",
        "images",
    ]
    file = detection_cache.open_file(tmp_path, "4.1", "caltech")
    assert list(file.documents()) == [IMAGE]
    assert file.header.detector == "megadetector_v4.1"


def test_a_missing_dataset_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refused:
        detection_cache.open_file(tmp_path, "4.1", "caltech")
    assert str(refused.value) == (
        f"{tmp_path}/v4.1/caltech.json: no such file; cache_batchapi_outputs writes it "
        "from the dataset's detections"
    )


@pytest.mark.parametrize(
    ("version", "dataset", "message"),
    [
        ("..", "x", "'..' leaves its folder"),
        ("4.1", "../x", "'../x' leaves its folder"),
        ("4.1", "a/x", "'a/x' names more than one folder"),
        ("4.1", "a\\x", "'a\\\\x' holds a backslash; names use /"),
        ("4.1", "", "'' names no file"),
    ],
)
def test_names_stay_in_the_cache(
    tmp_path: Path, version: str, dataset: str, message: str
) -> None:
    with pytest.raises(ArtifactError) as refused:
        detection_cache.path_of(tmp_path, version, dataset)
    assert str(refused.value) == f"{tmp_path}: {message}"


def test_headers_that_agree_are_one(tmp_path: Path) -> None:
    files = []
    for name in "ab":
        detection_cache.write(tmp_path, "4.1", name, HEADER, [IMAGE])
        files.append(detection_cache.open_file(tmp_path, "4.1", name))
    assert detection_cache.agreed_header(files) == files[0].header


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            Header(detection_categories={"1": "animal"}, info={"detector": "x"}),
            "info.detector: 'x', but {0}/v4.1/a.json is of 'megadetector_v4.1'",
        ),
        (
            Header(detection_categories={"1": "fish"}, info=HEADER.info),
            "detection_categories: other categories than in {0}/v4.1/a.json",
        ),
    ],
)
def test_headers_that_disagree_are_refused(
    tmp_path: Path, header: Header, message: str
) -> None:
    files = []
    for name, one in (("a", HEADER), ("b", header)):
        detection_cache.write(tmp_path, "4.1", name, one, [IMAGE])
        files.append(detection_cache.open_file(tmp_path, "4.1", name))
    with pytest.raises(ArtifactError) as refused:
        detection_cache.agreed_header(files)
    assert str(refused.value) == (f"{tmp_path}/v4.1/b.json: {message.format(tmp_path)}")
