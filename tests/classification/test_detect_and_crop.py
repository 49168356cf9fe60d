from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from PIL import Image

from classification import detect_and_crop, merge_shards
from classification.artifacts import crop_index
from classification.runtime import cli, locking, parallel
from classification.runtime.journal import Journal
from tests.commands import ROOT
from tests.detection.detectors.graphs import constant_detector, red_detector
from tests.world import photograph, save_jpeg, with_blob, write_store

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGES = 8  # of each of two datasets
DRAWN = "a/x/00.jpg"
UNDRAWN = 2 * IMAGES - 1
QUERIED = {"class": "elk", "label": ["deer"]}


class World:
    """Two datasets of images, one of which people drew boxes on, and a detector.

    The detector finds an animal (0.9) and a person (0.8) wherever it looks.
    """

    def __init__(self, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.base = base
        self.capsys = capsys
        output = np.zeros((252, 8), dtype=np.float32)
        output[0] = (20, 32, 16, 24, 0.9, 1, 0, 0)
        output[1] = (44, 32, 16, 16, 0.8, 0, 1, 0)
        constant_detector(base / "tiny_v7.onnx", output)
        self.images: dict[str, dict[str, Any]] = {}
        for number in range(IMAGES):
            for dataset in "ab":
                self.add(f"{dataset}/x/{number:02}.jpg", seed=number)
        self.images[DRAWN]["bbox"] = [
            {"category": "animal", "bbox": [0.1, 0.2, 0.5, 0.5]},
            {"category": "person", "bbox": [0.1, 0.2, 0.5, 0.5]},
            {"category": "animal", "bbox": [0.5, 0.5, 0.25, 0.25]},
        ]
        self.save()

    def add(self, name: str, *, seed: int = 0, folder: str = "images") -> Path:
        self.images[name] = {"dataset": name.partition("/")[0], **QUERIED}
        scene = photograph(160, 120, seed=seed)
        return save_jpeg(self.base / folder / name, scene)

    def keep(self, *names: str) -> None:
        """Leaves only these images in the query."""
        self.images = {name: self.images[name] for name in names}
        self.save()

    def save(self) -> None:
        text = json.dumps(dict(sorted(self.images.items())))
        (self.base / "queried_images.json").write_text(text, encoding="utf-8")

    def run(self, line: str) -> int:
        self.capsys.readouterr()
        return detect_and_crop.main(line.split())

    @property
    def said(self) -> list[str]:
        shown = self.capsys.readouterr()
        assert shown.out == ""
        return shown.err.splitlines()

    def refusal(self, line: str) -> str:
        """Returns the one line of a run that ends with exit code 1."""
        try:
            code = self.run(line)
        except SystemExit as ended:  # before any work
            code = cast("int", ended.code)
        assert code == 1
        last = self.said[-1]
        assert last.startswith("error: ")
        return last.removeprefix("error: ")

    def usage(self, line: str) -> str:
        with pytest.raises(SystemExit) as ended:
            self.run(line)
        assert ended.value.code == 2
        return self.said[-1].partition(": error: ")[2]

    @property
    def log(self) -> dict[str, Any]:
        newest = max(
            self.base.glob("out/*_log_*.json"), key=lambda p: p.stat().st_mtime_ns
        )
        document: dict[str, Any] = json.loads(newest.read_bytes())
        return document

    @property
    def reasons(self) -> dict[str, str]:
        return {item["item"]: item["reason"] for item in self.log["failures"]}

    @property
    def crops(self) -> dict[str, bytes]:
        root = self.base / "crops"
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("[!.]*"))
            if path.is_file()
        }

    def crop_size(self, name: str) -> tuple[int, int]:
        with Image.open(self.base / "crops" / name) as image:
            return image.size

    def cache(self, dataset: str, version: str = "7") -> dict[str, Any]:
        path = self.base / f"mdcache/v{version}/{dataset}.json"
        document: dict[str, Any] = json.loads(path.read_bytes())
        return document

    def write_cache(
        self,
        dataset: str,
        *images: Mapping[str, Any],
        version: str = "7",
        **top: object,
    ) -> None:
        path = self.base / f"mdcache/v{version}/{dataset}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "info": {"format_version": "1.6", "detector": "tiny_v7.onnx"},
            "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
            "images": images,
        }
        path.write_text(json.dumps(document | top), encoding="utf-8")

    def snapshot(self) -> dict[str, bytes]:
        """Returns all files but those that hold the clock: logs and the crops' index."""
        return {
            path.relative_to(self.base).as_posix(): path.read_bytes()
            for folder in ("mdcache", "crops", "out")
            for path in sorted((self.base / folder).rglob("*"))
            if path.is_file()
            and "_log_" not in path.name
            and path.name != crop_index.FILENAME
        }


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> World:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(cli.MEGADB_VARIABLE, raising=False)
    monkeypatch.delenv(detect_and_crop.API_VARIABLE, raising=False)
    return World(tmp_path, capsys)


PLAIN = "queried_images.json out -c mdcache --detector tiny_v7.onnx"
CROP = f"{PLAIN} --images-dir images --cropped-images-dir crops"
DETECT = f"{CROP} --run-detector --square-crops -t 0.4"
BOX = {"category": "1", "conf": 0.6, "bbox": [0.1, 0.2, 0.5, 0.5]}
PERSON = {**BOX, "category": "2", "conf": 0.95}


# What is detected


def test_images_without_boxes_are_detected_dataset_by_dataset(world: World) -> None:
    assert world.run(DETECT) == 0
    for dataset, first in (("a", 1), ("b", 0)):
        document = world.cache(dataset)
        assert document["info"] == {
            "format_version": "1.6",
            "detector": "tiny_v7.onnx",
        }
        names = [image["file"] for image in document["images"]]
        assert names == [f"x/{number:02}.jpg" for number in range(first, IMAGES)]
        confidences = [box["conf"] for box in document["images"][0]["detections"]]
        assert confidences == [0.9, 0.8]
    assert not (world.base / "out/detect_and_crop.journal").exists()


def test_images_with_drawn_boxes_are_not_detected_even_if_they_have_none(
    world: World,
) -> None:
    world.images["b/x/01.jpg"]["bbox"] = []
    world.save()
    assert world.run(DETECT) == 0
    submitted = world.log["images_submitted_for_detection"]
    assert len(submitted) == UNDRAWN - 1
    assert not {DRAWN, "b/x/01.jpg"} & set(submitted)
    assert not [name for name in world.crops if name.startswith("b/x/01.jpg")]


