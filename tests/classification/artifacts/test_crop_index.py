from __future__ import annotations

import multiprocessing
import sqlite3
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import crop_record
from classification.artifacts.crop_index import FILENAME, CropIndex, Entry
from classification.artifacts.crop_record import CropRecord, Geometry
from classification.runtime.contents import Stamp
from classification.runtime.errors import StorageError
from detection.boxes import Box

if TYPE_CHECKING:
    from pathlib import Path

RECORD = CropRecord(
    image="a/b.jpg",
    image_digest="0" * 32,
    box=Box(0.1, 0.2, 0.3, 0.4),
    geometry=Geometry(shape="square", jpeg_quality=75, ignore_exif=False),
    detector="d",
    detector_digest=None,
    annotated=False,
)
CROP = Stamp(1000, 1_700_000_000_123_456_789)
ENTRY = Entry(CROP, RECORD, Stamp(5_000_000, 17, "tag"))


def fill(folder: Path, names: list[str], entry: Entry = ENTRY) -> None:
    with CropIndex.open(folder, writable=True) as index:
        for name in names:
            index.add(name, entry)


def found(folder: Path, name: str, crop: Stamp = CROP) -> Entry | None:
    with CropIndex.open(folder) as index:
        return index.find(name, crop)


@pytest.mark.parametrize(
    "entry",
    [ENTRY, ENTRY._replace(image=None), ENTRY._replace(record=None, image=None)],
)
def test_what_was_added_is_found(tmp_path: Path, entry: Entry) -> None:
    fill(tmp_path, ["a/b.jpg___crop00.jpg", "b\udcff.jpg___crop00.jpg"], entry)
    assert found(tmp_path, "a/b.jpg___crop00.jpg") == entry
    assert found(tmp_path, "b\udcff.jpg___crop00.jpg") == entry
    assert found(tmp_path, "a/b.jpg___crop01.jpg") is None


def test_a_crop_that_was_written_since_is_not_known(tmp_path: Path) -> None:
    fill(tmp_path, ["a"])
    assert found(tmp_path, "a", CROP._replace(size=999)) is None
    assert found(tmp_path, "a", CROP._replace(modified=1)) is None
    newer = ENTRY._replace(crop=Stamp(7, 8))
    fill(tmp_path, ["a"], newer)
    assert found(tmp_path, "a") is None
    assert found(tmp_path, "a", Stamp(7, 8)) == newer


def test_without_an_index_nothing_is_known_and_none_is_made(tmp_path: Path) -> None:
    with CropIndex.open(tmp_path) as index:
        assert index.find("a", CROP) is None
        index.add("a", ENTRY)
    assert list(tmp_path.iterdir()) == []


def test_who_only_reads_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path, ["a"])
    before = (tmp_path / FILENAME).read_bytes()
    with CropIndex.open(tmp_path) as index:
        index.add("b", ENTRY)
    assert found(tmp_path, "b") is None
    assert (tmp_path / FILENAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILENAME]


@pytest.mark.parametrize("kind", ["text", "other", "version", "torn", "table"])
def test_a_damaged_index_is_begun_anew_by_who_fills_and_left_by_who_reads(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / FILENAME
    fill(tmp_path, [f"{number:04}" for number in range(600)])
    if kind == "text":
        path.write_bytes(b"no database " * 100)
    elif kind == "torn":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        path.unlink()
        with sqlite3.connect(path) as database:
            if kind == "version":
                database.execute("PRAGMA user_version = 99")
            database.execute("CREATE TABLE crops (name)")
            if kind == "table":
                database.execute("PRAGMA user_version = 1")
        database.close()
    assert found(tmp_path, "0000") is None
    assert f"{path} cannot be used, so crops are opened one by one" in caplog.text
    fill(tmp_path, ["a"])
    if kind != "other":
        assert found(tmp_path, "a") == ENTRY


def test_damage_within_ends_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / FILENAME
    fill(tmp_path, [f"{number:04}" for number in range(600)])
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)
    with CropIndex.open(tmp_path, writable=True) as index:
        for number in range(600):
            index.find(f"{number:04}", CROP)
            index.add(f"{number:04}", ENTRY)
    assert "cannot be used" in caplog.text or found(tmp_path, "0000") == ENTRY


def test_a_disk_that_is_full_ends_the_run(tmp_path: Path) -> None:
    with CropIndex.open(tmp_path, writable=True) as index:
        assert index._database
        index._database.execute("PRAGMA max_page_count = 1")
        for number in range(100):
            index.add(f"{number}.jpg", ENTRY)
        with pytest.raises(StorageError, match=r"\.sqlite: database or disk is full$"):
            index.flush()
    assert found(tmp_path, "0.jpg") is None


def test_rows_that_are_damaged_do_not_count(tmp_path: Path) -> None:
    fill(tmp_path, ["x"])
    with sqlite3.connect(tmp_path / FILENAME) as database:
        for key, record in (
            (b"a", 1 << 40),
            (b"b", "text"),
            (b"c", None),
            (b"d", 0.5),
        ):
            database.execute(
                "INSERT INTO crops VALUES (?, ?, ?, ?, 'x', NULL, 7)",
                (key, CROP.size, CROP.modified, record),
            )
    database.close()
    for name in "abcd":
        assert found(tmp_path, name) is None


def test_a_link_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / FILENAME).symlink_to(victim)
    fill(tmp_path / "crops", ["a"])
    assert victim.read_bytes() == b""
    assert "it is a link" in caplog.text


def test_an_index_that_is_gone_is_noticed(tmp_path: Path) -> None:
    with CropIndex.open(tmp_path, writable=True) as index:
        assert not index.is_lost
        (tmp_path / FILENAME).unlink()
        assert index.is_lost


def _fill_many(folder: Path, first: int) -> None:
    fill(folder, [str(number) for number in range(first, first + 2000)])


def test_several_runs_add_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    runs = [
        context.Process(target=_fill_many, args=(tmp_path, first))
        for first in (0, 2000, 4000)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
        assert run.exitcode == 0
    with CropIndex.open(tmp_path) as index:
        assert all(index.find(str(number), CROP) == ENTRY for number in range(6000))


def test_the_record_is_kept_as_it_stands_in_the_crop(tmp_path: Path) -> None:
    fill(tmp_path, ["a"])
    database = sqlite3.connect(tmp_path / FILENAME)
    ((record,),) = database.execute("SELECT record FROM crops").fetchall()
    database.close()
    assert record == crop_record.encode(RECORD)
