from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import crop_record
from classification.artifacts.step_log import StepLog
from classification.cropping import bulk
from classification.cropping.bulk import Job, Place
from classification.cropping.harvest import Settings
from classification.cropping.wanted import WantedCrop
from classification.runtime.errors import StorageError
from classification.storage import ImageStore
from classification.storage.local import LocalStore
from detection.boxes import Box
from tests.world import photograph, save_jpeg

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from classification.runtime.contents import Stamp

BOX = Box(0.1, 0.2, 0.5, 0.5)


def wanted(*names: str) -> list[WantedCrop]:
    return [WantedCrop(name, BOX) for name in names]


def place(tmp_path: Path, *, check_existing: bool = False) -> Place:
    return Place(
        store=LocalStore(tmp_path / "images"),
        crops_dir=tmp_path / "crops",
        settings=Settings(check_existing=check_existing),
        threads=2,
    )


def cut(
    jobs: list[Job], where: Place, alike: Mapping[str, str] | None = None
) -> StepLog:
    log = StepLog(step="test")
    with bulk.filling(where.crops_dir, "test") as crops:
        bulk.cut_missing(iter(jobs), where, crops, log, alike or {})
    return log


def test_what_became_of_each_image_is_counted(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "images" / "a.jpg", photograph())
    save_jpeg(tmp_path / "images" / "b.jpg", photograph(seed=1))
    save_jpeg(tmp_path / "crops" / "b0.jpg", photograph(20, 20))
    jobs = [
        Job("a.jpg", wanted("a0.jpg", "a1.jpg")),
        Job("b.jpg", wanted("b0.jpg")),
        Job("c.jpg", wanted("c0.jpg")),
        Job("d.jpg", []),
    ]
    log = cut(jobs, place(tmp_path))
    assert log.counts == {
        "images": 3, "images_failed": 1, "crops": 2, "crops_existing": 1,
        "crops_without_record": 1,
    }  # fmt: skip
    assert log.failures == [("c.jpg", "no such file")]
    assert log.extra == {
        "images_failed_download_or_crop": ["c.jpg"],
        "num_new_downloads": 0,
        "num_new_crops": 2,
    }


def test_d36_a_torn_crop_is_cut_again_if_crops_are_to_be_checked(
    tmp_path: Path,
) -> None:
    save_jpeg(tmp_path / "images" / "a.jpg", photograph())
    jobs = [Job("a.jpg", wanted("a0.jpg", "a1.jpg"))]
    cut(jobs, place(tmp_path))
    crop = tmp_path / "crops" / "a0.jpg"
    whole = crop.read_bytes()
    crop.write_bytes(whole[:200])
    log = cut(jobs, place(tmp_path))
    assert (log.counts["crops"], log.counts["crops_existing"]) == (0, 2)
    log = cut(jobs, place(tmp_path, check_existing=True))
    assert (log.counts["crops"], log.counts["crops_existing"]) == (1, 1)
    assert crop.read_bytes() == whole


class Counting(LocalStore):
    """A folder that counts how often bytes, and stamps, are asked for."""

    reads = stamps = 0

    def load(self, name: str) -> tuple[bytes, Stamp]:
        self.reads += 1
        return super().load(name)

    def stamp(self, name: str) -> Stamp:
        self.stamps += 1
        return super().stamp(name)


def test_d49_an_image_whose_crops_exist_is_not_read_nor_are_the_crops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.jpg" for number in range(40)]
    for name in names:
        save_jpeg(tmp_path / "images" / name, photograph(40, 40))
    store = Counting(tmp_path / "images")
    where = replace(place(tmp_path), store=store, threads=1)
    jobs = [Job(name, wanted(f"0{name}", f"1{name}")) for name in names]
    cut(jobs, where)
    assert (store.reads, store.stamps) == (40, 0)
    opened: list[Path] = []
    monkeypatch.setattr(crop_record, "read", opened.append)
    log = cut(jobs, where)
    assert log.counts["crops_existing"] == 80
    assert (store.reads, store.stamps) == (40, 40)
    assert opened == []
    assert cut(jobs, replace(where, verify=True)).counts["crops_existing"] == 80
    assert store.reads == 80


class Silent(ImageStore):
    """A server that tells nothing of its images but their bytes."""

    def __init__(self, root: Path) -> None:
        self._near = LocalStore(root)

    def load(self, name: str) -> tuple[bytes, None]:
        return self._near.read(name), None

    def stamp(self, name: str) -> None:
        self._near.stamp(name)

    def exists(self, name: str) -> bool:
        return self._near.exists(name)


def test_images_of_which_nothing_tells_whether_they_changed_are_counted(
    tmp_path: Path,
) -> None:
    save_jpeg(tmp_path / "images" / "a.jpg", photograph())
    where = replace(place(tmp_path), store=Silent(tmp_path / "images"))
    jobs = [Job("a.jpg", wanted("a0.jpg"))]
    for new in (1, 0):
        log = cut(jobs, where)
        assert (log.counts["crops"], log.counts["images_without_stamp"]) == (new, 1)
        (remark,) = bulk.remarks(log)
        assert remark.startswith("1 images are at a server that tells neither tag, ")
    save_jpeg(tmp_path / "images" / "a.jpg", photograph(seed=1))
    assert cut(jobs, where).counts["crops_existing"] == 1
    assert cut(jobs, replace(where, verify=True)).counts["crops"] == 1


def test_options_are_said_in_the_words_of_the_flags() -> None:
    shown = bulk.options_to_log(Settings(), threshold=0.5, threads=3)
    assert shown == {
        "shape": "rectangle",
        "threshold": 0.5,
        "jpeg_quality": 75,
        "max_pixels": Settings().max_pixels,
        "ignore_exif": False,
        "check_crops_valid": False,
        "threads": 3,
    }


def test_d39_an_image_that_a_disk_takes_for_another_fails_with_its_name(
    tmp_path: Path,
) -> None:
    for name in ("a.jpg", "A.JPG"):
        save_jpeg(tmp_path / "images" / name, photograph())
    jobs = [
        Job("a.jpg", wanted("a.jpg0.jpg")),
        Job("A.JPG", wanted("A.JPG0.jpg")),
        Job("A.jpg", []),
    ]
    alike = {"A.JPG": "a.jpg", "A.jpg": "a.jpg"}
    for new in (1, 0):
        log = cut(jobs, place(tmp_path), alike)
        assert log.counts == {
            "images": 2, "images_failed": 1, "crops": new, "crops_existing": 1 - new,
        }  # fmt: skip
        reason = "some disks cannot tell its name from 'a.jpg', which stands before it"
        assert log.failures == [("A.JPG", reason)]
        assert log.extra["images_failed_download_or_crop"] == ["A.JPG"]
    assert sorted(path.name for path in (tmp_path / "crops").iterdir()) == [
        ".crops.sqlite", "a.jpg0.jpg",
    ]  # fmt: skip


def test_the_same_crops_are_cut_by_one_run_at_a_time(tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    with bulk.filling(crops, "cut", "a.json", "1/2"):
        with bulk.filling(crops, "cut", "a.json", "2/2"):
            pass
        with (
            pytest.raises(StorageError, match=r"^another run of cut is writing"),
            bulk.filling(crops, "cut", "a.json", "1/2"),
        ):
            pass
    assert [path.name for path in crops.iterdir()] == [".crops.sqlite"]
