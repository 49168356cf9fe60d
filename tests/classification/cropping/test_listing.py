"""Which crops there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.cropping.listing import NameList, crops_of, images_below
from classification.runtime.errors import ArtifactError, StorageError
from detection.boxes import Box
from detection.records import Detection, ImageDetections

if TYPE_CHECKING:
    from pathlib import Path


def _image(file: str, boxes: int) -> ImageDetections:
    box = Detection(category="1", bbox=Box(0.1, 0.1, 0.2, 0.2), conf=0.5)
    return ImageDetections(file=file, detections=(box,) * boxes)


def test_crops_of_all_boxes_in_order() -> None:
    existing = {
        "b.jpg___crop01_md.jpg",
        "b.jpg___crop100_md.jpg",
        "a.jpg___crop00_md.jpg",
    }
    images = [_image("b.jpg", 101), ImageDetections(file="c.jpg"), _image("a.jpg", 1)]
    found = list(crops_of(images, ["md"], existing.__contains__))
    assert found == [
        "b.jpg___crop01_md.jpg",
        "b.jpg___crop100_md.jpg",
        "a.jpg___crop00_md.jpg",
    ]


def test_d32_historic_spellings_are_found() -> None:
    existing = {
        "a.jpg___crop00_md_v4.jpg",
        "a.jpg___crop00_mdv4.1.jpg",
        "a.jpg___crop01_mdv4.1.jpg",
        "a.jpg___crop02.jpg",
    }
    found = crops_of(
        [_image("a.jpg", 4)], ["md_v4", "mdv4.1", ""], existing.__contains__
    )
    assert list(found) == [
        "a.jpg___crop00_md_v4.jpg",
        "a.jpg___crop01_mdv4.1.jpg",
        "a.jpg___crop02.jpg",
    ]


@pytest.mark.parametrize("name", ["/a.jpg", "../a.jpg", "a\\b.jpg"])
def test_names_stay_below_the_folder(name: str) -> None:
    with pytest.raises(ArtifactError, match=r"^images\[1\]\.file: "):
        list(crops_of([_image("a.jpg", 1), _image(name, 1)], ["md"], lambda _: True))


def test_images_below(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/z.JPG", "a/b/c.png", "a.jpg", "a-b/x.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = list(images_below(tmp_path))
    assert names == ["a-b/x.jpg", "a.jpg", "a/b/c.png", "a/z.JPG", "b.jpg"]
    assert names == sorted(names)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=r"^cannot list .*: No such file or directory"
    ):
        list(images_below(tmp_path / "x"))


@given(st.lists(st.text()), st.integers(1, 5), st.integers(0, 3))
def test_a_list_gives_back_its_names(names: list[str], size: int, start: int) -> None:
    with NameList.collect(names) as kept:
        assert kept.count == len(names)
        batches = list(kept.batches(size, start=start))
        assert [name for batch in batches for name in batch] == names[start * size :]
        assert all(len(batch) == size for batch in batches[:-1])
        assert list(kept.batches(size, start=start)) == batches


def test_other_names_have_another_digest() -> None:
    with NameList.collect(["a", "b"]) as one, NameList.collect(["ab"]) as other:
        assert one.sha256 != other.sha256


def test_a_part_is_some_of_the_names_under_the_digest_of_all() -> None:
    with NameList.collect("abcdefg") as names:
        part = names.part(range(2, 7))
        assert (part.count, part.sha256) == (5, names.sha256)
        assert list(part.batches(2)) == [["c", "d"], ["e", "f"], ["g"]]
        assert list(part.batches(2, start=1)) == [["e", "f"], ["g"]]
        assert list(names.part(range(2, 4)).batches(3)) == [["c", "d"]]
        assert list(names.part(range(7, 7)).batches(2)) == []
