from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from classification import create_classification_dataset
from classification.artifacts import dataset_csv, image_contents, splits
from classification.artifacts.crop_record import CropRecord
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location, Splits
from classification.cropping.cached_animals import CachedAnimals
from classification.cropping.existing import ExistingCrops
from classification.cropping.harvest import Settings, save_crop
from classification.cropping.recorded import RecordedCrops
from classification.runtime.contents import Contents
from detection.boxes import Box
from tests import world
from tests.commands import ROOT
from tests.world import photograph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from classification.cropping.cached_animals import FoundBoxes

LOCATIONS = 9
METHODS = ["balanced", "random", "smallest_first"]
by_each_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes 36 images of two labels at nine locations, and goes there.

    Of the images 5 to 8 there is no crop, each for another reason.
    """
    monkeypatch.chdir(tmp_path)
    queried: dict[str, Any] = {}
    cached: list[dict[str, Any]] = []
    for number in range(4 * LOCATIONS):
        file = f"x/{number:03}.jpg"
        label = ("deer", "bird")[number % 2]
        queried[f"d/{file}"] = {
            "dataset": "d",
            "location": number % LOCATIONS,
            "class": label,
            "label": [label],
        }
        box = {"category": "1", "conf": 0.9, "bbox": [0, 0, 0.5, 0.5]}
        cached.append({"file": file, "detections": [{**box, "conf": 0.1}, box]})
        crop = tmp_path / f"crops/d/{file}___crop01_mdv4.1.jpg"
        crop.parent.mkdir(parents=True, exist_ok=True)
        if number != 7:
            crop.write_bytes(b"x")
    cached[5] = {"file": "x/005.jpg", "detections": None, "failure": "truncated"}
    cached[6] = {"file": "x/006.jpg", "detections": []}
    del cached[8]
    write_json(tmp_path / "run/queried_images.json", queried)
    write_cache(tmp_path / "mdcache/v4.1/d.json", cached)
    return tmp_path


def write_json(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def write_cache(path: Path, images: list[dict[str, Any]], **categories: str) -> None:
    document = {
        "info": {"detector": "md_v4.1.0.pb", "format_version": "1.0"},
        "detection_categories": categories or {"1": "animal"},
        "images": images,
    }
    write_json(path, document)


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edits a JSON file."""
    document = json.loads(path.read_bytes())
    edit(document)
    write_json(path, document)