def test_images_in_the_cache_are_not_detected(world: World) -> None:
    world.write_cache(
        "a", *({"file": f"x/{n:02}.jpg", "detections": []} for n in (1, 2))
    )
    assert world.run(DETECT) == 0
    submitted = world.log["images_submitted_for_detection"]
    assert len(submitted) == UNDRAWN - 2
    assert not {"a/x/01.jpg", "a/x/02.jpg"} & set(submitted)
    assert [image["detections"] for image in world.cache("a")["images"][:2]] == [[], []]


def test_the_detection_threshold_is_of_the_cache(world: World) -> None:
    assert world.run(f"{DETECT} --detection-threshold 0.85") == 0
    assert [len(i["detections"]) for i in world.cache("a")["images"]] == [1] * 7


def test_batches_find_the_same(world: World) -> None:
    red_detector(world.base / "red_v9.0.onnx")
    line = DETECT.replace("tiny_v7.onnx", "red_v9.0.onnx")
    assert world.run(line) == 0
    one_by_one = world.snapshot()
    for name in one_by_one:
        (world.base / name).unlink()
    assert world.run(f"{line} --batch-size 4 --threads 2 --device cpu") == 0
    assert world.snapshot() == one_by_one
    assert world.log["options"]["batch_size"] == 4


def test_a_second_run_detects_nothing_and_writes_no_crop(world: World) -> None:
    assert world.run(DETECT) == 0
    first = world.snapshot()
    for path in (world.base / "images").rglob("*.jpg"):
        path.unlink()  # no image is opened
    assert world.run(DETECT) == 0
    assert world.snapshot() == first
    assert world.log["images_submitted_for_detection"] == []
    assert world.log["num_new_crops"] == 0


def test_without_run_detector_they_are_listed(world: World) -> None:
    assert world.run(CROP) == 0
    missing = world.log["images_missing_detections"]
    assert len(missing) == UNDRAWN
    assert DRAWN not in missing
    assert "images_submitted_for_detection" not in world.log
    assert set(world.crops) == {
        "a/x/00.jpg___crop00.jpg",
        "a/x/00.jpg___crop02.jpg",
    }
    assert not (world.base / "mdcache").exists()


def test_without_a_crops_folder_it_only_detects(world: World) -> None:
    line = DETECT.replace("--cropped-images-dir crops", "")
    assert world.run(line) == 0
    assert not (world.base / "crops").exists()
    assert len(world.cache("b")["images"]) == IMAGES
    assert "num_new_crops" not in world.log


def test_a_file_that_is_no_detector_is_one_line(world: World) -> None:
    (world.base / "md_v5a.0.0.pt").write_bytes(b"PK\x03\x04")
    line = DETECT.replace("tiny_v7.onnx", "md_v5a.0.0.pt")
    assert world.refusal(line).startswith("md_v5a.0.0.pt: not a file of torch.save")
    assert not list((world.base / "mdcache").rglob("*.json"))


# Versions


def test_the_version_of_the_detector_names_folder_and_crops(world: World) -> None:
    red_detector(world.base / "md_red_v9.0.onnx")
    line = DETECT.replace("tiny_v7.onnx", "md_red_v9.0.onnx")
    assert world.run(line) == 0
    assert [image["file"] for image in world.cache("b", "9.0")["images"]]
    assert "b/x/00.jpg___crop00_mdv9.0.jpg" in world.crops


def test_the_default_detector_names_them_by_the_model_table(world: World) -> None:
    world.write_cache(
        "b", {"file": "x/00.jpg", "detections": [BOX]}, version="lite-20220528"
    )
    assert world.run(CROP.replace("--detector tiny_v7.onnx", "")) == 0
    assert "b/x/00.jpg___crop00_mdvlite-20220528.jpg" in world.crops


@pytest.mark.parametrize("model", ["MDV5A", "md_v5a.0.0.pt"])
def test_d30_any_name_of_a_model_finds_its_cache(world: World, model: str) -> None:
    world.write_cache("b", {"file": "x/00.jpg", "detections": [BOX]}, version="5a.0.0")
    assert world.run(CROP.replace("tiny_v7.onnx", model)) == 0
    assert "b/x/00.jpg___crop00_mdv5a.0.0.jpg" in world.crops


def test_d30_the_flag_wins_and_a_detector_of_another_version_is_told(
    world: World,
) -> None:
    assert world.run(f"{DETECT} --detector-version 4.1") == 0
    assert (
        "--detector-version 4.1 names the boxes of --detector tiny_v7.onnx, whose own "
        "version is 7"
    ) in world.said
    assert len(world.cache("b", "4.1")["images"]) == IMAGES
    assert "b/x/00.jpg___crop00_mdv4.1.jpg" in world.crops


def test_a_detector_that_tells_no_version_needs_the_flag(world: World) -> None:
    assert world.usage(DETECT.replace("tiny_v7.onnx", "mine.onnx")) == (
        "the name of --detector mine.onnx tells no version; give --detector-version, "
        "which names the cache and the crops"
    )


@pytest.mark.parametrize("version", ["../x", "a/b", "a___crop00"])
def test_a_version_that_is_no_part_of_a_name(world: World, version: str) -> None:
    assert repr(version) in world.refusal(f"{DETECT} -v {version}")
    assert not (world.base / "mdcache").exists()
    assert not (world.base / "crops").exists()


def test_the_cache_of_another_detector_is_not_added_to(world: World) -> None:
    world.write_cache("a", info={"format_version": "1.6", "detector": "md_v4.1.0.pb"})
    assert world.refusal(DETECT) == (
        "mdcache/v7/a.json holds boxes of md_v4.1.0.pb, not of tiny_v7.onnx; give that "
        "--detector, or another --detector-version"
    )


# Which crops


def test_drawn_and_cached_boxes_are_cropped_together(world: World) -> None:
    world.write_cache(
        "a",
        {"file": "x/00.jpg", "detections": [BOX]},  # drawn boxes are the truth
        {"file": "x/01.jpg", "detections": [PERSON, BOX]},
    )
    assert world.run(CROP) == 0
    assert set(world.crops) == {
        "a/x/00.jpg___crop00.jpg",
        "a/x/00.jpg___crop02.jpg",
        "a/x/01.jpg___crop01_mdv7.jpg",
    }
    assert world.crop_size("a/x/00.jpg___crop00.jpg") == (80, 60)
    assert world.crop_size("a/x/00.jpg___crop02.jpg") == (40, 30)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0, [0, 1, 2]), (0.3, [0, 1, 2]), (0.31, [1, 2]), (0.9, [2]), (1, [])],
)
def test_the_threshold_is_of_cached_boxes_only(
    world: World, threshold: float, expected: list[int]
) -> None:
    boxes = [{**BOX, "conf": conf} for conf in (0.3, 0.6, 0.9)]
    world.write_cache("b", {"file": "x/00.jpg", "detections": boxes})
    assert world.run(f"{CROP} --threshold {threshold}") == 0
    cached = [name for name in world.crops if "_mdv" in name]
    assert cached == [f"b/x/00.jpg___crop{n:02}_mdv7.jpg" for n in expected]
    assert len(world.crops) == len(cached) + 2


