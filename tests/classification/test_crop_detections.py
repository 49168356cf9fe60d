from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from classification import crop_detections
from classification.artifacts import image_contents
from classification.artifacts.layout import CropName
from classification.cropping import bulk, jpeg
from classification.runtime import cli, contents, locking, parallel
from tests.commands import ROOT
from tests.world import jpeg_bytes, photograph, pixels, save_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIX = "md_v5a.0.0.pt"
BOX = [0.25, 0.25, 0.25, 0.5]


def box(conf: float | None = 0.9, category: str = "1", bbox: Any = BOX) -> Any:  # noqa: ANN401 - JSON
    named = {"category": category, "bbox": bbox}
    return named if conf is None else {**named, "conf": conf}


class Place:
    """A folder with images, a detections JSON, and the command that crops them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = root / "images"
        self.crops = root / "crops"
        self.logs = root / "logs"
        self.json = root / "detections.json"
        self.images.mkdir()

    def write(self, images: dict[str, Any], **info: str) -> None:
        entries = [
            {"file": name, **(one if isinstance(one, dict) else {"detections": one})}
            for name, one in images.items()
        ]
        document = {
            "info": {"format_version": "1.6", "detector": SUFFIX, **info},
            "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
            "images": entries,
        }
        self.json.write_text(json.dumps(document))

    def run(self, *options: str) -> int:
        return crop_detections.main(self.argv(*options))

    def argv(self, *options: str) -> list[str]:
        paths = [self.json, self.crops, "--images-dir", self.images]
        return [*map(str, paths), "--logdir", str(self.logs), *options]

    def files(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.crops).as_posix(): path.read_bytes()
            for path in sorted(self.crops.rglob("[!.]*"))
            if path.is_file()
        }

    def log(self) -> Any:  # noqa: ANN401 - JSON
        newest = max(self.logs.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return json.loads(newest.read_text())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for number, name in enumerate(("a/1.jpg", "a/2.JPG", "b/3.jpg")):
        save_jpeg(place.images / name, photograph(seed=number))
    place.write({
        "a/1.jpg": [box(0.9), box(0.8, "2"), box(0.2), box(0.8)],
        "a/2.JPG": [box(0.8)],
        "b/3.jpg": [],
    })  # fmt: skip
    return place


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def decoded(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_crops_animals_that_reach_the_threshold(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("--threshold", "0.8") == cli.EXIT_OK
    assert list(place.files()) == [
        f"a/1.jpg___crop00_{SUFFIX}.jpg",
        f"a/1.jpg___crop03_{SUFFIX}.jpg",
        f"a/2.JPG___crop00_{SUFFIX}.jpg",
    ]
    assert all(decoded(data).size == (80, 120) for data in place.files().values())
    (log,) = place.logs.iterdir()
    assert last_line(capsys) == (
        f"3 new crops in {place.crops}, 0 were there already; 0 of 2 images failed; "
        f"the detector had failed on 0; log: {log}"
    )
    assert log.name.startswith("crop_detections_log_")


def test_the_log_has_the_keys_of_the_original(place: Place) -> None:
    place.write({
        "a/1.jpg": [box()],
        "a/2.JPG": {"detections": None, "failure": "inference failure"},
        "c/missing.jpg": [box()],
        "c/old.jpg": {"failure": "Failure image access"},
    })  # fmt: skip
    assert place.run() == cli.EXIT_OK
    log = place.log()
    assert log["images_missing_detections"] == ["a/2.JPG", "c/old.jpg"]
    assert log["images_failed_download_or_crop"] == ["c/missing.jpg"]
    assert (log["num_new_downloads"], log["num_new_crops"]) == (0, 1)
    assert log["failures"] == [{"item": "c/missing.jpg", "reason": "no such file"}]
    assert log["counts"] == {
        "images": 2, "images_failed": 1, "crops": 1, "crops_existing": 0,
    }  # fmt: skip


def test_a_second_run_changes_nothing_and_opens_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("--square-crops")
    before = place.files()
    times = {path: path.stat().st_mtime_ns for path in place.crops.rglob("*.jpg")}
    for image in place.images.rglob("*.*"):
        image.unlink()
    assert place.run("--square-crops") == cli.EXIT_OK
    assert place.files() == before
    assert {
        path: path.stat().st_mtime_ns for path in place.crops.rglob("*.jpg")
    } == times
    line = last_line(capsys)
    assert line.startswith("0 new crops in ")
    assert ", 4 were there already; " in line


def test_the_bytes_do_not_depend_on_threads(place: Place, tmp_path: Path) -> None:
    place.run("--threads", "1")
    one = place.files()
    place.crops = tmp_path / "other"
    place.run("--threads", "2")
    assert place.files() == one


def test_threads_are_no_more_than_the_cores(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("--threads", "5000") == cli.EXIT_OK
    assert (
        f"--threads: {parallel.cores()}, as many as there are cores"
        in capsys.readouterr().err
    )
    assert place.log()["options"]["threads"] == parallel.cores()


def fresh(place: Place, *options: str) -> dict[str, bytes]:
    """Returns the crops of the same command in an empty folder."""
    used, place.crops = place.crops, place.root / f"fresh{time.monotonic_ns()}"
    assert place.run(*options) == cli.EXIT_OK
    found, place.crops = place.files(), used
    return found


@pytest.mark.parametrize(
    "options",
    [["--square-crops"], ["--jpeg-quality", "90"], ["--ignore-exif"]],
)
def test_crops_cut_in_another_way_are_cut_anew(
    place: Place, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    place.run(*options)
    assert place.run() == cli.EXIT_OK
    assert last_line(capsys).startswith(
        f"4 new crops in {place.crops}, 0 were there already; 4 stale crops were "
        "cut anew (4 x cut in another way); "
    )
    assert place.files() == fresh(place)
    assert place.run() == cli.EXIT_OK
    assert place.log()["counts"]["crops_existing"] == 4


def test_new_boxes_are_cut_anew_and_crops_of_no_box_are_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    place.write({
        "a/1.jpg": [box(0.9), box(0.8, "2"), box(0.2, bbox=[0.1, 0.1, 0.3, 0.3])],
        "b/3.jpg": [box()],
    })  # fmt: skip
    assert place.run() == cli.EXIT_OK
    assert last_line(capsys).startswith(
        f"2 new crops in {place.crops}, 1 were there already; 1 stale crops were cut "
        "anew (1 x cut from another box); 2 stale crops are of no box (--remove-orphans "
        "deletes them); "
    )
    lost = [f"a/1.jpg___crop03_{SUFFIX}.jpg", f"a/2.JPG___crop00_{SUFFIX}.jpg"]
    assert place.log()["orphans"] == lost
    assert place.files().keys() == {*fresh(place), *lost}
    assert place.run("--remove-orphans") == cli.EXIT_OK
    assert place.files() == fresh(place)


def test_only_crops_of_an_image_that_changed_are_cut_anew(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    before = place.files()
    save_jpeg(place.images / "a/2.JPG", photograph(seed=77))
    assert place.run() == cli.EXIT_OK
    assert ", 3 were there already; 1 stale crops were cut anew " in last_line(capsys)
    after = place.files()
    assert after == fresh(place)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"a/2.JPG___crop00_{SUFFIX}.jpg"}


def test_other_bytes_of_equal_size_and_time_are_seen_by_verifying(
    place: Place,
) -> None:
    image = place.images / "a/2.JPG"
    place.run()
    data, times = image.read_bytes(), image.stat()
    middle = len(data) // 2
    image.write_bytes(data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :])
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    place.run()
    assert place.log()["counts"]["crops_existing"] == 4
    place.run("--verify")
    assert place.log()["crops_cut_anew"] == {"cut from another image": 1}
    assert place.files() == fresh(place)


def test_an_image_that_was_only_copied_is_read_once_more_and_kept(place: Place) -> None:
    place.run()
    for image in place.images.rglob("*.*"):
        os.utime(image, ns=(5, 5))
    for _ in range(2):
        place.run()
        assert place.log()["counts"]["crops_existing"] == 4
    # Now the index knows the new time.
    image = place.images / "a/2.JPG"
    image.write_bytes(image.read_bytes()[::-1])
    os.utime(image, ns=(5, 5))
    place.run()
    assert place.log()["counts"]["crops_existing"] == 4
    place.run("--verify")
    assert place.log()["images_failed_download_or_crop"] == ["a/2.JPG"]


def test_a_stale_crop_that_cannot_be_cut_anew_is_gone(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    (place.images / "a/2.JPG").write_bytes(b"no picture")
    assert place.run() == cli.EXIT_OK
    assert "1 stale crops were removed" in last_line(capsys)
    assert place.files() == fresh(place)


def test_the_index_can_be_lost(place: Place) -> None:
    place.run()
    before = place.files()
    index = place.crops / ".crops.sqlite"
    index.unlink()
    times = {path: path.stat().st_mtime_ns for path in place.crops.rglob("*.jpg")}
    place.run()
    assert place.log()["counts"]["crops_existing"] == 4
    assert place.files() == before
    assert {
        path: path.stat().st_mtime_ns for path in place.crops.rglob("*.jpg")
    } == times
    index.write_bytes(b"damaged" * 1000)
    save_jpeg(place.images / "a/2.JPG", photograph(seed=77))
    place.run()
    assert place.log()["crops_cut_anew"] == {"cut from another image": 1}
    assert place.files() == fresh(place)


def test_crops_of_the_original_are_kept_and_said(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    save_jpeg(place.crops / f"a/2.JPG___crop00_{SUFFIX}.jpg", photograph(20, 20))
    theirs = place.files()
    place.run()
    place.run("--square-crops", "--verify")
    assert (
        ", 1 were there already; 3 stale crops were cut anew (3 x cut in "
        "another way); 1 crops do not say what they were cut from, and are kept; "
    ) in last_line(capsys)
    assert theirs.items() <= place.files().items()


def tell(place: Place, detector: str) -> None:
    """Writes the record beside the detections, of the images as they are now."""
    images = {
        path.relative_to(place.images).as_posix(): contents.digest(path.read_bytes())
        for path in sorted(place.images.rglob("*.*"))
    }
    found = ((name, contents.Contents(digest, None)) for name, digest in images.items())
    image_contents.tell(place.json, found, detector=detector)


def test_crops_of_a_detector_that_was_trained_anew_are_cut_anew(place: Place) -> None:
    tell(place, "one")
    place.run()
    tell(place, "two")
    place.run()
    assert place.log()["crops_cut_anew"] == {"of a box of another detector": 4}
    assert place.files() == fresh(place)
    place.write({"a/1.jpg": [box(0.9)], "a/2.JPG": []})
    tell(place, "three")
    place.run()  # what the third found less than the second is gone, too
    assert place.log()["counts"]["crops_removed"] == 3
    assert place.files() == fresh(place)
    image_contents.path_beside(place.json).unlink()
    place.run()  # of whose boxes they are is not known
    assert place.log()["counts"]["crops_existing"] == 1


def test_an_image_that_changed_since_it_was_detected_is_said(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(place, "one")
    save_jpeg(place.images / "a/2.JPG", photograph(seed=77))
    for _ in range(2):
        assert place.run() == cli.EXIT_OK
        assert (
            "1 images changed since they were detected, so their boxes may not fit"
            in last_line(capsys)
        )
        assert [note["item"] for note in place.log()["notes"]] == ["a/2.JPG"]


@pytest.mark.skipif(os.name == "nt", reason="an open file keeps its folder")
def test_a_crops_folder_that_vanishes_is_no_success(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    harvest = bulk.harvest
    done: list[str] = []

    def vanish(image: str, *words: Any, **options: Any) -> Any:  # noqa: ANN401 - its own
        if done:
            shutil.rmtree(place.crops)
        done.append(image)
        return harvest(image, *words, **options)

    monkeypatch.setattr(bulk, "harvest", vanish)
    assert place.run("--threads", "1") == cli.EXIT_FAILED
    assert last_line(capsys) == (
        f"error: {place.crops} vanished while crops were written into it; see that its "
        "disk is there, and run the same again"
    )


def test_a_second_run_on_the_same_crops_ends_with_one_line(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    with locking.only_run(place.crops, "crop_detections", place.json, None):
        assert place.run() == cli.EXIT_FAILED
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: another run of crop_detections is writing the same into "
        f"{place.crops}; wait for it to end"
    )
    assert place.run() == cli.EXIT_OK


def test_d2_squares_are_correct_unless_the_reference_is_asked_for(
    place: Place,
) -> None:
    white = Image.new("RGB", (100, 100), "white")
    save_jpeg(place.images / "w.jpg", white)
    place.write({"w.jpg": [box(bbox=[0.9, 0.3, 0.1, 0.4])]})
    for flags, dark in ((["--square-crops"], 0), (["--reference-squares"], 15)):
        place.crops = place.root / flags[0]
        place.run(*flags)
        (crop,) = place.files().values()
        assert decoded(crop).size == (40, 40)
        black = (pixels(decoded(crop)) < 128).all(axis=(0, 2))
        assert int(black.sum()) == dark


def test_d1_exif_orientation_is_applied_unless_ignored(place: Place) -> None:
    upright = Image.new("RGB", (96, 160), "blue")
    upright.paste((255, 0, 0), (48, 0, 96, 80))
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    save_jpeg(place.images / "r.jpg", stored, orientation=6)
    place.write({"r.jpg": [box(bbox=[0.5, 0, 0.5, 0.5])]})
    for flags, size, red in (([], (48, 80), 255), (["--ignore-exif"], (80, 48), 0)):
        place.crops = place.root / ("crops" + "".join(flags))
        place.run(*flags)
        (crop,) = place.files().values()
        assert decoded(crop).size == size
        assert pixels(decoded(crop))[..., 0].mean() == pytest.approx(red, abs=12)


def test_boxes_of_people_are_always_cropped_under_their_own_name(place: Place) -> None:
    place.write({"a/1.jpg": {"detections": [box(None)], "is_ground_truth": True}})
    place.run("--threshold", "1")
    assert list(place.files()) == ["a/1.jpg___crop00.jpg"]


def test_d12_more_than_a_hundred_boxes_have_names_of_their_own(place: Place) -> None:
    place.write({"a/1.jpg": [box(bbox=[i / 200, 0, 0.1, 0.1]) for i in range(102)]})
    place.run()
    indices = {CropName.parse(name).index for name in place.files()}
    assert indices == set(range(102))


@pytest.mark.parametrize(
    ("detector", "version", "suffix"),
    [
        (None, None, "unknown"),
        (None, "4.1", "4.1"),
        ("megadetector_v4.1", None, "megadetector_v4.1"),
        ("megadetector_v4.1", "megadetector_v4.1", "megadetector_v4.1"),
    ],
)
def test_d31_d32_the_crop_is_named_after_the_detector(
    place: Place, detector: str | None, version: str | None, suffix: str
) -> None:
    place.write({"a/1.jpg": [box()]})
    document = json.loads(place.json.read_text())
    document["info"] = {"format_version": "1.6"}
    if detector:
        document["info"]["detector"] = detector
    place.json.write_text(json.dumps(document))
    flags = [] if version is None else ["--detector-version", version]
    assert place.run(*flags) == cli.EXIT_OK
    (name,) = place.files()
    assert CropName.parse(name) == CropName("a/1.jpg", 0, suffix)


def test_a_contradicting_detector_version_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("-v", "4.1") == cli.EXIT_FAILED
    assert last_line(capsys) == (
        f"error: --detector-version 4.1 is not info.detector, {SUFFIX}; "
        "leave the flag out to use the file's"
    )
    assert not place.crops.exists()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../evil.jpg", "leaves its folder"),
        ("a/../../evil.jpg", "leaves its folder"),
        ("/etc/evil.jpg", "is absolute; "),
        ("C:/evil.jpg", "is absolute; "),
        ("..\\evil.jpg", "leaves its folder"),
        ("C:\\a\\evil.jpg", "is absolute; "),
        ("\\\\host\\share\\evil.jpg", "is absolute; "),
        ("a\0.jpg", "holds a NUL"),
        ("", "names no file"),
    ],
)
def test_d43_d31_names_that_lead_elsewhere_are_refused_before_anything_is_written(
    place: Place, capsys: pytest.CaptureFixture[str], name: str, fault: str
) -> None:
    place.write({"a/1.jpg": [box()], name: [box()]})
    before = sorted(place.root.rglob("*"))
    assert place.run() == cli.EXIT_FAILED
    line = last_line(capsys)
    assert line.startswith(f"error: {place.json}: images[1].file: ")
    assert fault in line
    assert sorted(place.root.rglob("*")) == before


def test_d43_a_detector_name_cannot_lead_elsewhere(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write({"a/1.jpg": [box()]}, detector="/../../evil")
    assert place.run() == cli.EXIT_FAILED
    assert "info.detector: '/../../evil' cannot be part of a file name" in last_line(
        capsys
    )


def test_d41_braces_and_crop_like_names_are_just_names(place: Place) -> None:
    place.crops = place.root / "crops {} {0}"
    name = "a/x___crop07_y.jpg"
    save_jpeg(place.images / name, photograph())
    place.write({name: [box()]})
    assert place.run() == cli.EXIT_OK
    (crop,) = place.files()
    assert CropName.parse(crop) == CropName(name, 0, SUFFIX)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


BAD_IMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda path: path.write_bytes(jpeg_bytes(photograph())[:-3000]),
        "cannot decode: image file is truncated (",
    ),
    "empty": (Path.touch, "empty file"),
    "text": (lambda path: path.write_text("not a picture"), "not an image file"),
    "folder": (Path.mkdir, "a folder, not a file"),
    "fifo": (make_fifo, "a pipe or a device, not a file"),
    "missing": (lambda _: None, "no such file"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_listed_and_the_run_goes_on(place: Place, kind: str) -> None:
    make, reason = BAD_IMAGES[kind]
    make(place.images / "bad.jpg")
    place.write({"a/1.jpg": [box()], "bad.jpg": [box()], "a/2.JPG": [box()]})
    assert place.run() == cli.EXIT_OK
    assert len(place.files()) == 2
    (failure,) = place.log()["failures"]
    assert failure["item"] == "bad.jpg"
    assert failure["reason"].startswith(reason)


def test_d47_a_bomb_is_not_decoded(place: Place) -> None:
    save_jpeg(place.images / "big.jpg", photograph(400, 300))
    place.write({"a/1.jpg": [box()], "big.jpg": [box()]})
    assert place.run("--max-pixels", "80000") == cli.EXIT_OK
    assert place.log()["failures"] == [
        {
            "item": "big.jpg",
            "reason": "400 x 300 pixels are more than 80000 (--max-pixels)",
        }
    ]


def test_too_many_failures_and_all_failures_exit_with_4(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write({"a/1.jpg": [box()], "no.jpg": [box()]})
    assert place.run("--max-failures", "0") == cli.EXIT_TOO_MANY_FAILURES
    assert last_line(capsys) == "error: 1 of 2 items failed; --max-failures allows 0"
    assert place.run() == cli.EXIT_OK  # the crop of a/1.jpg is there: not all failed
    place.write({"no.jpg": [box()]})
    assert place.run() == cli.EXIT_TOO_MANY_FAILURES


def test_an_unknown_category_is_refused_before_anything_is_written(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write({"a/1.jpg": [box()], "a/2.JPG": [box(), box(0.9, "7")]})
    assert place.run() == cli.EXIT_FAILED
    assert last_line(capsys) == (
        f"error: {place.json}: images[1].detections[1].category: "
        "'7' is not in detection_categories"
    )
    assert not place.crops.exists()


def test_a_file_without_animals_says_so(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(place.json.read_text())
    document["detection_categories"] = {"1": "fish", "2": "person"}
    place.json.write_text(json.dumps(document))
    assert place.run() == cli.EXIT_OK
    assert (
        'no category is named "animal", so nothing is cropped'
        in capsys.readouterr().err
    )


def test_check_crops_valid_repairs_a_torn_crop(place: Place) -> None:
    place.run()
    before = place.files()
    torn = place.crops / next(iter(before))
    torn.write_bytes(torn.read_bytes()[:300])
    place.run()
    assert place.files() != before
    assert place.run("--check-crops-valid") == cli.EXIT_OK
    assert place.files() == before
    assert place.log()["counts"]["crops_existing"] == 3


def test_a_crops_folder_that_cannot_be_made_ends_the_run(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.crops.write_text("a file")
    with pytest.raises(SystemExit) as ended:
        place.run()
    assert ended.value.code == cli.EXIT_FAILED
    assert last_line(capsys).endswith(f"{place.crops} is a file; a folder is needed")


def test_a_missing_images_folder_is_one_line(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.images = place.root / "nowhere"
    assert place.run() == cli.EXIT_FAILED
    assert last_line(capsys) == (
        f"error: no such folder: {place.images} (--images-dir)"
    )


def test_an_empty_container_means_none(place: Place) -> None:
    assert place.run("--container-url", "", "--save-full-images") == cli.EXIT_OK


def test_what_is_no_address_is_no_container(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("-c", "CONTAINER?sig=SECRET") == cli.EXIT_FAILED
    assert last_line(capsys) == ("error: --container-url: no address of http or https")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["d.json", "crops"], "--images-dir says where the images are"),
        (["d.json", "crops", "-i", "x", "-t", "1.5"], "1.5 is not between 0 and 1"),
        (["d.json", "crops", "-i", "x", "--jpeg-quality", "101"], "101 is more than 100"),
        (["d.json", "crops", "-i", "x", "--threads", "0"], "0 is not a whole number"),
    ],
)  # fmt: skip
def test_contradictions_are_usage_errors(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        crop_detections.main(argv)
    assert caught.value.code == cli.EXIT_USAGE
    assert message in capsys.readouterr().err


PEAK = """
import re, sys
from pathlib import Path
from classification import crop_detections
assert crop_detections.main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_d50_memory_does_not_grow_with_the_images(place: Place) -> None:
    peak_kib = []
    for count in (2_000, 20_000):
        place.write({f"a/{number}.jpg": [box(0.1)] for number in range(count)})
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *place.argv("-t", "0.5")],
            capture_output=True,
            text=True,
            check=True,
        )
        peak_kib.append(int(done.stdout))
    assert peak_kib[1] - peak_kib[0] < 4 * 1024