def change_queried(base: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edits what is queried."""
    change(base / "run/queried_images.json", edit)


CSV = "run --mode csv -c crops -d mdcache -v 4.1"
SPLITS = "run --mode splits --val-frac 0.2 --test-frac 0.2"
MATCH = "--match-test old.csv old.json"


def run(line: str) -> int:
    return create_classification_dataset.main(line.split())


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_splits(base: Path) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = json.loads(
        (base / "run/splits.json").read_bytes()
    )
    return found


def left_out(base: Path) -> list[tuple[str, ...]]:
    path = base / "run/classification_ds_left_out.csv"
    return [tuple(row.values()) for row in read_rows(path)]


def outputs(base: Path) -> dict[str, bytes]:
    """Returns everything in the output folder but the logs, which hold the clock."""
    return {
        path.name: path.read_bytes()
        for path in (base / "run").iterdir()
        if "_log_" not in path.name
    }


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the last line that was said, which is to be the error."""
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_crops_become_rows_and_labels(base: Path) -> None:
    assert run(CSV) == 0
    rows = read_rows(base / "run/classification_ds.csv")
    assert len(rows) == 4 * LOCATIONS - 4
    assert rows[0] == {
        "path": "d/x/000.jpg___crop01_mdv4.1.jpg",
        "dataset": "d",
        "location": "0",
        "dataset_class": "deer",
        "confidence": "0.9",
        "label": "deer",
    }
    index = json.loads((base / "run/label_index.json").read_bytes())
    assert index == {"0": "bird", "1": "deer"}


LEFT_OUT = [
    ("image", "d/x/005.jpg", "the detector failed: truncated"),
    ("image", "d/x/006.jpg", "no animal is sure enough"),
    ("crop", "d/x/007.jpg___crop01_mdv4.1.jpg", "the crop is missing"),
    ("image", "d/x/008.jpg", "the detection cache does not have it"),
]


def test_d29_d40_what_is_left_out_is_listed_and_counted(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(CSV) == 0
    assert left_out(base) == LEFT_OUT
    err = capsys.readouterr().err
    assert "32 crops of 2 labels" in err
    assert "1 x no animal is sure enough; 1 x the crop is missing; 1 x the det" in err
    (log,) = (base / "run").glob("create_classification_dataset_log_*.json")
    assert json.loads(log.read_bytes())["counts"] == {
        "crops": 32,
        "the detector failed": 1,
        "no animal is sure enough": 1,
        "the crop is missing": 1,
        "the detection cache does not have it": 1,
    }


def test_d29_datasets_may_number_their_categories_as_they_like(base: Path) -> None:
    image = {"dataset": "e", "class": "elk", "label": ["deer"], "location": "1"}
    change_queried(base, lambda queried: queried.update({"e/a.jpg": image}))
    boxes = [
        {"category": category, "conf": 0.9, "bbox": [0, 0, 1, 1]} for category in "12"
    ]
    cached = [{"file": "a.jpg", "detections": boxes}]
    write_cache(base / "mdcache/v4.1/e.json", cached, **{"1": "person", "2": "animal"})
    (base / "crops/e").mkdir()
    for index in range(2):
        (base / f"crops/e/a.jpg___crop0{index}_mdv4.1.jpg").touch()
    assert run(CSV) == 0
    rows = read_rows(base / "run/classification_ds.csv")
    assert [row["path"] for row in rows if row["dataset"] == "e"] == [
        "e/a.jpg___crop01_mdv4.1.jpg"
    ]


@pytest.mark.parametrize("label", ["path", "label", "weight", "dataset"])
def test_d64_a_label_that_is_another_column_is_refused(
    base: Path, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change_queried(base, lambda queried: queried["d/x/002.jpg"].update(label=[label]))
    assert run(CSV) == 1
    line = error_of(capsys)
    assert f"queried_images.json: d/x/002.jpg.label: the label '{label}': res" in line
    assert not (base / "run/classification_ds.csv").exists()


def cut(base: Path, number: int, **source: Any) -> str:  # noqa: ANN401 - each field's own
    """Writes a crop that says what it was cut from; returns its name."""
    image = f"d/x/{number:03}.jpg"
    record = CropRecord(
        image=image,
        image_digest="ab" * 16,
        box=Box(0, 0, 0.5, 0.5),
        geometry=Settings().geometry,
        detector="mdv4.1",
        detector_digest="one",
        annotated=False,
    )
    name = f"{image}___crop01_mdv4.1.jpg"
    record = msgspec.structs.replace(record, **source)
    save_crop(base / "crops" / name, photograph(20, 20), record)
    return name


def test_crops_of_another_box_image_or_detector_are_left_out(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(base, 0)
    others = [
        (cut(base, 1, box=Box(0, 0, 0.5, 0.25)), "cut from another box"),
        (cut(base, 2, image="d/x/001.jpg"), "cut from another image"),
    ]
    by_digest = [
        (cut(base, 3, image_digest="11" * 16), "cut from another image"),
        (cut(base, 4, detector_digest="two"), "of a box of another detector"),
    ]

    def expected(*found: tuple[str, str]) -> list[tuple[str, str, str]]:
        rows = [("crop", name, f"the crop is {why}") for name, why in found]
        return sorted([*rows, *LEFT_OUT], key=lambda item: item[1])

    assert run(CSV) == 0
    assert sorted(left_out(base), key=lambda item: item[1]) == expected(*others)
    said = capsys.readouterr().err
    assert "27 crops do not say what they were cut from" in said
    assert "1 x the crop is cut from another box" in said
    assert "(detect_and_crop cuts crops of something else anew)" in said
    known = [(f"x/00{number}.jpg", Contents("ab" * 16, None)) for number in range(5)]
    image_contents.tell(base / "mdcache/v4.1/d.json", known, detector="one")
    assert run(CSV) == 0
    assert sorted(left_out(base), key=lambda item: item[1]) == expected(
        *others, *by_digest
    )


def test_where_all_crops_are_of_something_else_the_way_out_is_said(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4 * LOCATIONS):
        cut(base, number, box=Box(0, 0, 1, 1))
    assert run(CSV) == 1
    line = error_of(capsys)
    assert "no crop is left: " in line
    assert "detect_and_crop cuts crops of something else anew" in line


def test_a_crops_folder_that_vanishes_is_no_success(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    misfit, asked = RecordedCrops.misfit, 0

    def vanish(self: RecordedCrops, *words: Any) -> str | None:  # noqa: ANN401 - as its
        nonlocal asked
        asked += 1
        if asked == 10:
            (base / "crops").rename(base / "elsewhere")
        return misfit(self, *words)

    monkeypatch.setattr(RecordedCrops, "misfit", vanish)
    assert run(CSV) == 1
    assert "crops vanished in the middle of the run" in error_of(capsys)
    assert not (base / "run/classification_ds.csv").exists()


def test_d49_a_folder_is_listed_once_and_no_crop_is_asked_for_by_itself(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add_folders(queried: dict[str, Any]) -> None:
        for number in range(60):
            for folder in range(300):  # image by image another folder
                name = f"e/{folder}/{number}.jpg"
                queried[name] = {"dataset": "e", "class": "x", "label": ["x"]}
                queried[name]["bbox"] = [{"category": "animal", "bbox": [0, 0, 1, 1]}]

    change_queried(base, add_folders)
    listed, asked = [], []
    scandir, stat = os.scandir, os.stat

    def count_listings(path: str) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        listed.append(str(path))
        return scandir(path)

    def count_questions(path: str, **options: bool) -> os.stat_result:
        if "___crop" in str(path):
            asked.append(path)
        return stat(path, **options)

    monkeypatch.setattr(os, "scandir", count_listings)
    monkeypatch.setattr(os, "stat", count_questions)
    assert run(CSV) == 0
    monkeypatch.undo()
    folders = [name for name in listed if name.startswith("crops/e/")]
    assert len(folders) == len(set(folders)) == 300
    # A few of each folder, before it is known to be worth a listing.
    assert len(asked) < 0.6 * 300 * 60


def test_d41_a_crops_folder_may_have_braces_in_its_name(base: Path) -> None:
    (base / "crops").rename(base / "{}crops{0}")
    assert run(CSV.replace("crops", "{}crops{0}")) == 0
    assert left_out(base) == LEFT_OUT


def test_the_only_version_of_the_cache_needs_no_flag(base: Path) -> None:
    assert run("run --mode csv -c crops -d mdcache") == 0
    assert len(read_rows(base / "run/classification_ds.csv")) == 4 * LOCATIONS - 4


def test_drawn_boxes_need_no_cache(base: Path) -> None:
    def draw(queried: dict[str, Any]) -> None:
        for image in queried.values():
            image["bbox"] = [
                {"category": "group", "bbox": [0, 0, 1, 1]},
                {"category": "animal", "bbox": [0, 0, 1, 1]},
            ]

    change_queried(base, draw)
    (base / "crops/d/x/003.jpg___crop01.jpg").touch()
    assert run("run --mode csv -c crops --threshold 1") == 0
    (row,) = read_rows(base / "run/classification_ds.csv")
    assert (row["path"], row["confidence"]) == ("d/x/003.jpg___crop01.jpg", "1.0")


@pytest.mark.parametrize(("threshold", "crops"), [("0", 32), ("0.9", 32), ("0.91", 1)])
def test_the_threshold_is_the_least_confidence(
    base: Path, threshold: str, crops: int
) -> None:
    def be_surer(cache: dict[str, Any]) -> None:
        cache["images"][0]["detections"][1]["conf"] = 0.91

    change(base / "mdcache/v4.1/d.json", be_surer)
    assert run(f"{CSV} -t {threshold}") == 0
    assert len(read_rows(base / "run/classification_ds.csv")) == crops


def test_datasets_in_any_order_read_the_cache_once(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mix(queried: dict[str, Any]) -> None:
        images = list(queried.items())
        queried.clear()
        for name, image in images:
            queried[name] = image
            queried[f"e/{name}"] = {**image, "dataset": "e"}

    change_queried(base, mix)
    opened: list[str] = []
    read = CachedAnimals._read

    def note(self: CachedAnimals, name: str, dataset: str) -> FoundBoxes:
        opened.append(dataset)
        return read(self, name, dataset)

    monkeypatch.setattr(CachedAnimals, "_read", note)
    assert run(CSV) == 0
    assert opened == ["d", "e"]
    rows = read_rows(base / "run/classification_ds.csv")
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)


def test_min_locs_drops_labels_and_lists_their_crops(base: Path) -> None:
    def rename(queried: dict[str, Any]) -> None:
        queried["d/x/000.jpg"]["label"] = ["cat"]
        queried["d/x/001.jpg"]["label"] = ["cat", "bird"]
        queried["d/x/002.jpg"]["label"] = ["deer", "elk"]

    change_queried(base, rename)
    assert run(f"{CSV} --min-locs 2") == 0
    rows = read_rows(base / "run/classification_ds.csv")
    # Two locations of cat are enough, one of elk is not.
    assert [row["label"] for row in rows[:3]] == ["cat", "cat,bird", "deer"]
    assert left_out(base) == LEFT_OUT
    assert run(f"{CSV} --min-locs 3") == 0
    rows = read_rows(base / "run/classification_ds.csv")
    assert [row["label"] for row in rows[:2]] == ["bird", "deer"]
    assert left_out(base) == [
        *LEFT_OUT,
        (
            "crop",
            "d/x/000.jpg___crop01_mdv4.1.jpg",
            "its label is at fewer locations than --min-locs",
        ),
    ]
    index = json.loads((base / "run/label_index.json").read_bytes())
    assert index == {"0": "bird", "1": "deer"}


@pytest.mark.usefixtures("base")
def test_min_locs_that_drops_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"{CSV} --min-locs {LOCATIONS + 1}") == 1
    err = capsys.readouterr().err
    assert "--min-locs drops bird, deer" in err
    assert "no crop is left: " in err
    assert "32 x its label is at fewer locations than --min-locs" in err


def test_an_empty_table_takes_no_other_ones_place(base: Path) -> None:
    assert run(CSV) == 0
    first = outputs(base)
    assert run(f"{CSV} --threshold 0.95") == 1
    second = outputs(base)
    assert len(left_out(base)) == 36
    assert second.keys() == first.keys()
    for name in ("classification_ds.csv", "label_index.json"):
        assert second[name] == first[name]


@by_each_method
def test_d5_every_method_splits_by_location(
    base: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(CSV) == 0
    assert run(f"{SPLITS} --method {method}") == 0
    found = read_splits(base)
    assert list(found) == ["train", "val", "test"]
    places = [tuple(place) for part in found.values() for place in part]
    assert sorted(places) == [("d", str(i)) for i in range(LOCATIONS)]
    first = (base / "run/splits.json").read_bytes()
    assert "deer" in capsys.readouterr().out
    assert run(f"{SPLITS} --method {method}") == 0
    assert (base / "run/splits.json").read_bytes() == first


def test_d59_a_seed_chooses_the_split(base: Path) -> None:
    write_many(base)
    found = []
    for seed in (0, 0, 1):
        assert run(f"{SPLITS} --method random --seed {seed}") == 0
        found.append((base / "run/splits.json").read_bytes())
    assert found[0] == found[1] != found[2]


def write_many(base: Path, *, datasets: str = "d") -> None:
    """Writes a table of crops of three labels at 30 locations of each dataset."""
    rows = [
        CropRow(
            f"{dataset}/{n:03}.jpg___crop00.jpg",
            dataset,
            str(n % 30),
            "x",
            1.0,
            ("bear", "cat", "deer")[(n + n // 30) % 3],
        )
        for dataset in datasets
        for n in range(300)
    ]
    dataset_csv.write(base / "run/classification_ds.csv", rows)


def test_the_table_of_labels_and_splits_is_printed_and_saved(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_many(base)
    assert run(SPLITS) == 0
    saved = read_rows(base / "run/splits_summary.csv")
    printed = capsys.readouterr().out.splitlines()
    columns = ["label", "split", "crops", "locations", "share", "target", "deviation"]
    assert printed[0].split() == columns
    for line, row in zip(printed[1:], saved, strict=True):
        assert line.split() == list(row.values())
    by_location = splits.read(base / "run/splits.json").by_location()
    for row in saved:
        held = [
            own
            for own in read_rows(base / "run/classification_ds.csv")
            if own["label"] == row["label"]
        ]
        here = [
            Location(own["dataset"], own["location"])
            for own in held
            if by_location[Location(own["dataset"], own["location"])] == row["split"]
        ]
        assert int(row["crops"]) == len(here)
        assert int(row["locations"]) == len(set(here))
        assert float(row["share"]) == pytest.approx(len(here) / len(held), abs=1e-4)
        target = {"train": 0.6}.get(row["split"], 0.2)
        assert float(row["target"]) == target
        deviation = float(row["share"]) - target
        assert float(row["deviation"]) == pytest.approx(deviation, abs=1e-9)


def test_d9_locations_are_text_whatever_the_original_wrote(base: Path) -> None:
    write_many(base)
    old = {"train": [["d", 1]], "val": [], "test": [["d", 13], ["d", "7"]]}
    write_json(base / "old.json", old)  # numbers, as some older files have them
    (base / "old.csv").write_bytes((base / "run/classification_ds.csv").read_bytes())
    assert run(f"run --mode splits --val-frac 0.2 {MATCH}") == 0
    found = read_splits(base)
    assert found["test"] == [["d", "13"], ["d", "7"]]
    assert all(
        isinstance(name, str)
        for part in found.values()
        for pair in part
        for name in pair
    )
    assert sum(map(len, found.values())) == 30


def test_d9_a_number_and_its_text_are_one_location(base: Path) -> None:
    change_queried(base, lambda queried: queried["d/x/001.jpg"].update(location="1"))
    assert run(CSV) == 0
    rows = read_rows(base / "run/classification_ds.csv")
    assert {row["location"] for row in rows} == set(map(str, range(LOCATIONS)))
    assert run(SPLITS) == 0
    assert sum(map(len, read_splits(base).values())) == LOCATIONS


def test_files_of_the_original_are_read(base: Path) -> None:
    golden = ROOT / "tests/golden"
    table = (golden / "classification_ds.csv").read_bytes()
    (base / "run/classification_ds.csv").write_bytes(table)
    assert run(f"{SPLITS} --method random") == 0
    assert splits.read(base / "run/splits.json").by_location().keys() == {
        ("caltech", "13"),
        ("caltech", "nan"),
        ("idfg", "unknown_location"),
    }
    splits.write(
        base / "old.json",
        Splits(train=(), val=(), test=(Location("idfg", "unknown_location"),)),
    )
    (base / "old.csv").write_bytes(table)
    assert run(f"{CSV} {MATCH}") == 0
    last = (base / "run/classification_ds.csv").read_bytes().splitlines()[-1]
    assert last == table.splitlines()[-1]


@by_each_method
def test_d6_a_test_set_is_taken_over(base: Path, method: str) -> None:
    assert run(CSV) == 0
    assert run(SPLITS) == 0
    test = read_splits(base)["test"]
    (base / "old.csv").write_bytes((base / "run/classification_ds.csv").read_bytes())
    (base / "old.json").write_bytes((base / "run/splits.json").read_bytes())
    line = CSV.replace("--mode csv", "--mode csv splits --val-frac 0.2 --min-locs 2")
    assert run(f"{line} {MATCH} --method {method}") == 0
    found = read_splits(base)
    assert found["test"] == test
    places = [tuple(place) for part in found.values() for place in part]
    assert len(places) == len(set(places)) == LOCATIONS
    rows = read_rows(base / "run/classification_ds.csv")
    last = [["d", row["location"]] in test for row in rows]
    assert last == sorted(last)
    assert len(rows) == 4 * LOCATIONS - 4
    assert left_out(base) == LEFT_OUT  # what is taken over is not left out


def write_old(base: Path, *names: str, location: str = "0") -> None:
    """Writes another training set, whose crops are all of one test location."""
    rows = [
        CropRow(name, "d", location, "lynx", 0.5, "lynx")
        for name in names or ("d/x/900.jpg___crop00_mdv4.1.jpg",)
    ]
    elsewhere = CropRow("d/z.jpg___crop00.jpg", "d", "train", "x", 1.0, "other")
    dataset_csv.write(base / "old.csv", [elsewhere, *rows])
    places = (Location("d", location), Location("d", "gone"))
    splits.write(
        base / "old.json",
        Splits(train=(Location("d", "train"),), val=(), test=places),
    )


def test_d6_ones_own_crops_at_test_locations_give_way(base: Path) -> None:
    write_old(base)
    assert run(f"{CSV} {MATCH}") == 0
    rows = read_rows(base / "run/classification_ds.csv")
    assert [row["label"] for row in rows if row["location"] == "0"] == ["lynx"]
    assert rows[-1]["confidence"] == "0.5"
    reason = "it is at a test location of the test set that is taken over"
    assert left_out(base) == [
        *LEFT_OUT,
        *(
            ("crop", f"d/x/{number:03}.jpg___crop01_mdv4.1.jpg", reason)
            for number in (0, 9, 18, 27)
        ),
    ]
    index = json.loads((base / "run/label_index.json").read_bytes())
    assert index == {"0": "bird", "1": "deer", "2": "lynx"}


def test_d6_a_crop_whose_location_has_another_name_now_stands_once(base: Path) -> None:
    crop = "d/x/003.jpg___crop01_mdv4.1.jpg"
    write_old(base, crop, location="of old")
    assert run(f"{CSV} {MATCH}") == 0
    rows = list(dataset_csv.read(base / "run/classification_ds.csv"))
    assert [row.location for row in rows if row.path == crop] == ["of old"]


@by_each_method
def test_d6_the_test_list_is_the_given_one(base: Path, method: str) -> None:
    write_old(base)
    line = CSV.replace("--mode csv", f"--val-frac 0.25 {MATCH}")
    assert run(f"{line} --method {method}") == 0
    assert read_splits(base)["test"] == [["d", "0"], ["d", "gone"]]
    summary = read_rows(base / "run/splits_summary.csv")
    of_test = [row for row in summary if row["split"] == "test"]
    assert [(row["label"], row["crops"]) for row in of_test] == [
        ("bird", "0"),
        ("deer", "0"),
        ("lynx", "1"),
    ]
    assert {(row["target"], row["deviation"]) for row in of_test} == {("", "")}
    for label in ("bird", "deer"):
        shares = [float(row["share"]) for row in summary if row["label"] == label]
        assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_d6_a_test_set_of_ones_own_files(base: Path) -> None:
    assert run(CSV) == 0
    assert run(SPLITS) == 0
    first = outputs(base)
    line = CSV.replace("--mode csv", "--val-frac 0.2 --match-test")
    own = "run/classification_ds.csv run/splits.json"
    assert run(line.replace("--match-test", f"--match-test {own}")) == 0
    again = outputs(base)
    assert sorted(again["classification_ds.csv"].splitlines()) == sorted(
        first["classification_ds.csv"].splitlines()
    )
    assert (
        json.loads(again["splits.json"])["test"]
        == (json.loads(first["splits.json"])["test"])
    )


@by_each_method
def test_priorities_of_a_label_are_tested_on(base: Path, method: str) -> None:
    write_many(base, datasets="def")
    spec = {
        label: {
            "taxa": [{"level": "genus", "name": label}],
            "max_count": 100,
            "prioritize": [["E"]],
        }
        for label in ("bear", "cat", "deer", "not here")
    }
    write_json(base / "label_spec.json", spec)
    shares = []
    for more in ("", "--label-spec label_spec.json"):
        assert run(f"{SPLITS} --method {method} {more}") == 0
        test = read_splits(base)["test"] + read_splits(base)["val"]
        shares.append(sum(dataset == "e" for dataset, _ in test) / len(test))
    # Random trials cannot do much about it.
    assert shares[1] > (shares[0] if method == "random" else 0.8)


def test_labels_that_block_each_other_are_named(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Any two can be in all three splits; all of them cannot.
    locations = {"bear": "012", "cat": "013", "deer": "023"}
    rows = [
        CropRow(f"d/{label}{place}", "d", place, label, 1.0, label)
        for label, places in locations.items()
        for place in places
    ]
    dataset_csv.write(base / "run/classification_ds.csv", rows)
    assert run(SPLITS) == 0
    assert "these block each other: bear, cat, deer\n" in capsys.readouterr().err
    (log,) = (base / "run").glob("create_classification_dataset_log_*.json")
    document = json.loads(log.read_bytes())
    assert document["blocking"] == [["bear", "cat", "deer"]]
    assert len(document["missing"]) == 1


def test_a_single_location_cannot_be_split(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = base / "run/classification_ds.csv"
    row = CropRow("d/a", "d", "1", "c", 1.0, "x")
    dataset_csv.write(path, [row])
    assert run(SPLITS) == 1
    assert "import_metadata --location-from day" in error_of(capsys)
    dataset_csv.write(path, [])
    assert run(SPLITS) == 1
    assert "no crop, so there is nothing to split" in error_of(capsys)


def damage_store(base: Path) -> None:
    write_many(base)
    write_sequences(base, {})
    (base / "megadb/d.parquet").write_bytes(b"PAR1 cut off")


def write_sequences(base: Path, sequence_by_number: dict[int, str]) -> None:
    images = [
        {"file": f"{n:03}.jpg", "sequence": sequence_by_number.get(n)}
        for n in range(300)
    ]
    world.write_store(base / "megadb", {"d": images})


@by_each_method
def test_d58_a_sequence_is_in_one_split(
    base: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_many(base)
    # Locations 0 to 9 are joined two by two; 10 to 14 by a chain of sequences.
    sequences = {n: f"pair {n // 2}" for n in range(10)}
    chain = {n + 30 * (n % 2): f"chain {n // 2}" for n in range(10, 15)}
    chain |= {n + 60: f"chain {(n + 1) // 2}" for n in range(10, 15)}
    write_sequences(base, sequences | chain)
    assert run(f"{SPLITS} --method {method} --megadb megadb") == 0
    assert "15 locations stay together in 6 groups, the largest of 5" in (
        capsys.readouterr().err
    )
    found = splits.read(base / "run/splits.json").by_location()
    split = [found[Location("d", str(n))] for n in range(30)]
    assert len(found) == 30
    assert all(split[n] == split[n + 1] for n in range(0, 10, 2))
    assert len(set(split[10:15])) == 1
    first = outputs(base)
    assert run(f"{SPLITS} --method {method} --megadb megadb") == 0
    assert outputs(base) == first


def test_d58_a_sequence_of_a_test_location_is_tested_on(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_many(base)
    write_sequences(base, {0: "s", 1: "s"})
    write_old(base, location="1")
    line = f"run --mode splits --val-frac 0.2 {MATCH} --megadb megadb"
    assert run(line) == 0
    assert "1 further locations are in test" in capsys.readouterr().err
    assert read_splits(base)["test"] == [["d", "0"], ["d", "1"], ["d", "gone"]]


def test_d58_ids_that_each_camera_counts_for_itself(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_many(base)
    write_sequences(base, {n: str(n // 30) for n in range(300)})
    assert run(f"{SPLITS} --megadb megadb") == 1
    error = error_of(capsys)
    assert "10 ids of sequences stand at several locations" in error
    assert "import_metadata --columns sequence=CAMERA+SEQUENCE" in error


def test_a_store_of_other_images(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_many(base)
    world.write_store(base / "megadb", {"other": [{"file": "a.jpg"}]})
    assert run(f"{SPLITS} --megadb megadb") == 1
    assert "megadb has none of the images of run/classification" in error_of(capsys)
    write_sequences(base, {})
    write_many(base, datasets="de")
    assert run(f"{SPLITS} --megadb megadb") == 0
    assert "300 of 600 images are not in the store" in capsys.readouterr().err


def remove(path: str) -> Callable[[Path], object]:
    return lambda base: (base / path).unlink()


def write(path: str, text: str) -> Callable[[Path], object]:
    def write_it(base: Path) -> None:
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_text(text, encoding="utf-8")

    return write_it


def relabel(*labels: str) -> Callable[[Path], object]:
    return lambda base: change_queried(
        base, lambda queried: queried["d/x/001.jpg"].update(label=list(labels))
    )


def lose_old_table(base: Path) -> None:
    write_old(base)
    (base / "old.csv").unlink()


def mix_old_up(base: Path) -> None:
    write_old(base)
    write_json(base / "old.json", {"train": [], "val": [], "test": [["d", "none"]]})


def take_nothing_over(base: Path) -> None:
    write_many(base)
    write_old(base, location="none")


NOTHING: Callable[[Path], object] = Path.exists


@pytest.mark.parametrize(
    ("spoil", "line", "message"),
    [
        (
            remove("run/queried_images.json"),
            CSV,
            "run/queried_images.json: missing; json_validator --output-dir writes it",
        ),
        (
            write("run/queried_images.json", '{"d/a.jpg": {'),
            CSV,
            "run/queried_images.json: ",
        ),
        (
            relabel("a,b"),
            CSV,
            "run/queried_images.json: d/x/001.jpg.label: the label 'a,b': a comma",
        ),
        (
            NOTHING,
            CSV.replace("crops", "none"),
            "none: no such folder; detect_and_crop --cropped-images-dir makes it",
        ),
        (
            write("none/readme", ""),
            CSV.replace("crops", "none"),
            (
                "run/classification_ds.csv: no crop is left: 33 x the crop is missing; "
                "1 x no animal is sure enough; 1 x the detection cache does not have it; "
                "1 x the detector failed; detect_and_crop --cropped-images-dir makes them"
            ),
        ),
        (
            NOTHING,
            CSV.replace("-v 4.1", "-v 5a"),
            "mdcache: holds detections of 4.1, not of 5a; --detector-version says which",
        ),
        (
            NOTHING,
            CSV.replace("-d mdcache -v 4.1", ""),
            "nobody drew boxes of d/x/000.jpg; --detector-output-cache-dir says where",
        ),
        (
            NOTHING,
            CSV.replace("mdcache", "none"),
            "none: holds no detections, not of 4.1; detect_and_crop --run-detector",
        ),
        (
            write("mdcache/v4.1/d.json", '{"images": [{"file": "a.jpg"}'),
            CSV,
            "mdcache/v4.1/d.json: ",
        ),
        (
            NOTHING,
            f"{CSV} {MATCH}",
            "old.json: cannot read: No such file or directory",
        ),
        (
            write("old.json", '{"train": [], "val": [], "test": []}'),
            f"{CSV} {MATCH}",
            "old.json: --match-test: it has no test locations",
        ),
        (
            lose_old_table,
            f"{CSV} {MATCH}",
            "old.csv: missing; create_classification_dataset --mode csv writes it",
        ),
        (
            mix_old_up,
            f"{CSV} {MATCH}",
            "old.csv has no crop at the test locations of old.json; --match-test wants",
        ),
        (
            take_nothing_over,
            f"run --mode splits --val-frac 0.2 {MATCH}",
            "run/classification_ds.csv has no crop at the test locations of old.json; --mo",
        ),
        (
            NOTHING,
            SPLITS,
            "run/classification_ds.csv: missing; create_classification_dataset --mode csv",
        ),
        (
            write_many,
            f"{SPLITS} --megadb none",
            "none/datasets.json: missing; import_metadata makes a metadata store",
        ),
        (
            damage_store,
            f"{SPLITS} --megadb megadb",
            "megadb/d.parquet: no table of imag",
        ),
        (
            write_many,
            f"{SPLITS} --label-spec none.json",
            "none.json: cannot read: No such file",
        ),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_way_out(
    base: Path,
    spoil: Callable[[Path], object],
    line: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(base)
    assert run(line) == 1
    assert error_of(capsys).startswith(f"error: {message}")


def test_an_image_without_a_label_is_listed(base: Path) -> None:
    relabel()(base)
    assert run(CSV) == 0
    assert left_out(base) == [("image", "d/x/001.jpg", "it has no label"), *LEFT_OUT]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --mode csv", "--mode csv needs --cropped-images-dir"),
        ("run", "--mode csv needs --cropped-images-dir"),
        ("run -c crops", "--mode splits needs --val-frac, and either --test-frac or"),
        (
            "run --mode splits --val-frac 0.2",
            "needs --val-frac, and either --test-frac",
        ),
        ("run --mode splits --test-frac 0.2", "needs --val-frac, and either"),
        (
            "run --mode splits --val-frac 0.6 --test-frac 0.4",
            "--val-frac and --test-frac leave nothing for train",
        ),
        (f"{SPLITS} {MATCH}", "either --test-frac or --match-test"),
        (f"{SPLITS} --method best", "invalid choice: 'best'"),
        (f"{CSV} --threshold 80", "80 is not between 0 and 1"),
        (f"{CSV} --min-locs 0", "0 is not a whole number above 0"),
    ],
)
def test_usage_errors(
    base: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert base.exists()
    with pytest.raises(SystemExit) as ending:
        run(line)
    assert ending.value.code == 2
    assert message in capsys.readouterr().err


BOTH = CSV.replace("--mode csv", "--val-frac 0.2 --test-frac 0.2")


def run_undisturbed(base: Path) -> dict[str, bytes]:
    """Makes everything, and removes it; returns what it was."""
    assert run(BOTH) == 0
    first = outputs(base)
    for name in first.keys() - {"queried_images.json"}:
        (base / "run" / name).unlink()
    return first


def test_nothing_half_made_is_left_and_the_next_run_gives_the_same_bytes(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_undisturbed(base)
    asked = 0
    contains = ExistingCrops.__contains__

    def interrupt(self: ExistingCrops, name: str) -> bool:
        nonlocal asked
        asked += 1
        if asked == 20:
            raise KeyboardInterrupt
        return contains(self, name)

    monkeypatch.setattr(ExistingCrops, "__contains__", interrupt)
    assert run(BOTH) == 130
    assert outputs(base).keys() == {"queried_images.json"}
    monkeypatch.undo()
    monkeypatch.chdir(base)
    assert run(BOTH) == 0
    assert outputs(base) == first


KILLED = """
import os, signal, sys
from classification import create_classification_dataset as command
from classification.artifacts import {module} as module
write = module.write
def kill(*args):
    {before}
    os.kill(os.getpid(), signal.SIGKILL)
module.write = kill
command.main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("module", ["dataset_csv", "label_index", "splits"])
@pytest.mark.parametrize("before", ["pass", "write(*args)"])
def test_killed_and_run_again_it_gives_the_same_bytes(
    base: Path, module: str, before: str
) -> None:
    first = run_undisturbed(base)
    program = KILLED.format(module=module, before=before)
    done = subprocess.run(
        [sys.executable, "-c", program, *BOTH.split()],
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL
    assert run(BOTH) == 0
    left = outputs(base)
    assert {name: left[name] for name in first} == first
