from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from classification.artifacts.crop_record import CropRecord, Geometry
from classification.artifacts.step_log import StepLog
from classification.cropping import orphans
from classification.cropping.bulk import Given, Job, Place
from classification.cropping.harvest import Settings, save_crop
from classification.cropping.recorded import RecordedCrops
from classification.cropping.wanted import Detector, WantedCrop
from classification.runtime.contents import digest
from classification.storage.local import LocalStore
from detection.boxes import Box
from tests.world import photograph, save_jpeg

if TYPE_CHECKING:
    from pathlib import Path

BOX = Box(0.1, 0.2, 0.3, 0.4)
GEOMETRY = Geometry(shape="square", jpeg_quality=75, ignore_exif=False)
OURS = (  # carry a record
    "x/a.jpg___crop00_d.jpg",  # wanted
    "x/a.jpg___crop01_d.jpg",
    "x/gone.jpg___crop00_d.jpg",
)
THEIRS = (
    "x/a.jpg___crop02_e.jpg",
    "x/strange.jpg___crop00.jpg",  # of no image of the file
    "x/a.jpg",  # no crop
    "notes.txt",
)
ORPHANS = [OURS[1], THEIRS[0], OURS[2]]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    for name in OURS:
        image = name.partition("___")[0]
        record = CropRecord(
            image=image,
            image_digest=None,
            box=BOX,
            geometry=GEOMETRY,
            detector="d",
            detector_digest=None,
            annotated=False,
        )
        save_crop(tmp_path / name, photograph(20, 20), record)
    for name in THEIRS:
        save_jpeg(tmp_path / name, photograph(20, 20))
    given = Given()
    wanted = [WantedCrop("x//a.jpg___crop00_d.jpg", BOX)]
    list(given.noting([Job("x//a.jpg", wanted, detector=Detector("d", "new"))]))
    return given


def place(tmp_path: Path) -> Place:
    return Place(
        store=LocalStore(tmp_path / "images"),
        crops_dir=tmp_path,
        settings=Settings(),
        threads=1,
    )


@pytest.mark.parametrize("remove", [False, True])
def test_orphans_are_ours_or_named_after_an_image_of_the_file(
    tmp_path: Path, given: Given, *, remove: bool
) -> None:
    log = StepLog(step="test")
    with RecordedCrops.filling(tmp_path) as crops:
        orphans.report(place(tmp_path), given, crops, log, remove=remove)
    assert log.extra["orphans"] == ORPHANS
    assert log.counts == {"orphans_removed" if remove else "orphans": 3}
    left = {name for name in (*OURS, *THEIRS) if (tmp_path / name).exists()}
    assert left == {*OURS, *THEIRS} - (set(ORPHANS) if remove else set())
    (remark,) = orphans.remarks(log)
    assert remark == (
        "3 stale crops, which no box gives, were removed"
        if remove
        else "3 stale crops are of no box (--remove-orphans deletes them)"
    )


def test_where_there_are_none_nothing_is_said(tmp_path: Path) -> None:
    log = StepLog(step="test")
    save_jpeg(tmp_path / THEIRS[1], photograph(20, 20))
    with RecordedCrops.filling(tmp_path) as crops:
        orphans.report(place(tmp_path), Given(), crops, log, remove=True)
    assert (log.counts, log.extra, orphans.remarks(log)) == ({}, {}, [])
    assert (tmp_path / THEIRS[1]).exists()


def test_the_log_lists_so_many_and_counts_all(
    tmp_path: Path, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_MOST_LISTED", 2)
    log = StepLog(step="test")
    with RecordedCrops.filling(tmp_path) as crops:
        orphans.report(place(tmp_path), given, crops, log, remove=False)
    assert log.counts == {"orphans": 3}
    assert log.extra["orphans"] == ORPHANS[:2]


def test_a_crop_that_some_disk_takes_for_a_wanted_one_is_none(
    tmp_path: Path, given: Given
) -> None:
    save_jpeg(tmp_path / "x" / "A.jpg___crop00_d.jpg", photograph(20, 20))
    with RecordedCrops.filling(tmp_path) as crops:
        assert [name for name, _ in orphans.find(tmp_path, given, crops)] == ORPHANS


@pytest.mark.parametrize(
    ("source", "is_removed"),
    [
        ({"detector_digest": "old"}, True),
        ({"detector_digest": "new"}, False),
        ({"detector_digest": None}, False),
        ({"detector": "e", "detector_digest": "old"}, False),
        ({"image": "x/other.jpg", "detector_digest": "old"}, False),
        ({"image_digest": "another"}, True),
        ({"detector": "e", "image_digest": "another"}, False),
        ({"image": "x/gone.jpg", "image_digest": "another"}, False),
    ],
)
def test_crops_of_an_image_or_a_detector_that_was_replaced_go_in_any_case(
    tmp_path: Path, source: dict[str, str], *, is_removed: bool
) -> None:
    image = save_jpeg(tmp_path / "images/x/a.jpg", photograph())
    record = CropRecord(
        image="x/a.jpg",
        image_digest=digest(image.read_bytes()),
        box=BOX,
        geometry=GEOMETRY,
        detector="d",
        detector_digest=None,
        annotated=False,
    )
    crop = tmp_path / "x/a.jpg___crop07_d.jpg"
    save_crop(crop, photograph(20, 20), msgspec.structs.replace(record, **source))
    log, given = StepLog(step="test"), Given()
    jobs = [
        Job(f"x/{name}.jpg", [], detector=Detector("d", "new"))
        for name in ("a", "gone")
    ]
    list(given.noting(jobs))
    with RecordedCrops.filling(tmp_path) as crops:
        orphans.report(place(tmp_path), given, crops, log, remove=False)
    assert crop.exists() is not is_removed
    assert log.counts == {"crops_removed" if is_removed else "orphans": 1}
    assert log.extra == {"orphans": ["x/a.jpg___crop07_d.jpg"]}
