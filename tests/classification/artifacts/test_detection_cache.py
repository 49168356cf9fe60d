from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import detection_cache
from classification.artifacts.detection_cache import Merged, Spelling
from classification.artifacts.detections import Header
from classification.runtime import locking
from classification.runtime.errors import ArtifactError, StorageError
from classification.runtime.sorting import sort_records
from detection.boxes import Box
from detection.records import Detection, ImageDetections
from tests.commands import ROOT

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


def test_d29_categories_of_several_datasets_are_one_by_their_names(
    tmp_path: Path,
) -> None:
    categories = [
        {"1": "animal", "2": "person"},
        {"0": "empty", "1": "person", "2": "animal"},
        {"1": "animal", "2": "person"},
    ]
    files = []
    for dataset, name_by_id in zip("abc", categories, strict=True):
        header = replace(HEADER, detection_categories=name_by_id)
        detection_cache.write(tmp_path, "4.1", dataset, header, [IMAGE])
        files.append(detection_cache.open_file(tmp_path, "4.1", dataset))
    header, ids = detection_cache.join_headers(files)
    assert header.detector == "megadetector_v4.1"
    names = {"1": "animal", "2": "person", "0": "empty"}
    assert header.detection_categories == names
    assert ids == [
        {"1": "1", "2": "2"},
        {"0": "0", "1": "2", "2": "1"},
        {"1": "1", "2": "2"},
    ]


def test_caches_of_different_detectors_are_refused(tmp_path: Path) -> None:
    files = []
    for dataset, detector in (("a", "megadetector_v4.1"), ("b", "x")):
        header = replace(HEADER, info={"detector": detector})
        detection_cache.write(tmp_path, "4.1", dataset, header, [IMAGE])
        files.append(detection_cache.open_file(tmp_path, "4.1", dataset))
    with pytest.raises(ArtifactError) as refused:
        detection_cache.join_headers(files)
    assert str(refused.value) == (
        f"{tmp_path}/v4.1/b.json: info.detector: 'x', but {tmp_path}/v4.1/a.json is of "
        "'megadetector_v4.1'"
    )


BOX = {"category": "1", "conf": 0.914, "bbox": [0.1, 0.2, 0.3, 0.4]}


def merge(
    folder: Path, *images: dict[str, Any], header: Header = HEADER, **options: bool
) -> Merged:
    documents = [json.dumps(image, indent=1).encode() for image in images]
    return detection_cache.merge(folder, "4.1", "caltech", header, documents, **options)


def image(file: str, **keys: object) -> dict[str, Any]:
    return {"file": file, "detections": [BOX], **keys}


def counts(merged: Merged) -> tuple[int, int, int, int]:
    return merged.images, merged.added, merged.replaced, merged.kept


def cached(folder: Path) -> dict[str, Any]:
    """Returns the images by name, in file order."""
    document = json.loads((folder / "v4.1/caltech.json").read_bytes())
    return {one.pop("file"): one for one in document["images"]}


def test_a_run_is_added_to_what_is_there(tmp_path: Path) -> None:
    first = merge(tmp_path, image("b.jpg"), image("a.jpg", meta=1))
    assert counts(first) == (2, 2, 0, 0)
    other = {**BOX, "conf": 0.1}
    second = merge(tmp_path, image("c.jpg"), image("a.jpg", detections=[other]))
    assert counts(second) == (3, 1, 0, 1)
    assert cached(tmp_path) == {
        "a.jpg": {"detections": [BOX], "meta": 1},
        "b.jpg": {"detections": [BOX]},
        "c.jpg": {"detections": [BOX]},
    }
    assert list(cached(tmp_path)) == ["a.jpg", "b.jpg", "c.jpg"]
    third = merge(tmp_path, image("a.jpg", detections=[other]), newer_wins=True)
    assert counts(third) == (3, 0, 1, 0)
    assert cached(tmp_path)["a.jpg"] == {"detections": [other]}


