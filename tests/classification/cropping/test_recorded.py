from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import crop_index, crop_record
from classification.artifacts.crop_record import CropRecord, Geometry
from classification.cropping.harvest import save_crop
from classification.cropping.recorded import RecordedCrops
from classification.cropping.wanted import Source
from classification.runtime.errors import StorageError
from detection.boxes import Box
from tests.world import photograph, save_jpeg

if TYPE_CHECKING:
    from pathlib import Path

RECORD = CropRecord(
    image="a.jpg",
    image_digest="0" * 32,
    box=Box(0.1, 0.2, 0.3, 0.4),
    geometry=Geometry(shape="square", jpeg_quality=75, ignore_exif=False),
    detector=None,
    detector_digest=None,
    annotated=True,
)


def test_the_record_is_that_of_the_file_with_or_without_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_crop(tmp_path / "a.jpg___crop00.jpg", photograph(20, 20), RECORD)
    save_jpeg(tmp_path / "b.jpg___crop00.jpg", photograph(20, 20))
    opened: list[str] = []
    read = crop_record.read

    def counted(path: Path) -> CropRecord | None:
        opened.append(path.name)
        return read(path)

    monkeypatch.setattr(crop_record, "read", counted)

    def look(crops: RecordedCrops) -> None:
        one = crops.find("a.jpg___crop00.jpg")
        other = crops.find("b.jpg___crop00.jpg")
        assert one is not None
        assert other is not None
        assert (one.record, other.record) == (RECORD, None)
        assert crops.find("c.jpg___crop00.jpg") is None

    with RecordedCrops.reading(tmp_path) as crops:
        look(crops)
    assert not (tmp_path / crop_index.FILENAME).exists()
    with RecordedCrops.filling(tmp_path) as crops:
        look(crops)
    assert len(opened) == 4
    with RecordedCrops.reading(tmp_path) as crops:
        look(crops)
    assert len(opened) == 4  # the index knows them by now
    save_crop(tmp_path / "b.jpg___crop00.jpg", photograph(20, 20), RECORD)
    with RecordedCrops.reading(tmp_path) as crops:
        entry = crops.find("b.jpg___crop00.jpg")
    assert entry is not None
    assert entry.record == RECORD


def test_a_folder_that_vanishes_while_it_is_filled_is_no_success(
    tmp_path: Path,
) -> None:
    crops_dir = tmp_path / "crops"
    crops_dir.mkdir()
    with RecordedCrops.filling(crops_dir) as crops:
        crops.check_is_there()
        if os.name == "nt":
            pytest.skip("an open file keeps its folder")
        shutil.rmtree(crops_dir)
        with pytest.raises(StorageError, match=r"crops vanished while"):
            crops.check_is_there()
        crops_dir.mkdir()  # as the next crop would
        with pytest.raises(StorageError, match=r"crops vanished while"):
            crops.check_is_there()


def test_a_crop_is_taken_for_that_of_its_own_box_alone(tmp_path: Path) -> None:
    save_crop(tmp_path / "a.jpg___crop00.jpg", photograph(20, 20), RECORD)
    save_jpeg(tmp_path / "b.jpg___crop00.jpg", photograph(20, 20))
    own = Source("a.jpg", RECORD.box, annotated=True)
    with RecordedCrops.reading(tmp_path) as crops:
        assert crops.misfit("a.jpg___crop00.jpg", own) == ""
        assert crops.misfit("b.jpg___crop00.jpg", own) == ""
        assert crops.misfit("c.jpg___crop00.jpg", own) is None
        for other, reason in (
            (own._replace(image="b.jpg"), crop_record.ANOTHER_IMAGE),
            (own._replace(image_digest="1" * 32), crop_record.ANOTHER_IMAGE),
            (own._replace(box=Box(0, 0, 1, 1)), crop_record.ANOTHER_BOX),
            (own._replace(annotated=False), crop_record.ANOTHER_BOX),
        ):
            assert crops.misfit("a.jpg___crop00.jpg", other) == reason
        assert crops.silent == 1