@pytest.mark.slow
def test_shards_side_by_side_cut_what_one_run_does(place: Place) -> None:
    assert place.run() == cli.EXIT_OK
    whole = place.files()
    shutil.rmtree(place.crops)
    script = str(ROOT / "classification/crop_detections.py")
    running = [
        subprocess.Popen([sys.executable, script, *place.argv("--shard", f"{n}/4")])
        for n in (1, 2, 3, 4)
    ]
    assert [process.wait() for process in running] == [0] * 4
    assert place.files() == whole
    logs = [path.name for path in place.logs.iterdir()]
    assert (
        sum(name.startswith("crop_detections.shard-003-of-004_") for name in logs) == 1
    )


def test_a_shard_cuts_its_images_alone_and_the_rest_is_seen_at_the_end(
    place: Place,
) -> None:
    assert place.run("--shard", "1/3") == cli.EXIT_OK
    assert {name.partition("___")[0] for name in place.files()} == {"a/1.jpg"}
    assert place.run() == cli.EXIT_OK
    assert place.log()["counts"]["crops_existing"] == 3
    assert place.log()["counts"]["crops"] == 1


def test_d36_a_killed_run_leaves_no_torn_crop(place: Place) -> None:
    scene = jpeg_bytes(photograph(1600, 1200))
    names = [f"{number:03}.jpg" for number in range(120)]
    for name in names:
        (place.images / name).write_bytes(scene)
    place.write({name: [box(), box(bbox=[0.4, 0.1, 0.5, 0.8])] for name in names})
    command = [sys.executable, "-m", "classification.crop_detections"]
    process = subprocess.Popen([*command, *place.argv()])
    while not list(place.crops.glob("0[3-9]*.jpg")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    cut = {name: data for name, data in place.files().items() if name.endswith(".jpg")}
    assert 0 < len(cut) < 240
    for data in cut.values():
        decoded(data).load()
    assert place.run() == cli.EXIT_OK
    after = place.files()
    assert {name: after[name] for name in cut} == cut
    kept = {name for name in after if not name.endswith(".tmp")}
    assert len(kept) == 240
    assert len({decoded(after[name]).tobytes() for name in kept}) == 2


ORACLE = """
import sys, types
blob = types.ModuleType("azure.storage.blob")
blob.ContainerClient = object
for name, module in (
    ("azure", types.ModuleType("azure")),
    ("azure.storage", types.ModuleType("azure.storage")),
    ("azure.storage.blob", blob),
):
    sys.modules.setdefault(name, module)
from megadetector.classification import crop_detections
json, crops, images, logs, square = sys.argv[1:]
crop_detections.main(
    json, crops, images, None, None, False, square == "True", False, 0.3, 2, logs
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("square", [True, False])
def test_crops_are_those_of_megadetector(place: Place, square: bool) -> None:
    pytest.importorskip("megadetector.classification")
    rng = np.random.default_rng(1)
    listed = {}
    for number, size in enumerate([(320, 240), (90, 300), (301, 77), (640, 480)]):
        name = f"{number}.jpg"
        save_jpeg(place.images / name, photograph(*size, seed=number), orientation=6)
        corners = np.sort(rng.random((30, 2, 2)).round(4), axis=1)
        listed[name] = [
            box(round(float(rng.random()), 3), bbox=[x1, y1, x2 - x1, y2 - y1])
            for (x1, y1), (x2, y2) in corners.tolist()
        ]
    place.write(listed)
    theirs = place.root / "theirs"
    subprocess.run(
        [
            *(sys.executable, "-c", ORACLE, place.json, theirs, place.images),
            *(place.root, str(square)),
        ],
        check=True,
        capture_output=True,
    )
    flags = ["--reference-squares"] if square else []
    assert place.run("--ignore-exif", "-t", "0.3", *flags) == cli.EXIT_OK
    ours = place.files()
    assert sorted(ours) == sorted(path.name for path in theirs.iterdir())
    assert len(ours) > 50
    for name, data in ours.items():
        expected = pixels(decoded((theirs / name).read_bytes()))
        assert np.array_equal(pixels(decoded(data)), expected), name


@pytest.mark.skipif(jpeg.load_decoder() is None, reason="nvImageCodec is not installed")
def test_the_crops_are_the_same_without_the_partial_decoder(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run("--square-crops")
    fast = place.files()
    place.crops = place.root / "slow"
    monkeypatch.setattr(jpeg, "load_decoder", lambda: None)
    place.run("--square-crops")
    assert place.files() == fast


def test_a_folder_of_crops_that_is_a_link_leads_nowhere_else(place: Place) -> None:
    outside = place.root / "outside"
    outside.mkdir()
    place.crops.mkdir()
    (place.crops / "ds").symlink_to(outside)
    for name in ("ds/a.jpg", "b.jpg"):
        save_jpeg(place.images / name, photograph())
    place.write({"ds/a.jpg": [box()], "b.jpg": [box()]})
    assert place.run() == 0
    assert list(outside.iterdir()) == []
    assert list(place.files()) == [f"b.jpg___crop00_{SUFFIX}.jpg"]
    [failure] = place.log()["failures"]
    assert "leads over 'ds', a link out of " in failure["reason"]


def test_names_alike_and_names_that_no_disk_has_fail_alone(place: Place) -> None:
    names = ["a.jpg", "A.jpg", "./a.jpg", "nul.jpg", "x" * 240 + ".jpg", "y" * 300]
    for name in names[:5]:
        save_jpeg(place.images / name, photograph())
    place.write({name: [box()] for name in names})
    assert place.run() == 0
    assert list(place.files()) == [f"a.jpg___crop00_{SUFFIX}.jpg"]
    assert place.log()["counts"]["images_failed"] == 5