def test_the_file_is_one_line_an_image_and_the_same_when_merged_again(
    tmp_path: Path,
) -> None:
    run = [image("b.jpg"), image("a.jpg", detections=[]), image("c.jpg", x=1.50)]
    path = merge(tmp_path, *run).path
    text = path.read_text(encoding="utf-8")
    assert text == (
        "{\n"
        ' "info": {"format_version":"1.6","detector":"megadetector_v4.1"},\n'
        ' "detection_categories": {"1":"animal"},\n'
        ' "classification_categories": {},\n'
        ' "images": [\n'
        '  {"file":"a.jpg","detections":[]},\n'
        '  {"file":"b.jpg","detections":[{"category":"1","conf":0.914,'
        '"bbox":[0.1,0.2,0.3,0.4]}]},\n'
        '  {"file":"c.jpg","detections":[{"category":"1","conf":0.914,'
        '"bbox":[0.1,0.2,0.3,0.4]}],"x":1.5}\n'
        " ]\n}\n"
    )
    assert counts(merge(tmp_path, *run)) == (3, 0, 0, 3)
    assert path.read_text(encoding="utf-8") == text
    assert [one.name for one in path.parent.iterdir()] == ["caltech.json"]


@pytest.mark.parametrize(
    "failure",
    [
        {"detections": None, "failure": "inference failure"},
        {"failure": "inference failure"},
        {"detections": [], "failure": "inference failure"},
    ],
    ids=["null", "no key", "empty"],
)
def test_d14_a_failure_gives_way_and_never_takes_the_place_of_boxes(
    failure: dict[str, object], tmp_path: Path
) -> None:
    failed = {"file": "a.jpg", **failure}
    first = merge(tmp_path, failed)
    assert counts(first) == (1, 1, 0, 0)
    assert first.failures == [("a.jpg", "inference failure")]
    again = merge(tmp_path, failed)
    assert counts(again) == (1, 0, 0, 1)
    assert again.failures == [("a.jpg", "inference failure")]
    success = merge(tmp_path, image("a.jpg"))
    assert counts(success) == (1, 0, 1, 0)
    assert success.failures == []
    for newer_wins in (False, True):
        late = merge(tmp_path, failed, newer_wins=newer_wins)
        assert counts(late) == (1, 0, 0, 1)
        assert late.failures == []
        assert cached(tmp_path) == {"a.jpg": {"detections": [BOX]}}


def test_a_failure_without_a_reason(tmp_path: Path) -> None:
    merged = merge(tmp_path, {"file": "a.jpg", "detections": None})
    assert merged.failures == [("a.jpg", "no reason given")]


def test_an_image_that_stands_twice_in_a_run_is_counted(tmp_path: Path) -> None:
    failed = {"file": "a.jpg", "detections": None}
    merged = merge(tmp_path, failed, image("a.jpg", n=1), image("a.jpg", n=2))
    assert counts(merged) == (1, 1, 0, 0)
    assert merged.repeated == 2
    assert cached(tmp_path)["a.jpg"]["n"] == 1


def test_d29_the_same_category_under_another_id_is_one(tmp_path: Path) -> None:
    header = Header(
        detection_categories={"1": "animal", "2": "person"},
        info=HEADER.info,
        classification_categories={"0": "deer"},
    )
    classified = {**BOX, "classifications": [["0", 0.90]]}
    merge(tmp_path, image("a.jpg", detections=[classified]), header=header)
    other = Header(
        detection_categories={"0": "animal", "1": "person", "2": "vehicle"},
        info=HEADER.info,
        classification_categories={"0": "bear", "1": "deer"},
    )
    boxes = [{**BOX, "category": id_} for id_ in "012"]
    boxes[0]["classifications"] = [["0", 0.5], ["1", 0.25]]
    failed = {"file": "c.jpg", "failure": "x"}
    merged = merge(
        tmp_path, image("b.jpg", detections=boxes, width=3), failed, header=other
    )
    assert merged.notes == [
        ("detection_categories.0", "'animal' has the id 1 in the cache"),
        ("detection_categories.1", "'person' has the id 2 in the cache"),
        ("detection_categories.2", "'vehicle' has the id 3 in the cache"),
        ("classification_categories.0", "'bear' has the id 2 in the cache"),
        ("classification_categories.1", "'deer' has the id 0 in the cache"),
    ]
    file = detection_cache.open_file(tmp_path, "4.1", "caltech")
    names = file.header.detection_categories
    assert names == {"1": "animal", "2": "person", "3": "vehicle"}
    assert file.header.classification_categories == {"0": "deer", "2": "bear"}
    where = Box(0.1, 0.2, 0.3, 0.4)
    assert list(file.images()) == [
        ImageDetections("a.jpg", (Detection("1", where, 0.914, (("0", 0.9),)),)),
        ImageDetections(
            "b.jpg",
            (
                Detection("1", where, 0.914, (("2", 0.5), ("0", 0.25))),
                Detection("2", where, 0.914),
                Detection("3", where, 0.914),
            ),
        ),
        ImageDetections("c.jpg", None, "x"),
    ]
    assert b'"width":3' in merged.path.read_bytes()


