from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.cropping import existing
from classification.cropping.existing import ExistingCrops, list_names
from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from classification.runtime.name_set import NameSet


@pytest.mark.parametrize("asked_first", [0, 3, 1000])
def test_d49_a_listing_answers_as_the_disk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_first: int
) -> None:
    monkeypatch.setattr(existing, "_ASK_FIRST", asked_first)
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for number in range(0, 40, 2):
        (folder / f"{number}.jpg").touch()
    (tmp_path / "root.jpg").touch()
    crops = ExistingCrops(tmp_path)
    for number in range(40):
        assert (f"a/b/{number}.jpg" in crops) is (number % 2 == 0)
        assert f"missing/{number}.jpg" not in crops
        assert "root.jpg" in crops
        assert "a.jpg" not in crops


def test_a_folder_is_asked_only_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(existing, "_ASK_FIRST", 2)
    crops = ExistingCrops(tmp_path)
    assert [f"{number}.jpg" in crops for number in range(4)] == [False] * 4
    (tmp_path / "4.jpg").touch()
    assert "4.jpg" not in crops  # made after the listing


def test_only_some_listings_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(existing, "_ASK_FIRST", 0)
    monkeypatch.setattr(existing, "_FOLDERS_KEPT", 2)
    crops = ExistingCrops(tmp_path)
    for folder in ("a", "b", "c", "a"):
        assert f"{folder}/x.jpg" not in crops
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.jpg").touch()
    assert "b/x.jpg" in crops  # listed again
    assert len(crops._folder_by_name) == 2


def test_d49_each_folder_is_listed_once_in_whatever_order_crops_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    monkeypatch.setattr(existing, "_ASK_FIRST", 2)
    monkeypatch.setattr(existing, "_FOLDERS_KEPT", 2)

    def list_and_note(folder: str) -> NameSet:
        listed.append(folder)
        return list_names(folder)

    monkeypatch.setattr(existing, "list_names", list_and_note)
    crops = ExistingCrops(tmp_path, folders_kept=10)
    for number in range(5):
        for folder in "abcdefgh":
            assert f"{folder}/{number}.jpg" not in crops
    assert listed == [str(tmp_path / folder) for folder in "abcdefgh"]


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert len(list_names(str(tmp_path / "missing"))) == 0
    (tmp_path / "file").touch()
    assert len(list_names(str(tmp_path / "file"))) == 0


def test_a_folder_that_cannot_be_listed_ends_the_run(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 300)
    with pytest.raises(StorageError) as caught:
        list_names(str(folder))
    assert str(caught.value) == f"cannot list {folder}: File name too long"


def test_d10_an_error_is_not_taken_for_an_absence(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StorageError, match=r"cannot look for .*/loop/1\.jpg: "):
        _ = "loop/1.jpg" in ExistingCrops(tmp_path)


@pytest.mark.parametrize("asked_first", [0, 100])
def test_a_folder_that_vanishes_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_first: int
) -> None:
    monkeypatch.setattr(existing, "_ASK_FIRST", asked_first)
    root = tmp_path / "crops"
    assert "a/1.jpg" not in ExistingCrops(root)  # it never was there
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.jpg").touch()
    crops = ExistingCrops(root)
    assert "b/1.jpg" not in crops
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"crops vanished in the middle"):
        _ = "a/1.jpg" in crops
