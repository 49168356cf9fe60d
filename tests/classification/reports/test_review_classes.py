"""What datasets call what the classifier calls by its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import dataset_csv
from classification.artifacts.dataset_csv import CropRow
from classification.reports import review_classes
from classification.reports.review_page import Sighting, Subject

if TYPE_CHECKING:
    from pathlib import Path

ROWS = (
    CropRow("a/1.jpg___crop00.jpg", "a", "13", "elk", 1.0, "cervid"),
    CropRow("a/1.jpg___crop01.jpg", "a", "13", "crow", 1.0, "bird"),
    CropRow("a/2.jpg___crop00.jpg", "a", "14", "moose", 1.0, "cervid,large"),
    CropRow("b/1.jpg___crop00.jpg", "b", "x", "deer", 1.0, "cervid"),
)


def subject(image: str, predicted: str) -> Subject:
    return Subject(
        image=image,
        dataset=image[0],
        label="cat",
        sightings=(Sighting(name=image, predicted=predicted),),
        suggestion=predicted,
    )


def test_each_dataset_has_its_own_classes(tmp_path: Path) -> None:
    path = tmp_path / dataset_csv.FILENAME
    dataset_csv.write(path, ROWS)
    classes = review_classes.read(path, {"a/1.jpg"})
    assert classes.by_dataset == {"a": ("crow", "elk", "moose"), "b": ("deer",)}
    assert classes.by_label["a", "cervid"] == ("elk", "moose")
    assert classes.of_image == {"a/1.jpg": ("crow, elk", "13")}


def test_a_label_of_one_class_suggests_it() -> None:
    classes = review_classes.gather(ROWS, {"a/1.jpg", "b/1.jpg"})
    told = [
        review_classes.told(subject(image, predicted), classes)
        for image, predicted in (
            ("b/1.jpg", "cervid"),
            ("a/1.jpg", "cervid"),
            ("b/1.jpg", "bird"),
            ("c/1.jpg", "cervid"),
        )
    ]
    assert [one.suggestion for one in told] == ["deer", "", "", ""]
    assert (told[0].dataset_class, told[0].location) == ("deer", "x")
    assert (told[3].dataset_class, told[3].location) == ("", "")