@pytest.mark.parametrize(
    ("cached_info", "info", "expected"),
    [
        ({}, {}, {"format_version": "1.6"}),
        ({"format_version": 1.0}, {}, {"format_version": "1.0"}),
        (
            {"format_version": "1.5", "detector": "unknown", "a": 1},
            {"format_version": 1.10, "detector": "md_v4.1.0.pb", "b": 2, "a": 2},
            {"format_version": "1.5", "detector": "md_v4.1.0.pb", "a": 1, "b": 2},
        ),
        (
            {"format_version": "1.0"},
            {"format_version": "1.6", "detector": "md_v4.1.0.pb"},
            {"format_version": "1.6", "detector": "md_v4.1.0.pb"},
        ),
        ({"detector": "x"}, {"detector": "unknown"}, {"detector": "x"}),
    ],
)
def test_d30_runs_of_other_format_versions_join(
    cached_info: dict[str, Any],
    info: dict[str, Any],
    expected: dict[str, Any],
    tmp_path: Path,
) -> None:
    merge(tmp_path, image("a.jpg"), header=replace(HEADER, info=cached_info))
    merged = merge(tmp_path, image("b.jpg"), header=replace(HEADER, info=info))
    assert merged.notes == []
    header = detection_cache.open_file(tmp_path, "4.1", "caltech").header
    assert header.info == {"format_version": "1.6", **expected}


def test_another_name_of_the_detector_is_noted(tmp_path: Path) -> None:
    merge(tmp_path, image("a.jpg"))
    header = replace(HEADER, info={"detector": "md_v4.1.0.pb"}, other={"x": 1})
    merged = merge(tmp_path, image("b.jpg"), header=header)
    assert merged.notes == [
        ("x", "left out: a cache has no such key"),
        (
            "info.detector",
            "'md_v4.1.0.pb' is put under 'megadetector_v4.1', as the cache says",
        ),
    ]
    header = detection_cache.open_file(tmp_path, "4.1", "caltech").header
    assert header.detector == "megadetector_v4.1"
    assert header.other == {}


def test_what_the_original_wrote_is_read_and_joined(tmp_path: Path) -> None:
    path = tmp_path / "v4.1" / "caltech.json"
    path.parent.mkdir()
    shutil.copy(ROOT / "tests/golden/detection_cache.json", path)
    file = detection_cache.open_file(tmp_path, "4.1", "caltech")
    box = Detection("1", Box(0.3477, 0.2372, 0.2571, 0.2576), 0.987)
    assert list(file.images()) == [
        ImageDetections("cct_images/a.jpg", (box,)),
        ImageDetections("cct_images/b.jpg", ()),
        ImageDetections("cct_images/c.jpg", None, "Failure image access"),
    ]
    first = json.loads(next(iter(file.documents())))
    assert first["max_detection_conf"] == 0.987
    merged = merge(tmp_path, image("cct_images/b.jpg"), image("cct_images/c.jpg"))
    assert counts(merged) == (3, 0, 1, 1)
    assert cached(tmp_path)["cct_images/b.jpg"]["detections"] == []
    assert cached(tmp_path)["cct_images/c.jpg"] == {"detections": [BOX]}


def test_a_cache_that_was_saved_as_it_came_is_put_in_order(tmp_path: Path) -> None:
    """Names with both slashes, in any order, some twice."""
    failed = {"file": "b/x.jpg", "detections": None}
    images = [image("c.jpg"), failed, image("b\\x.jpg"), image("a.jpg")]
    documents = [json.dumps(one).encode() for one in images]
    detection_cache.write(tmp_path, "4.1", "caltech", HEADER, documents)
    assert counts(merge(tmp_path)) == (3, 0, 0, 0)
    assert list(cached(tmp_path)) == ["a.jpg", "b/x.jpg", "c.jpg"]
    assert cached(tmp_path)["b/x.jpg"] == {"detections": [BOX]}


