from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from PIL import Image

from classification.artifacts import crop_record
from classification.artifacts.crop_record import CropRecord
from classification.cropping.cut import Shape
from classification.cropping.harvest import (
    Harvest,
    Settings,
    Target,
    harvest,
    is_decodable,
    save_crop,
)
from classification.cropping.recorded import RecordedCrops
from classification.cropping.wanted import WantedCrop
from classification.runtime.contents import digest
from classification.runtime.errors import ItemError, StorageError
from classification.storage.local import LocalStore
from detection.boxes import Box
from tests.world import jpeg_bytes, photograph, pixels, save_jpeg

if TYPE_CHECKING:
    from classification.runtime.contents import Stamp

SCENE = photograph(160, 120)
LEFT = WantedCrop("a/b.jpg___crop00_d.jpg", Box(0.1, 0.2, 0.4, 0.5))
RIGHT = WantedCrop("a/b.jpg___crop01_d.jpg", Box(0.5, 0.5, 0.4, 0.25))


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


class Counting(LocalStore):
    """A folder that counts how often it is read."""

    reads = 0

    def load(self, name: str) -> tuple[bytes, Stamp]:
        self.reads += 1
        return super().load(name)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    save_jpeg(tmp_path / "images" / "a" / "b.jpg", SCENE)
    return Counting(tmp_path / "images")


def reap(
    store: LocalStore, crops_dir: Path, *wanted: WantedCrop, **settings: object
) -> Harvest:
    chosen = Settings(**settings)  # type: ignore[arg-type]  # each test's own
    with RecordedCrops.reading(crops_dir) as crops:
        targets = [target(crop, chosen, crops) for crop in wanted or (LEFT, RIGHT)]
    return harvest(
        "a/b.jpg", targets, store=store, crops_dir=crops_dir, settings=chosen
    )


def target(crop: WantedCrop, settings: Settings, crops: RecordedCrops) -> Target:
    record = CropRecord(
        image="a/b.jpg",
        image_digest=None,
        box=crop.box,
        geometry=settings.geometry,
        detector="d",
        detector_digest=None,
        annotated=False,
    )
    return Target(crop.name, record, crops.find(crop.name))


def record_of(settings: Settings, **values: object) -> CropRecord:
    with RecordedCrops.reading(Path()) as crops:
        record = target(LEFT, settings, crops).record
    return msgspec.structs.replace(record, **values)


def test_one_image_is_read_once_for_all_its_crops(
    store: Counting, tmp_path: Path
) -> None:
    result = reap(store, tmp_path / "crops")
    assert (len(result.written), result.failures, result.notes) == (2, [], [])
    assert store.reads == 1
    assert opened(tmp_path / "crops" / LEFT.name).size == (64, 60)
    assert opened(tmp_path / "crops" / RIGHT.name).size == (64, 30)


def test_a_crop_is_what_pillow_would_save(store: Counting, tmp_path: Path) -> None:
    reap(store, tmp_path / "crops", LEFT, shape=Shape.SQUARE)
    whole = Image.open(io.BytesIO(jpeg_bytes(SCENE)))
    buffer = io.BytesIO()
    whole.crop((16, 22, 80, 86)).save(buffer, "JPEG")
    found = (tmp_path / "crops" / LEFT.name).read_bytes()
    record = crop_record.read(tmp_path / "crops" / LEFT.name)
    assert record == record_of(
        Settings(shape=Shape.SQUARE), image_digest=digest(jpeg_bytes(SCENE))
    )
    assert found == crop_record.insert(buffer.getvalue(), record)


def test_the_quality_can_be_chosen(store: Counting, tmp_path: Path) -> None:
    sizes = []
    for quality in (30, 75, 95):
        reap(store, tmp_path / str(quality), LEFT, jpeg_quality=quality)
        sizes.append((tmp_path / str(quality) / LEFT.name).stat().st_size)
    assert sizes == sorted(set(sizes))


