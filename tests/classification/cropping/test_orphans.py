from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts.crop_record import CropRecord, Geometry
from classification.artifacts.step_log import StepLog
from classification.cropping import orphans
from classification.cropping.bulk import Given, Job
from classification.cropping.harvest import save_crop
from classification.cropping.recorded import RecordedCrops
from classification.cropping.wanted import WantedCrop
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
    list(given.noting([Job("x//a.jpg", [WantedCrop("x//a.jpg___crop00_d.jpg", BOX)])]))
    return given


@pytest.mark.parametrize("remove", [False, True])
def test_orphans_are_ours_or_named_after_an_image_of_the_file(
    tmp_path: Path, given: Given, *, remove: bool
) -> None:
    log = StepLog(step="test")
    with RecordedCrops.filling(tmp_path) as crops:
        orphans.report(tmp_path, given, crops, log, remove=remove)
    assert log.extra["orphans"] == ORPHANS
    assert log.counts == {"orphans_removed" if remove else "orphans": 3}
    left = {name for name in (*OURS, *THEIRS) if (tmp_path / name).exists()}
    assert left == {*OURS, *THEIRS} - (set(ORPHANS) if remove else set())
    (remark,) = orphans.remarks(log)
    assert remark == (
        "3 crops that no box gives were removed"
        if remove
        else "3 crops are of no box (--remove-orphans deletes them)"
    )


def test_where_there_are_none_nothing_is_said(tmp_path: Path) -> None:
    log = StepLog(step="test")
    save_jpeg(tmp_path / THEIRS[1], photograph(20, 20))
    with RecordedCrops.filling(tmp_path) as crops:
        orphans.report(tmp_path, Given(), crops, log, remove=True)
    assert (log.counts, log.extra, orphans.remarks(log)) == ({}, {}, [])
    assert (tmp_path / THEIRS[1]).exists()


def test_the_log_lists_so_many_and_counts_all(
    tmp_path: Path, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_MOST_LISTED", 2)
    log = StepLog(step="test")
    with RecordedCrops.filling(tmp_path) as crops:
        orphans.report(tmp_path, given, crops, log, remove=False)
    assert log.counts == {"orphans": 3}
    assert log.extra["orphans"] == ORPHANS[:2]


def test_a_crop_that_some_disk_takes_for_a_wanted_one_is_none(
    tmp_path: Path, given: Given
) -> None:
    save_jpeg(tmp_path / "x" / "A.jpg___crop00_d.jpg", photograph(20, 20))
    with RecordedCrops.filling(tmp_path) as crops:
        assert list(orphans.find(tmp_path, given, crops)) == ORPHANS
