from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts.layout import CropName
from classification.storage.crop_table import ClassifiedCrop, Found, open_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from classification.storage.crop_table import CropTable


def crop(
    row: int, image: str, box: int, suffix: str = "", label: str = ""
) -> ClassifiedCrop:
    return ClassifiedCrop(row, CropName(image, box, suffix), label, f"{row}".encode())


@pytest.fixture
def table() -> Iterator[CropTable]:
    with open_table() as opened:
        yield opened


def test_boxes_of_an_image_are_found_in_order(table: CropTable) -> None:
    table.add([crop(2, "a", 3), crop(3, "b", 0), crop(4, "a", 0)])
    assert table.find_repeated() is None
    assert table.of_images(["c", "a"]) == {"a": [Found(0, 4, b"4"), Found(3, 2, b"2")]}
    assert table.of_images([]) == {}
    assert len(table) == 3


def test_the_first_repetition_is_found(table: CropTable) -> None:
    table.add([crop(2, "a", 0), crop(3, "b", 0), crop(4, "b", 0, "x"), crop(5, "a", 0)])
    assert table.find_repeated() == (3, 4)


CROPS = st.lists(
    st.tuples(st.sampled_from("ab\u00e9\U0001f98a"), st.integers(0, 3)), unique=True
)


@given(crops=CROPS, names=st.sets(st.sampled_from("ab\u00e9\U0001f98a")))
def test_the_first_crop_of_another_image_is_found(
    crops: list[tuple[str, int]], names: set[str]
) -> None:
    with open_table() as table:
        rows = list(enumerate(crops))
        table.add(crop(row, image, box) for row, (image, box) in rows)
        others = [(image, row) for row, (image, _) in rows if image not in names]
        assert table.find_other(names) == next(iter(others), None)


@given(CROPS)
def test_images_are_sorted_as_python_sorts(crops: list[tuple[str, int]]) -> None:
    with open_table() as table:
        table.add(crop(row, image, box) for row, (image, box) in enumerate(crops))
        images = [image for image, _ in table.images(ground_truth=True)]
        assert images == sorted({image for image, _ in crops})
        assert not list(table.images(ground_truth=False))
        for image in reversed(images):
            table.keep_document(image, image.encode())
        assert [text.decode() for text in table.documents()] == images


def test_images_of_people_and_of_detectors_are_told_apart(table: CropTable) -> None:
    table.add([crop(2, "b", 0, "md"), crop(3, "a", 0), crop(4, "b", 1, "md")])
    assert list(table.images(ground_truth=True)) == [("a", 3)]
    assert list(table.images(ground_truth=False)) == [("b", 2)]
    assert table.find_mixed() is None
    table.add([crop(5, "b", 2)])
    assert table.find_mixed() == ("b", 5)


def test_an_image_without_document_is_found(table: CropTable) -> None:
    table.add([crop(2, "a", 0), crop(3, "b", 0), crop(4, "c", 0)])
    table.keep_document("a", b"")
    assert table.find_without_document() == ("b", 3)
    table.keep_document("b", b"")
    table.keep_document("c", b"")
    assert table.find_without_document() is None


@given(
    labels=st.lists(st.sampled_from("xyz"), max_size=30),
    per_label=st.integers(1, 5),
)
def test_a_sample_takes_so_many_of_each_label(
    labels: list[str], per_label: int
) -> None:
    crops = [
        crop(row, f"{row}.jpg", 0, label=label) for row, label in enumerate(labels)
    ]
    kept = []
    for rows in (crops, crops[::-1]):
        with open_table() as table:
            table.add(rows)
            table.sample(per_label, seed=3)
            kept.append([image for image, _ in table.images(ground_truth=True)])
    assert kept[0] == kept[1]
    label_by_image = {one.crop.image: one.label for one in crops}
    for label in set(labels):
        drawn = [image for image in kept[0] if label_by_image[image] == label]
        assert len(drawn) == min(per_label, labels.count(label))
