"""Which crops there are."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts.predictions_info import digest_box
from classification.cropping.listing import (
    CropList,
    ListedCrop,
    crops_of,
    images_below,
    suffixes_below,
)
from classification.cropping.wanted import Source
from classification.runtime.contents import Contents
from classification.runtime.errors import ArtifactError, StorageError
from detection.boxes import Box
from detection.records import Detection, ImageDetections
from tests.disk import largest_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path


BOX = Box(0.1, 0.1, 0.2, 0.2)


def _image(file: str, boxes: int) -> ImageDetections:
    box = Detection(category="1", bbox=BOX, conf=0.5)
    return ImageDetections(file=file, detections=(box,) * boxes)


def _crops_of(
    images: Sequence[ImageDetections],
    suffixes: Sequence[str],
    existing: Collection[str],
    others: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    passed_over: dict[str, str] = {}
    found = crops_of(
        ((image, None) for image in images),
        suffixes,
        lambda name, _: others.get(name, "" if name in existing else None),
        passed_over.__setitem__,
    )
    names = [crop.name for crop in found]
    assert passed_over.items() <= others.items()
    assert len(passed_over) == len(others)
    return names


def test_a_crop_of_another_box_is_passed_over_unless_another_spelling_is_right() -> (
    None
):
    right = {"a.jpg___crop00_mdv4.1.jpg", "a.jpg___crop02_md_v4.jpg"}
    other = {"a.jpg___crop01_md_v4.jpg": "why", "a.jpg___crop01.jpg": "why not"}
    suffixes = ["md_v4", "mdv4.1", ""]
    assert _crops_of([_image("a.jpg", 3)], suffixes, right, other) == sorted(right)
    seen: list[str] = []
    both = {"a.jpg___crop00_md_v4.jpg": "why"}
    found = crops_of(
        [(_image("a.jpg", 1), None)],
        suffixes,
        lambda name, _: both.get(name, "" if name in right else None),
        lambda name, _: seen.append(name),
    )
    (crop,) = found
    assert crop == ("a.jpg___crop00_mdv4.1.jpg", digest_box(BOX).hex())
    assert seen == []


def test_what_a_crop_has_to_be_cut_from_is_asked_of_each() -> None:
    asked: list[Source] = []
    drawn = ImageDetections("b.jpg", _image("", 1).detections, is_ground_truth=True)
    images = [
        (_image("a.jpg", 1), Contents("digest of a", None)),
        (drawn, None),
    ]
    list(
        crops_of(
            images,
            [""],
            lambda _, source: asked.append(source),
            print,
            detector_digest="digest of d",
        )
    )
    box = Box(0.1, 0.1, 0.2, 0.2)
    assert asked == [
        Source("a.jpg", box, False, "digest of a", "digest of d"),
        Source("b.jpg", box, True, None, None),
    ]


def test_the_ends_of_crops_below_a_folder(tmp_path: Path) -> None:
    names = ("a.jpg___crop00_x.jpg", "b/a.jpg___crop01.jpg", "c.jpg", "a___cropx_y.jpg")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert suffixes_below(tmp_path) == {"x", ""}


def test_crops_of_all_boxes_in_order() -> None:
    existing = {
        "b.jpg___crop01_md.jpg",
        "b.jpg___crop100_md.jpg",
        "a.jpg___crop00_md.jpg",
    }
    images = [_image("b.jpg", 101), ImageDetections(file="c.jpg"), _image("a.jpg", 1)]
    found = list(_crops_of(images, ["md"], existing))
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
    found = _crops_of([_image("a.jpg", 4)], ["md_v4", "mdv4.1", ""], existing)
    assert found == [
        "a.jpg___crop00_md_v4.jpg",
        "a.jpg___crop01_mdv4.1.jpg",
        "a.jpg___crop02.jpg",
    ]


@pytest.mark.parametrize("name", ["/a.jpg", "../a.jpg", "a\\b.jpg"])
def test_names_stay_below_the_folder(name: str) -> None:
    with pytest.raises(ArtifactError, match=r"^images\[1\]\.file: "):
        _crops_of([_image("a.jpg", 1), _image(name, 1)], ["md"], ())


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


def listed(names: Iterable[str]) -> list[ListedCrop]:
    return [ListedCrop(name, "ab" * place) for place, name in enumerate(names)]


@given(st.lists(st.text()), st.integers(1, 5))
def test_a_list_gives_back_its_crops(names: list[str], size: int) -> None:
    with CropList.collect(listed(names)) as kept:
        assert kept.count == len(names)
        batches = list(kept.batches(size))
        assert [crop for batch in batches for crop in batch] == listed(names)
        assert all(len(batch) == size for batch in batches[:-1])
        assert list(kept.batches(size)) == batches


def test_other_names_have_another_digest_and_other_boxes_the_same() -> None:
    lists = (listed("ab"), listed(["ab"]), map(ListedCrop, "ab"))
    digests = []
    for crops in lists:
        with CropList.collect(crops) as kept:
            digests.append(kept.sha256)
    assert digests[0] == digests[2] != digests[1]


def test_a_part_is_some_of_the_names_under_the_digest_of_all() -> None:
    crops = listed("abcdefg")
    with CropList.collect(crops) as kept:
        part = kept.part(range(2, 7))
        assert (part.count, part.sha256) == (5, kept.sha256)
        assert list(part.batches(2)) == [crops[2:4], crops[4:6], crops[6:]]
        assert list(kept.part(range(2, 4)).batches(3)) == [crops[2:4]]
        assert list(kept.part(range(7, 7)).batches(2)) == []


def test_no_room_for_the_list_is_one_line() -> None:
    with largest_file(10), pytest.raises(StorageError, match=r"\(see TMPDIR\)$"):
        CropList.collect([ListedCrop("a.jpg")] * 10)
