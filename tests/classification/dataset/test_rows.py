from __future__ import annotations

import pytest
from msgspec.structs import replace

from classification.artifacts.left_out import LeftOut
from classification.artifacts.queried_images import QueriedBox, QueriedImage
from classification.dataset import rows
from classification.runtime.errors import ArtifactError
from detection.boxes import Box

IMAGE = QueriedImage(dataset="d", dataset_label="elk", labels=("deer",))
BOX = Box(0, 0, 1, 1)
CROPS = {"d/a.jpg___crop03_mdv4.1.jpg", "d/a.jpg___crop00.jpg"}


def take(
    image: QueriedImage, found: tuple[rows.FoundBox, ...] | str | None
) -> rows.Taken:
    return rows.take("d/a.jpg", image, found, suffix="mdv4.1", misfit=misfit)


def misfit(crop: str, box: Box, drawn: bool) -> str | None:
    assert drawn == ("mdv" not in crop)
    if box != BOX:
        return "cut from another box"
    return "" if crop in CROPS else None


def test_a_crop_that_is_there_is_a_row() -> None:
    taken = take(IMAGE, ((1, 0.9, BOX), (3, 0.85, BOX)))
    assert taken.rows == (
        ("d/a.jpg___crop03_mdv4.1.jpg", "d", "unknown_location", "elk", 0.85, "deer"),
    )
    assert taken.left_out == (("crop", "d/a.jpg___crop01_mdv4.1.jpg", rows.NO_CROP),)


def test_a_crop_of_another_box_is_left_out_with_the_reason() -> None:
    taken = take(IMAGE, ((3, 0.85, Box(0, 0, 0.5, 0.5)),))
    reason = "the crop is cut from another box"
    assert taken == rows.Taken(
        left_out=(LeftOut("crop", "d/a.jpg___crop03_mdv4.1.jpg", reason),)
    )
    assert reason.startswith(rows.OTHER_CROP)


def test_drawn_boxes_are_sure_and_need_no_detector() -> None:
    box = QueriedBox("animal", Box(0, 0, 1, 1))
    image = QueriedImage(
        dataset="d", dataset_label="elk", labels=("deer",), boxes=(box,), location="7"
    )
    (row,) = take(image, None).rows
    assert (row.path, row.confidence, row.location) == (
        "d/a.jpg___crop00.jpg",
        1.0,
        "7",
    )


@pytest.mark.parametrize(
    ("image", "found", "reason"),
    [
        (IMAGE, None, rows.NOT_DETECTED),
        (IMAGE, (), rows.NOT_CONFIDENT),
        (IMAGE, "truncated", "the detector failed: truncated"),
        (replace(IMAGE, boxes=()), ((3, 0.9, BOX),), rows.NOT_DRAWN),
        (replace(IMAGE, labels=()), ((3, 0.9, BOX),), rows.NO_LABEL),
    ],
)
def test_d40_why_an_image_gives_nothing(
    image: QueriedImage, found: tuple[rows.FoundBox, ...] | str | None, reason: str
) -> None:
    taken = take(image, found)
    assert taken == rows.Taken(left_out=(LeftOut("image", "d/a.jpg", reason),))


def test_reasons_are_counted_without_what_is_particular() -> None:
    (item,) = take(IMAGE, "truncated: 3 bytes").left_out
    assert rows.kind_of(item) == rows.DETECTOR_FAILED
    assert rows.kind_of(LeftOut("crop", "a: b", rows.NO_CROP)) == rows.NO_CROP


@pytest.mark.parametrize("labels", [("a,b",), ("",), ("a", "")])
def test_a_label_that_no_cell_can_hold_is_refused(labels: tuple[str, ...]) -> None:
    image = replace(IMAGE, labels=labels)
    with pytest.raises(ArtifactError, match=r"^d/a\.jpg\.label: the label '.*': "):
        take(image, ((3, 0.9, BOX),))


def test_labels_at_few_locations() -> None:
    (row,) = take(IMAGE, ((3, 0.9, BOX),)).rows
    found = [
        row,
        row._replace(location="2", label="deer,elk"),
        row._replace(dataset="e", label="elk"),  # another dataset's location
    ]
    assert rows.rare_labels(found, 2) == set()
    assert rows.rare_labels([*found, row._replace(label="cat")], 2) == {"cat"}
    assert rows.rare_labels([row, row], 2) == {"deer"}


def test_a_row_loses_labels() -> None:
    (row,) = take(IMAGE, ((3, 0.9, BOX),)).rows
    assert rows.without_labels(row, {"deer"}) is None
    two = row._replace(label="deer,elk")
    kept = rows.without_labels(two, {"deer"})
    assert kept is not None
    assert kept.label == "elk"
    assert rows.left_out(row, "why") == ("crop", row.path, "why")