def test_d12_the_hundredth_box_has_three_digits(world: World) -> None:
    boxes = [*[PERSON] * 100, BOX]
    world.write_cache("b", {"file": "x/00.jpg", "detections": boxes})
    assert world.run(CROP) == 0
    assert "b/x/00.jpg___crop100_mdv7.jpg" in world.crops


@pytest.mark.parametrize(
    ("flags", "size"),
    [("", (80, 60)), ("--square-crops", (80, 80)), ("--reference-squares", (80, 80))],
)
def test_the_shape_of_crops(world: World, flags: str, size: tuple[int, int]) -> None:
    assert world.run(f"{CROP} {flags}") == 0
    assert world.crop_size("a/x/00.jpg___crop00.jpg") == size


def test_squares_at_the_edge_are_black_only_in_the_form_of_the_reference(
    world: World,
) -> None:
    world.images[DRAWN]["bbox"] = [{"category": "animal", "bbox": [0.9, 0, 0.1, 0.5]}]
    world.save()
    found = []
    for flags in ("--square-crops", "--reference-squares"):
        assert world.run(f"{CROP} {flags}") == 0
        path = world.base / "crops/a/x/00.jpg___crop00.jpg"
        with Image.open(path) as crop:
            found.append(int(np.asarray(crop)[:, -5:].max()))
        shutil.rmtree(world.base / "crops")
    assert found[0] > 60 > found[1]


def test_the_quality_of_crops(world: World) -> None:
    sizes = []
    for quality in (30, 95):
        assert world.run(f"{CROP} --jpeg-quality {quality}") == 0
        sizes.append(len(world.crops["a/x/00.jpg___crop00.jpg"]))
        shutil.rmtree(world.base / "crops")
    assert sizes[1] > 2 * sizes[0]


def test_drawn_boxes_may_be_of_the_pixels_as_stored(world: World) -> None:
    """The left half is red; stored, the camera lay on its side."""
    scene = with_blob(photograph(160, 120), (0, 0, 80, 120), (250, 0, 0))
    left = {"category": "animal", "bbox": [0.05, 0.05, 0.4, 0.9]}
    for name in (DRAWN, "b/x/00.jpg"):
        save_jpeg(world.base / "images" / name, scene, orientation=6)
    world.images[DRAWN]["bbox"] = [left]
    world.save()
    world.write_cache(
        "b", {"file": "x/00.jpg", "detections": [{**BOX, "bbox": left["bbox"]}]}
    )
    reds = {}
    for flags in ("", "--ignore-exif"):
        assert world.run(f"{CROP} {flags}") == 0
        for name in list(world.crops):
            path = world.base / "crops" / name
            with Image.open(path) as crop:
                reds[flags, name[0]] = int(np.asarray(crop)[..., 1].max()) < 60
        shutil.rmtree(world.base / "crops")
    assert reds == {
        ("", "a"): False,
        ("", "b"): False,
        ("--ignore-exif", "a"): True,
        ("--ignore-exif", "b"): False,  # a detector sees the upright image
    }


def test_d36_a_torn_crop_is_cut_again_where_crops_are_checked(world: World) -> None:
    assert world.run(DETECT) == 0
    whole = world.crops
    torn = world.base / "crops/b/x/03.jpg___crop00_mdv7.jpg"
    torn.write_bytes(torn.read_bytes()[:-200])
    assert world.run(DETECT) == 0
    assert world.crops != whole
    assert world.run(f"{DETECT} --check-crops-valid") == 0
    assert world.crops == whole
    assert world.log["num_new_crops"] == 1


def test_threads_change_nothing_and_are_no_more_than_cores(world: World) -> None:
    assert world.run(f"{DETECT} --threads 1") == 0
    one = world.snapshot()
    for name in one:
        (world.base / name).unlink()
    assert world.run(f"{DETECT} --threads 5000") == 0
    assert f"--threads: {parallel.cores()}, as many as there are cores" in world.said
    assert world.snapshot() == one


def test_d29_categories_differ_from_one_dataset_to_the_next(world: World) -> None:
    world.write_cache("a", {"file": "x/01.jpg", "detections": [BOX]})
    world.write_cache(
        "b",
        {"file": "x/00.jpg", "detections": [BOX, PERSON]},
        detection_categories={"1": "person", "2": "animal"},
    )
    assert world.run(CROP) == 0
    assert {name for name in world.crops if "_mdv" in name} == {
        "a/x/01.jpg___crop00_mdv7.jpg",
        "b/x/00.jpg___crop01_mdv7.jpg",
    }


def test_a_cache_without_a_category_of_animals_is_told(world: World) -> None:
    world.write_cache(
        "b",
        {"file": "x/00.jpg", "detections": [BOX]},
        detection_categories={"1": "beast"},
    )
    assert world.run(CROP) == 0
    assert (
        'mdcache/v7/b.json: no category is named "animal", so nothing of it is cropped'
    ) in world.said


def test_a_cache_that_calls_the_images_something_else_is_told(world: World) -> None:
    world.write_cache("b", {"file": "b/x/00.jpg", "detections": [BOX]})
    assert world.run(CROP) == 0
    (line,) = [line for line in world.said if "none of its images" in line]
    assert line == (
        "mdcache/v7/b.json: none of its images is asked for; its first is 'b/x/00.jpg', "
        "where names are relative to the dataset's folder (cache_batchapi_outputs "
        "--remove-prefix and --add-prefix make them so)"
    )
    world.write_cache("b", {"file": "x/00.jpg", "failure": "no such file"})
    assert world.run(CROP) == 0
    assert not [line for line in world.said if "none of its images" in line]


def test_d30_the_cache_of_the_original_is_read_and_added_to(world: World) -> None:
    world.write_cache(
        "B",
        {"file": "x\\00.jpg", "detections": [BOX]},
        version="7.pt",
        info={"format_version": "1.0"},
    )
    assert world.run(DETECT) == 0
    names = [image["file"] for image in world.cache("B", "7.pt")["images"]]
    assert names == [f"x/{number:02}.jpg" for number in range(IMAGES)]
    assert len(world.log["images_submitted_for_detection"]) == UNDRAWN - 1
    assert not (world.base / "mdcache/v7/b.json").exists()