def test_a_crop_carries_no_metadata_but_its_record(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    SCENE.save(buffer, "PNG", dpi=(300, 300))
    marked = Image.open(buffer)
    marked.info["comment"] = b"camera 7"
    record = record_of(Settings())
    save_crop(tmp_path / "crop.jpg", marked, record)
    info = opened(tmp_path / "crop.jpg").info
    assert info.pop("comment") == crop_record.encode(record)
    assert set(info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize(("apply_exif", "red"), [(True, 1.0), (False, 0.0)])
def test_d1_the_upright_image_is_cut(
    tmp_path: Path, apply_exif: bool, red: float
) -> None:
    upright = Image.new("RGB", (120, 160), "blue")
    upright.paste((255, 0, 0), (60, 0, 120, 80))
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    save_jpeg(tmp_path / "a" / "b.jpg", stored, orientation=6)
    crop = WantedCrop("c.jpg", Box(0.5, 0, 0.5, 0.5))
    reap(LocalStore(tmp_path), tmp_path, crop, apply_exif=apply_exif)
    cut = pixels(opened(tmp_path / "c.jpg"))
    share = np.mean((cut[..., 0] > 200) & (cut[..., 2] < 60))
    assert share == pytest.approx(red, abs=0.02)


def test_a_missing_image_fails_with_its_reason(tmp_path: Path) -> None:
    result = reap(LocalStore(tmp_path), tmp_path / "crops")
    assert result.failures == [("a/b.jpg", "no such file")]
    assert not (tmp_path / "crops").exists()


def test_an_unusual_image_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    SCENE.convert("P").save(tmp_path / "a" / "b.jpg", "PNG")
    result = reap(LocalStore(tmp_path), tmp_path)
    assert result.notes == [("a/b.jpg", "P converted to RGB")]
    assert len(result.written) == 2


def test_a_box_without_pixels_is_noted_and_the_others_are_cut(
    store: Counting, tmp_path: Path
) -> None:
    empty = WantedCrop("a/b.jpg___crop02_d.jpg", Box(0.5, 0.5, 0.0, 0.1))
    result = reap(store, tmp_path, empty, LEFT)
    assert result.notes == [(empty.name, "a box of 0 x 12 pixels holds no image")]
    assert (len(result.written), result.failures) == (1, [])
    assert reap(store, tmp_path, empty).written == []


def test_a_name_too_long_fails_alone(store: Counting, tmp_path: Path) -> None:
    long = WantedCrop("x" * 260 + ".jpg", LEFT.box)
    result = reap(store, tmp_path, long, LEFT)
    assert result.failures == [
        (long.name, "its name has a part of 264 bytes, and disks take 255")
    ]
    assert len(result.written) == 1
    assert [path.name for path in tmp_path.rglob("*.tmp")] == []


def test_a_crop_too_long_for_jpeg_fails_alone(tmp_path: Path) -> None:
    with pytest.raises(ItemError) as caught:
        save_crop(
            tmp_path / "crop.jpg", Image.new("RGB", (65_600, 1)), record_of(Settings())
        )
    assert str(caught.value).startswith("cannot be saved as JPEG: ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_ends_the_run(
    store: Counting, tmp_path: Path
) -> None:
    (tmp_path / "crops").write_bytes(b"a file")
    with pytest.raises(StorageError, match=r"^cannot write .*b\.jpg___crop00_d\.jpg: "):
        reap(store, tmp_path / "crops")


def test_a_full_disk_ends_the_run(
    store: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    reap(store, tmp_path / "crops", LEFT)
    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(StorageError, match="No space left on device"):
        reap(store, tmp_path / "crops", RIGHT)
    assert is_decodable(tmp_path / "crops" / LEFT.name)


def test_checking_repairs_damaged_crops_only(store: Counting, tmp_path: Path) -> None:
    reap(store, tmp_path)
    good = (tmp_path / RIGHT.name).read_bytes()
    torn = tmp_path / LEFT.name
    before = torn.read_bytes()
    torn.write_bytes(before[: len(before) // 2])
    result = reap(store, tmp_path, check_existing=True)
    assert (len(result.written), len(result.existing)) == (1, 1)
    assert torn.read_bytes() == before
    assert (tmp_path / RIGHT.name).read_bytes() == good
    assert store.reads == 2
    assert len(reap(store, tmp_path, check_existing=True).existing) == 2
    assert torn.read_bytes() == before


def test_decodable_means_a_whole_image(tmp_path: Path) -> None:
    assert not is_decodable(tmp_path / "missing.jpg")
    (tmp_path / "empty.jpg").touch()
    assert not is_decodable(tmp_path / "empty.jpg")
    assert is_decodable(save_jpeg(tmp_path / "good.jpg", SCENE))