@pytest.mark.parametrize(
    ("folder", "version"),
    [
        ("v5a.0.0.pt", "5a.0.0"),
        ("v4.1.0.pb", "4.1"),
        ("v1000.0.0-redwood.pt", "1000.0.0-redwood"),
        ("v5a.0.0.pt", "5a.0.0.pt"),
    ],
)
def test_d30_a_folder_that_the_original_named_after_the_file_stays_in_use(
    folder: str, version: str, tmp_path: Path
) -> None:
    detection_cache.write(tmp_path, folder[1:], "caltech", HEADER, [IMAGE])
    assert detection_cache.find(tmp_path, version, "caltech")
    path = tmp_path / folder / "caltech.json"
    merged = detection_cache.merge(tmp_path, version, "caltech", HEADER, [])
    assert (merged.path, merged.images) == (path, 1)
    assert detection_cache.path_of(tmp_path, version, "other") == (
        tmp_path / f"v{version}" / "other.json"
    )


def test_the_plain_name_of_the_folder_comes_first(tmp_path: Path) -> None:
    for version in ("5a.0.0.pt", "5a.0.0"):
        detection_cache.write(tmp_path, version, "caltech", HEADER, [])
    (tmp_path / "v5a.0.0").mkdir(exist_ok=True)
    (tmp_path / "v5a.0.0" / "caltech.json").write_bytes(
        (tmp_path / "v5a.0.0.pt" / "caltech.json").read_bytes()
    )
    assert detection_cache.path_of(tmp_path, "5a.0.0", "caltech") == (
        tmp_path / "v5a.0.0" / "caltech.json"
    )


def test_a_dataset_is_found_whatever_the_case_of_its_name(tmp_path: Path) -> None:
    path = detection_cache.write(tmp_path, "4.1", "Snapshot Serengeti", HEADER, [])
    for name in ("snapshot serengeti", "SNAPSHOT SERENGETI", "Snapshot Serengeti"):
        assert detection_cache.path_of(tmp_path, "4.1", name) == path
    assert detection_cache.find(tmp_path, "4.1", "snapshot") is None


def test_d39_two_runs_do_not_change_a_file_at_once(tmp_path: Path) -> None:
    path = merge(tmp_path, image("a.jpg")).path
    with locking.exclusive(path), pytest.raises(StorageError) as refused:
        merge(tmp_path, image("b.jpg"))
    assert str(refused.value) == f"another run is writing {path}; wait for it to end"
    assert list(cached(tmp_path)) == ["a.jpg"]


def test_a_broken_cache_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = merge(tmp_path, image("a.jpg")).path
    broken = path.read_bytes()[:-20]
    path.write_bytes(broken)
    with pytest.raises(ArtifactError, match=f"^{path}: images"):
        merge(tmp_path, image("b.jpg"))
    assert path.read_bytes() == broken
    assert [one.name for one in path.parent.iterdir()] == ["caltech.json"]


def test_more_images_than_memory_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frugal = partial(sort_records, memory_bytes=1 << 14)
    monkeypatch.setattr(detection_cache, "sort_records", frugal)
    names = [f"{number * 7919 % 2000:04d}.jpg" for number in range(2000)]
    merge(tmp_path, *(image(name) for name in names[:1500]))
    merged = merge(tmp_path, *(image(name) for name in names[500:]))
    assert counts(merged) == (2000, 500, 0, 1000)
    assert list(cached(tmp_path)) == sorted(names)


def test_prefixes_fit_names_to_the_dataset() -> None:
    assert Spelling()("a\\b/c.jpg") == "a/b/c.jpg"
    spelling = Spelling(remove_prefix="x\\", add_prefix="y\\z/")
    assert [spelling(name) for name in ("x/a.jpg", "x\\x/b.jpg")] == [
        "y/z/a.jpg",
        "y/z/x/b.jpg",
    ]
    with pytest.raises(ArtifactError) as refused:
        spelling("z/a.jpg")
    assert str(refused.value) == "'z/a.jpg' does not begin with 'x/'"
    skipping = Spelling(remove_prefix="x/", skip_others=True)
    assert [skipping(name) for name in ("z/a.jpg", "x\\a.jpg")] == [None, "a.jpg"]


def test_d30_versions_of_a_cache(tmp_path: Path) -> None:
    for folder in ("v5a.0.0.pt", "v4.1", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "v6").touch()
    assert detection_cache.versions(tmp_path) == ["4.1", "5a.0.0.pt"]
    assert detection_cache.versions(tmp_path / "missing") == []
    assert detection_cache.has_version(tmp_path, "4.1")
    assert detection_cache.has_version(tmp_path, "5a.0.0")  # the original's spelling
    assert not detection_cache.has_version(tmp_path, "6")