def test_a_broken_cache_is_one_line_and_stays(world: World) -> None:
    world.write_cache(
        "b", {"file": "x/00.jpg", "detections": [{**BOX, "conf": "high"}]}
    )
    before = world.snapshot()
    assert world.refusal(DETECT) == (
        "mdcache/v7/b.json: images[0].detections[0].conf: a number in [-1, 1] expected"
    )
    assert world.snapshot() == before


# Where the images are


def test_images_come_from_the_roots_of_the_metadata_store(world: World) -> None:
    write_store(
        world.base / "megadb", {"a": [], "B": []}, root=str(world.base / "images/a")
    )
    line = DETECT.replace("--images-dir images", "--megadb megadb")
    assert world.run(line) == 0
    assert len(world.crops) == UNDRAWN + 2


def test_the_metadata_store_may_come_from_the_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(world.base / "images/a")
    write_store(world.base / "megadb", {"a": [], "b": []}, root=root)
    monkeypatch.setenv(cli.MEGADB_VARIABLE, "megadb")
    assert world.run(DETECT.replace("--images-dir images", "")) == 0
    assert len(world.crops) == UNDRAWN + 2


def test_images_dir_wins_and_the_store_has_the_rest(world: World) -> None:
    world.keep(DRAWN, "b/x/01.jpg")
    assert world.run(DETECT) == 0
    expected = world.snapshot()
    for name in expected:
        (world.base / name).unlink()
    roots = world.base / "elsewhere"
    save_jpeg(roots / "x/00.jpg", photograph(160, 120, seed=99))  # never read
    (world.base / "images/b/x/01.jpg").rename(roots / "x/01.jpg")
    write_store(world.base / "megadb", {"a": [], "b": []}, root=str(roots))
    assert world.run(f"{DETECT} --megadb megadb") == 0
    assert world.snapshot() == expected


@pytest.mark.parametrize(
    ("datasets", "entry", "message"),
    [
        (["a"], {"root": "images/a"}, "the dataset 'b': nobody says where it is; "),
        (["a", "b"], {}, "the dataset 'a': nobody says where it is; "),
        (
            ["a", "b"],
            {"root": "gone"},
            "the dataset 'a': no such folder: gone, its root in the metadata store; ",
        ),
    ],
)
def test_a_dataset_that_is_nowhere_is_one_line(
    world: World, datasets: list[str], entry: dict[str, str], message: str
) -> None:
    write_store(world.base / "megadb", {name: [] for name in datasets}, **entry)
    line = DETECT.replace("--images-dir images", "--megadb megadb")
    assert world.refusal(line).startswith(message)
    assert not list((world.base / "mdcache").rglob("*"))


def test_d35_without_a_place_of_the_images_one_line_says_so(world: World) -> None:
    line = DETECT.replace("--images-dir images", "")
    assert world.refusal(line).startswith(
        "where are the images? --images-dir names a folder"
    )
    assert world.refusal(f"{line} --images-dir gone") == (
        "no such folder: gone (--images-dir)"
    )
    assert not list((world.base / "mdcache").rglob("*"))


def test_d35_nothing_is_asked_for_where_no_image_is_to_be_read(world: World) -> None:
    assert world.run(PLAIN) == 0
    assert len(world.log["images_missing_detections"]) == UNDRAWN


def test_datasets_with_spaces_and_capitals(world: World) -> None:
    names = [
        "Snapshot Safari 2024/S 1/Ä (1).JPG",
        "Snapshot Safari 2024/S 1/{}%s.jpg",
        "ENA24/a___crop00.jpg",
    ]
    for name in names:
        world.add(name)
    world.keep(*names)
    (world.base / "my crops").mkdir()
    assert world.run(DETECT) == 0
    files = [image["file"] for image in world.cache("Snapshot Safari 2024")["images"]]
    assert files == ["S 1/{}%s.jpg", "S 1/Ä (1).JPG"]
    assert set(world.crops) == {f"{name}___crop00_mdv7.jpg" for name in names}
    first = world.snapshot()
    assert world.run(DETECT) == 0
    assert world.snapshot() == first


@pytest.mark.parametrize(
    ("name", "dataset", "message"),
    [
        ("a/../../evil.jpg", "a", "leaves its folder"),
        ("../evil.jpg", "..", "leaves its folder"),
        ("/etc/evil.jpg", "", "is absolute"),
        ("a/b\\..\\evil.jpg", "a", "holds a backslash"),
    ],
)
def test_d43_names_that_leave_the_folder_are_refused(
    world: World, name: str, dataset: str, message: str
) -> None:
    world.images[name] = {"dataset": dataset, **QUERIED}
    world.save()
    assert message in world.refusal(DETECT)
    assert not (world.base / "crops").exists()
    assert not (world.base / "mdcache").exists()


def test_save_full_images_needs_a_folder_to_keep_them_in(world: World) -> None:
    line = DETECT.replace("--images-dir images", "--save-full-images")
    assert world.usage(line) == (
        "--save-full-images needs --images-dir, where it keeps them"
    )
    before = {path: path.read_bytes() for path in Path("images").rglob("*.jpg")}
    assert world.run(f"{DETECT} --save-full-images") == 0
    assert {p: p.read_bytes() for p in Path("images").rglob("*.jpg")} == before


# Where things go


def test_the_output_folder_is_that_of_the_queried_images(world: World) -> None:
    (world.base / "run").mkdir()
    (world.base / "queried_images.json").rename(world.base / "run/queried_images.json")
    line = DETECT.replace("queried_images.json out", "run/queried_images.json")
    assert world.run(line) == 0
    (log,) = (world.base / "run").glob("detect_and_crop_log_*.json")
    assert (
        len(json.loads(log.read_bytes())["images_submitted_for_detection"]) == UNDRAWN
    )


@pytest.mark.parametrize("folder", ["mdcache", "crops", "out"])
def test_a_folder_that_cannot_be_written_is_told_before_it_detects(
    world: World, folder: str
) -> None:
    (world.base / folder).write_bytes(b"in the way")
    (world.base / "broken_v7.onnx").write_bytes(b"never loaded")
    line = DETECT.replace("tiny_v7.onnx", "broken_v7.onnx")
    assert world.refusal(line).endswith(f" {folder} is a file; a folder is needed")


def test_the_last_line_says_what_was_done(world: World) -> None:
    (world.base / "images/b/x/01.jpg").write_bytes(b"")
    assert world.run(DETECT) == 0
    done, _, log = world.said[-1].partition("; log: ")
    assert done == (
        "15 images detected into mdcache/v7, 1 failed; 16 new crops in crops, 0 were "
        "there already, 0 of 15 images failed; 1 images without boxes"
    )
    assert (world.base / log).is_file()
    assert world.run(f"{CROP} --square-crops") == 0
    assert world.said[-1].startswith(
        "0 new crops in crops, 16 were there already, 0 of 15 images failed; "
        "1 images without boxes (--run-detector finds them); log: "
    )
    assert world.run(PLAIN) == 0
    assert world.said[-1].startswith("1 images without boxes (--run-detector finds")


def test_crops_of_anything_else_are_cut_anew(world: World) -> None:
    cached = {"file": "x/02.jpg", "detections": [BOX]}
    world.write_cache("b", cached)

    def is_as_from_nothing() -> bool:
        found = world.crops
        shutil.rmtree(world.base / "crops")
        assert world.run(CROP) == 0
        return found == world.crops

    assert world.run(f"{CROP} --square-crops") == 0
    count = len(world.crops)
    assert count > 1
    assert world.run(CROP) == 0
    assert f"cut anew ({count} x cut in another way)" in world.said[-1]
    assert is_as_from_nothing()
    world.write_cache("b", cached | {"detections": [BOX | {"bbox": [0, 0, 0.5, 0.5]}]})
    assert world.run(CROP) == 0
    assert "cut anew (1 x cut from another box)" in world.said[-1]
    assert is_as_from_nothing()
    world.write_cache("b", cached | {"detections": []})
    assert world.run(CROP) == 0
    assert world.log["orphans"] == ["b/x/02.jpg___crop00_mdv7.jpg"]
    assert (
        "1 stale crops are of no box (--remove-orphans deletes them)" in world.said[-1]
    )
    assert world.run(f"{CROP} --remove-orphans") == 0
    assert len(world.crops) == count - 1
    assert is_as_from_nothing()


def test_a_second_run_on_the_same_crops_ends_with_one_line(world: World) -> None:
    work = (world.base / "queried_images.json").resolve()
    with locking.only_run(world.base / "crops", "detect_and_crop", work, None):
        assert world.refusal(CROP) == (
            "another run of detect_and_crop is writing the same into crops; "
            "wait for it to end"
        )
    assert world.run(CROP) == 0


def test_the_log_has_the_keys_of_the_original_and_reasons(world: World) -> None:
    (world.base / "images/b/x/01.jpg").write_bytes(b"")
    assert world.run(DETECT) == 0
    log = world.log
    assert log["images_submitted_for_detection"] == sorted(
        name for name in world.images if name != DRAWN
    )
    assert log["images_missing_detections"] == ["b/x/01.jpg"]
    assert log["images_failed_download_or_crop"] == []
    assert log["num_new_downloads"] == 0
    assert log["num_new_crops"] == 16
    assert log["failures"] == [{"item": "b/x/01.jpg", "reason": "empty file"}]
    assert log["counts"] == {
        "images_detected": 15,
        "images_detection_failed": 1,
        "images_of_earlier_runs": 0,
        "images": 15,
        "images_failed": 0,
        "crops": 16,
        "crops_existing": 0,
    }
    assert log["options"] | {"threads": 0} == {
        "detector_version": "7",
        "detector": "tiny_v7.onnx",
        "detection_threshold": 0.005,
        "batch_size": 1,
        "device": "auto",
        "shape": "square",
        "threshold": 0.4,
        "jpeg_quality": 75,
        "max_pixels": log["options"]["max_pixels"],
        "ignore_exif": False,
        "check_crops_valid": False,
        "threads": 0,
    }


# Broken images


def break_image(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        path.write_bytes(
            {"empty": b"", "text": b"no image", "cut off": whole[:-900]}[kind]
        )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("cut off", "truncated"),
        ("empty", "empty file"),
        ("text", "not an image"),
        ("pipe", "a pipe or a device, not a file"),
        ("missing", "no such file"),
        ("folder", "a folder, not a file"),
    ],
)
def test_a_broken_image_is_listed_and_the_run_goes_on(
    world: World, kind: str, reason: str
) -> None:
    for name in (DRAWN, "b/x/03.jpg"):
        break_image(world.base / "images" / name, kind)
    assert world.run(DETECT) == 0
    assert set(world.reasons) == {DRAWN, "b/x/03.jpg"}
    assert all(reason in said for said in world.reasons.values())
    assert world.log["images_failed_download_or_crop"] == [DRAWN]
    assert world.log["images_missing_detections"] == ["b/x/03.jpg"]
    assert len(world.crops) == UNDRAWN - 1
    assert reason in world.cache("b")["images"][3]["failure"]


def test_too_many_pixels(world: World) -> None:
    world.add("b/large.jpg")
    save_jpeg(world.base / "images/b/large.jpg", photograph(400, 300))
    world.save()
    assert world.run(f"{DETECT} --max-pixels 100000") == 0
    assert list(world.reasons) == ["b/large.jpg"]
    assert world.run(f"{DETECT} --max-pixels 200000") == 0
    assert world.reasons == {}
    assert "b/large.jpg___crop00_mdv7.jpg" in world.crops


def test_d14_d29_an_image_that_failed_is_tried_again_by_the_next_run(
    world: World,
) -> None:
    path = world.base / "images/b/x/01.jpg"
    whole = path.read_bytes()
    path.write_bytes(b"no image")
    assert world.run(DETECT) == 0
    assert world.log["images_missing_detections"] == ["b/x/01.jpg"]
    assert world.cache("b")["images"][1]["detections"] is None
    path.write_bytes(whole)
    assert world.run(DETECT) == 0
    assert world.log["images_submitted_for_detection"] == ["b/x/01.jpg"]
    assert len(world.cache("b")["images"][1]["detections"]) == 2
    assert "b/x/01.jpg___crop00_mdv7.jpg" in world.crops
    assert len(world.crops) == UNDRAWN + 2


def test_an_image_that_fails_again_has_its_new_reason(world: World) -> None:
    path = world.base / "images/b/x/01.jpg"
    for kind, reason in (("empty", "empty file"), ("missing", "no such file")):
        break_image(path, kind)
        assert world.run(DETECT) == 0
        assert world.reasons == {"b/x/01.jpg": reason}
        assert world.cache("b")["images"][1]["failure"] == reason


@pytest.mark.parametrize("failed", ['"detections": null', '"failure": "no such file"'])
def test_d29_failed_images_of_the_originals_cache_are_no_boxes(
    world: World, failed: str
) -> None:
    image = json.loads(f'{{"file": "x/01.jpg", {failed}}}')
    world.write_cache("b", image, {"file": "x/02.jpg", "detections": [BOX]})
    assert world.run(CROP) == 0
    assert "b/x/01.jpg" in world.log["images_missing_detections"]
    assert "b/x/02.jpg___crop00_mdv7.jpg" in world.crops


def test_one_bad_image_that_is_left_over_is_no_failure_of_the_whole(
    world: World,
) -> None:
    break_image(world.base / "images/b/x/03.jpg", "empty")
    assert world.run(DETECT) == 0
    first = world.snapshot()
    assert world.run(DETECT) == 0
    assert "1 images detected into mdcache/v7, 1 failed" in world.said[-1]
    assert world.reasons == {"b/x/03.jpg": "empty file"}
    assert world.snapshot() == first


def test_one_bad_image_with_drawn_boxes_is_no_failure_of_the_whole(
    world: World,
) -> None:
    break_image(world.base / "images" / DRAWN, "empty")
    for _ in range(2):
        assert world.run(DETECT) == 0
        assert "1 of 16 images failed" in world.said[-1]


@pytest.mark.parametrize("names", [[DRAWN], ["b/x/03.jpg"], [DRAWN, "b/x/03.jpg"]])
def test_a_job_of_which_every_image_failed_exits_4(
    world: World, names: list[str]
) -> None:
    world.keep(*names)
    for name in names:
        break_image(world.base / "images" / name, "text")
    for _ in range(2):
        assert world.run(DETECT) == 4
        assert world.said[-1] == (
            f"error: all {len(names)} items failed; see the step log"
        )
    assert len(world.log["failures"]) == len(names)


def test_a_wrong_folder_of_images_exits_4(world: World) -> None:
    world.write_cache(
        "b",
        {"file": "x/01.jpg", "detections": []},
        {"file": "x/02.jpg", "detections": [BOX]},
    )
    (world.base / "empty").mkdir()
    assert world.run(CROP.replace("--images-dir images", "--images-dir empty")) == 4
    assert world.said[-1] == "error: all 2 items failed; see the step log"
    line = DETECT.replace("--images-dir images", "--images-dir empty")
    assert world.run(line.replace("--cropped-images-dir crops", "")) == 0


def test_max_failures_counts_both_steps(world: World) -> None:
    for name in (DRAWN, "b/x/03.jpg"):
        break_image(world.base / "images" / name, "text")
    assert world.run(f"{DETECT} --max-failures 2") == 0
    assert world.run(f"{DETECT} --max-failures 1") == 4
    assert world.said[-1] == ("error: 2 of 16 items failed; --max-failures allows 1")
    assert len(world.crops) == UNDRAWN - 1


# Refusals


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--threshold 1.5", "1.5 is not between 0 and 1"),
        ("--detection-threshold -1", "-1 is not between 0 and 1"),
        ("--batch-size 0", "0 is not a whole number above 0"),
        ("--threads none", "'none' is not a number"),
        ("--jpeg-quality 101", "101 is more than 100"),
        ("--max-failures -1", "-1 is less than 0"),
        ("--device tpu", "'tpu' is not auto, cpu or cuda:N"),
        ("--batch_sizes 1", "unrecognized arguments: --batch_sizes 1"),
    ],
)
def test_usage_errors_exit_2(world: World, flags: str, message: str) -> None:
    assert world.usage(f"{DETECT} {flags}").endswith(message)
    assert not (world.base / "out").exists()


def test_the_cache_is_required(world: World) -> None:
    assert "-c/--detector-output-cache-dir" in world.usage("queried_images.json out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory"),
        ("", "not JSON"),
        ('{"a/x.jpg": {"dataset": "a"}}', "class"),
    ],
)
def test_queried_images_that_cannot_be_used(
    world: World, text: str | None, message: str
) -> None:
    path = world.base / "queried_images.json"
    path.unlink() if text is None else path.write_text(text)
    said = world.refusal(DETECT)
    assert said.startswith("queried_images.json: ")
    assert message in said
    assert not (world.base / "mdcache").exists()


def test_no_images_are_no_work(world: World) -> None:
    world.keep()
    assert world.run(DETECT) == 0
    assert world.log["counts"]["images_detected"] == 0


# Killed, and run again


def journal_of(world: World) -> Path:
    return world.base / "out/detect_and_crop.journal"


def count_records(journal: Path) -> int:
    try:
        return max(0, journal.read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def cut(world: World, keep: int, line: str = DETECT) -> Path:
    """Leaves what a run leaves that is killed when ``keep`` images are detected."""
    journal = journal_of(world)
    removed: list[bytes] = []
    remove = Journal.remove

    def keep_a_copy(kept: Journal) -> None:
        removed.append(kept.path.read_bytes())
        remove(kept)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "remove", keep_a_copy)
        assert world.run(line) == 0
    lines = removed[0].splitlines(keepends=True)
    for name in world.snapshot():
        (world.base / name).unlink()
    journal.write_bytes(b"".join(lines[: keep + 1]) + lines[keep + 1][:-5])
    return journal


def test_a_journal_is_picked_up(world: World) -> None:
    journal = cut(world, 9)
    for name in ("a/x/01.jpg", "b/x/00.jpg"):
        os.utime(world.base / "images" / name, ns=(5, 5))  # not detected again
    assert world.run(DETECT) == 0
    counts = world.log["counts"]
    assert (counts["images_of_earlier_runs"], counts["images_detected"]) == (9, 6)
    assert counts["images_detection_failed"] == 0
    assert len(world.log["images_submitted_for_detection"]) == 6
    assert not journal.exists()


def test_the_resume_file_may_be_elsewhere(world: World) -> None:
    cut(world, 9).rename(world.base / "resume.json")
    assert world.run(f"{DETECT} --resume-file resume.json") == 0
    assert world.log["counts"]["images_of_earlier_runs"] == 9
    assert not (world.base / "resume.json").exists()


@pytest.mark.parametrize(
    "flags",
    [
        "--detection-threshold 0.3",
        "--batch-size 2",
        "--max-pixels 999999",
        "--detector-version 8",
        "--device cpu",
    ],
)
def test_a_journal_of_other_options_is_refused_until_restart(
    world: World, flags: str
) -> None:
    journal = cut(world, 9)
    differs = "detector" if "version" in flags else "options"
    kept = journal.read_bytes()
    assert world.refusal(f"{DETECT} {flags}") == (
        f"out/detect_and_crop.journal belongs to a run with other {differs}; "
        "--restart throws it away and begins again"
    )
    assert journal.read_bytes() == kept
    red_detector(world.base / "red_v7.onnx")  # of batches of any size
    line = DETECT.replace("tiny_v7", "red_v7")
    assert world.run(f"{line} {flags} --restart") == 0
    assert world.log["counts"]["images_of_earlier_runs"] == 0
    assert len(world.log["images_submitted_for_detection"]) == UNDRAWN
    assert not journal.exists()


def test_a_journal_of_another_model_of_the_name_is_refused(world: World) -> None:
    cut(world, 9)
    red_detector(world.base / "tiny_v7.onnx")
    assert "belongs to a run with other detector;" in world.refusal(DETECT)


def test_what_does_not_shape_boxes_may_change(world: World) -> None:
    cut(world, 9)
    line = DETECT.replace("--square-crops -t 0.4", "--threads 1 -t 0.95")
    assert world.run(line) == 0
    assert world.log["counts"]["images_of_earlier_runs"] == 9


def test_images_may_be_added_to_the_query_meanwhile(world: World) -> None:
    cut(world, 9)
    for name in ("a/first.jpg", "b/zz.jpg", "c/new.jpg"):
        world.add(name)
    world.save()
    assert world.run(DETECT) == 0
    assert world.log["counts"]["images_detected"] == 6 + 3
    assert world.log["images_missing_detections"] == []


def test_a_task_list_of_the_original_is_told_apart(world: World) -> None:
    path = world.base / "resume.json"
    path.write_text('[{"dataset": "a", "task_id": "b"}]', encoding="utf-8")
    assert world.refusal(f"{DETECT} --resume-file resume.json") == (
        "resume.json lists tasks of the Batch Detection API; --batch-api URL asks for "
        "them, or name another --resume-file, and the images are detected here"
    )
    path.write_text("my notes")
    assert world.refusal(f"{DETECT} --resume-file resume.json --restart") == (
        "--resume-file resume.json is not a journal; move it out of the way"
    )
    assert path.read_text() == "my notes"


def test_d39_two_runs_on_one_journal_do_not_mix(world: World) -> None:
    with Journal.open(journal_of(world), key="x"):
        assert world.refusal(DETECT) == (
            "another run is writing out/detect_and_crop.journal; wait for it to end"
        )


def started(world: World, line: str) -> subprocess.Popen[str]:
    script = str(ROOT / "classification/detect_and_crop.py")
    return subprocess.Popen(
        [sys.executable, script, *line.split()],
        cwd=world.base,
        stderr=subprocess.PIPE,
        text=True,
    )


def slow_world(world: World, images: int) -> str:
    """Adds images, and a detector that takes its time; returns the line."""
    red_detector(world.base / "slow_v3.onnx", layers=3)
    for number in range(images - UNDRAWN):
        world.add(f"{'bc'[number % 2]}/more/{number:02}.jpg", seed=number)
    world.add("b/broken.jpg").write_bytes(b"")
    world.save()
    line = DETECT.replace("tiny_v7", "slow_v3").replace("-t 0.4", "-t 0.1")
    return f"{line} --threads 1 --batch-size 4"


BATCH = 4


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_d36_d37_killed_and_run_again_it_ends_with_the_same_bytes(
    world: World, share: float
) -> None:
    line = slow_world(world, 40)
    total = sum("bbox" not in image for image in world.images.values())
    assert world.run(line) == 0
    undisturbed = world.snapshot()
    assert world.log["counts"]["images_detected"] == total
    for name in undisturbed:
        (world.base / name).unlink()

    child = started(world, line)
    while child.poll() is None and count_records(journal_of(world)) < share * total:
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL, "it was done before it was killed"
    done = count_records(journal_of(world))
    assert done >= share * total

    assert world.run(line) == 0
    assert world.snapshot() == undisturbed  # no journal, lock or temporary file
    counts = world.log["counts"]
    assert counts["images_of_earlier_runs"] == done
    # The first run may have had one batch more in the network when it was killed.
    assert done + BATCH + counts["images_detected"] <= total + BATCH
    assert world.reasons == {"b/broken.jpg": "empty file"}


def test_d36_killed_while_it_crops_it_detects_nothing_again(world: World) -> None:
    world.images[DRAWN]["bbox"] = []
    line = slow_world(world, 60)
    assert world.run(line) == 0
    undisturbed = world.snapshot()
    for name in undisturbed:
        (world.base / name).unlink()
    child = started(world, line)
    crops = world.base / "crops/a"
    while child.poll() is None and not list(crops.rglob("*.jpg")):
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL, "it was done before it was killed"
    assert world.run(line) == 0
    assert world.snapshot() == undisturbed
    assert world.log["images_submitted_for_detection"] == []
    assert world.log["counts"]["images_detection_failed"] == 1


def test_interrupted_it_keeps_what_is_done(world: World) -> None:
    line = slow_world(world, 40)
    child = started(world, line)
    while child.poll() is None and count_records(journal_of(world)) < 8:
        time.sleep(0.001)
    child.send_signal(signal.SIGINT)
    _, shown = child.communicate(timeout=60)
    assert child.returncode == 130
    assert shown.endswith("interrupted; finished items are kept, run again to go on\n")
    done = count_records(journal_of(world))
    assert world.run(line) == 0
    assert world.log["counts"]["images_of_earlier_runs"] == done >= 8


# Changed since


def change(world: World, name: str = "b/x/00.jpg") -> None:
    save_jpeg(world.base / "images" / name, photograph(90, 150, seed=77))


def fresh(world: World, line: str = DETECT) -> dict[str, bytes]:
    """Returns what a run leaves that begins with nothing."""
    for folder in ("mdcache", "crops", "out"):
        shutil.rmtree(world.base / folder, ignore_errors=True)
    assert world.run(line) == 0
    return world.snapshot()


def test_an_image_that_changed_is_detected_and_cropped_anew_alone(
    world: World,
) -> None:
    assert world.run(DETECT) == 0
    change(world)
    assert world.run(DETECT) == 0
    assert world.log["images_submitted_for_detection"] == ["b/x/00.jpg"]
    found = world.snapshot()
    assert found == fresh(world)


def test_equal_size_and_time_is_another_image_when_verifying(world: World) -> None:
    assert world.run(DETECT) == 0
    image = world.base / "images/b/x/00.jpg"
    before = image.stat()
    data = bytearray(image.read_bytes())
    change(world)
    data[:] = image.read_bytes()[: len(data)].ljust(len(data), b"\0")
    image.write_bytes(data)
    os.utime(image, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert world.run(DETECT) == 0
    assert world.log["images_submitted_for_detection"] == []
    assert world.run(f"{DETECT} --verify") == 0
    assert world.log["images_submitted_for_detection"] == ["b/x/00.jpg"]


def test_without_crops_images_that_changed_are_detected_anew(world: World) -> None:
    line = f"{PLAIN} --images-dir images --run-detector"
    assert world.run(line) == 0
    change(world)
    assert world.run(line) == 0
    assert world.log["images_submitted_for_detection"] == ["b/x/00.jpg"]


def test_a_detector_that_was_trained_anew_is_refused_until_it_is_told_apart(
    world: World,
) -> None:
    assert world.run(DETECT) == 0
    before = world.snapshot()
    red_detector(world.base / "tiny_v7.onnx", layers=1)
    assert world.refusal(DETECT) == (
        "mdcache/v7/a.json holds boxes of another detector of this name (its file has "
        "changed); another --detector-version keeps the two apart, or move the file away"
    )
    assert world.snapshot() == before
    assert world.run(f"{DETECT} --detector-version 7-again") == 0
    assert world.log["counts"]["images_detected"] == UNDRAWN


def test_shards_detect_anew_what_changed(world: World) -> None:
    assert world.run(SHARD) == 0
    change(world)
    change(world, "a/x/05.jpg")
    for number in (1, 2):
        assert world.run(f"{SHARD} --shard {number}/2") == 0
        assert len(world.log["images_submitted_for_detection"]) == 1
    change(world, "a/x/05.jpg")  # the same bytes
    assert world.run(f"{SHARD} --shard 1/2") == 0
    assert world.log["images_submitted_for_detection"] == []
    save_jpeg(world.base / "images/a/x/05.jpg", photograph(80, 80, seed=78))
    assert world.run(f"{SHARD} --shard 1/2") == 0
    assert world.log["images_submitted_for_detection"] == ["a/x/05.jpg"]
    assert merge_shards.main(["mdcache", "--remove-shards"]) == 0
    found = world.snapshot()
    assert found == fresh(world, SHARD)


# Shards

SHARD = f"{DETECT} --batch-size 2 --device cpu"


def mixed(world: World) -> None:
    """Gives one image no boxes, breaks another, and puts two into the cache."""
    world.images["a/x/05.jpg"]["bbox"] = []
    world.save()
    broken = world.base / "images/b/x/03.jpg"
    if broken.read_bytes() != b"broken":
        broken.write_bytes(b"broken")
    cached = [{"file": f"x/{n:02}.jpg", "detections": [BOX]} for n in (1, 7)]
    world.write_cache("b", *cached)


def start_again(world: World) -> None:
    for folder in ("mdcache", "crops", "out"):
        shutil.rmtree(world.base / folder)
    mixed(world)


@pytest.mark.parametrize("of", [1, 3, 7])
def test_merged_shards_are_the_whole_run(world: World, of: int) -> None:
    mixed(world)
    assert world.run(SHARD) == 0
    whole = world.snapshot()
    start_again(world)
    missing = []
    for number in range(of, 0, -1):
        assert world.run(f"{SHARD} --shard {number}/{of}") == 0
        missing += world.log["images_missing_detections"]
    assert missing == ["b/x/03.jpg"]
    cut = {name for name in whole if name.startswith("crops/")}
    assert {name for name in world.snapshot() if name.startswith("crops/")} == cut
    assert merge_shards.main(["mdcache"]) == 0
    after = world.snapshot()
    assert {name: after[name] for name in whole} == whole
    # What is joined once may be joined again.
    assert merge_shards.main(["mdcache", "--remove-shards"]) == 0
    assert world.snapshot() == whole


def test_a_shard_leaves_the_cache_alone_and_is_not_run_again(world: World) -> None:
    mixed(world)
    before = (world.base / "mdcache/v7/b.json").read_bytes()
    assert world.run(f"{SHARD} --shard 1/2") == 0
    assert (world.base / "mdcache/v7/b.json").read_bytes() == before
    assert not (world.base / "mdcache/v7/a.json").exists()
    detected = world.log["counts"]["images_detected"]
    assert detected == 6  # all of a's
    assert world.run(f"{SHARD} --shard 1/2") == 0
    assert world.log["counts"]["images_detected"] == 0
    assert world.log["counts"]["crops"] == 0
    assert world.run(f"{SHARD} --shard 1/2 --restart") == 0
    assert world.log["counts"]["images_detected"] == detected


def test_shards_of_other_images_take_the_place_of_those_before(world: World) -> None:
    mixed(world)
    for number in (1, 2):
        assert world.run(f"{SHARD} --shard {number}/2") == 0
    world.keep(*(name for name in world.images if name >= "a/x/02.jpg"))
    assert world.run(f"{SHARD} --shard 1/2") == 0
    path = world.base / "mdcache/shard-001-of-002/v7/a.json"
    files = [image["file"] for image in json.loads(path.read_bytes())["images"]]
    assert files == [f"x/{number:02}.jpg" for number in (2, 3, 4, 6, 7)]
    assert merge_shards.main(["mdcache"]) == 1
    assert "of other inputs or options" in world.said[-1]
    assert not (world.base / "mdcache/v7/a.json").exists()
    assert world.run(f"{SHARD} --shard 2/2") == 0
    assert merge_shards.main(["mdcache"]) == 0


def test_a_killed_shard_goes_on(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("classification.sharding.gaps.Gaps.complete", _interrupt)
        assert world.run(f"{SHARD} --shard 2/2") == 130
    assert (world.base / "out/detect_and_crop.shard-002-of-002.journal").exists()
    assert merge_shards.main(["mdcache"]) == 1
    assert world.run(f"{SHARD} --shard 2/2") == 0
    assert world.log["counts"]["images_detected"] == 0
    assert world.log["counts"]["images_of_earlier_runs"] == 8  # all of b's
    assert world.run(f"{SHARD} --shard 1/2") == 0
    assert merge_shards.main(["mdcache"]) == 0
    assert world.run(DETECT) == 0
    assert world.log["counts"]["images_detected"] == 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_shards_without_a_detector_crop_what_has_boxes(world: World) -> None:
    mixed(world)
    assert world.run(f"{CROP} -t 0.4") == 0
    whole = world.crops
    shutil.rmtree(world.base / "crops")
    missing = []
    for number in (1, 2, 3):
        assert world.run(f"{CROP} -t 0.4 --shard {number}/3") == 0
        missing += world.log["images_missing_detections"]
    assert world.crops == whole
    assert len(missing) == len(set(missing)) == 2 * IMAGES - 4
