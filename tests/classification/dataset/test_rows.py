from __future__ import annotations

import pytest

from classification.artifacts.queried_images import QueriedBox, QueriedImage
from classification.dataset import rows
from classification.runtime.errors import ArtifactError
from detection.boxes import Box

IMAGE = QueriedImage(dataset="d", dataset_label="elk", labels=("deer",))
CROPS = {"d/a.jpg___crop03_mdv4.1.jpg", "d/a.jpg___crop00.jpg"}


def take(image: QueriedImage, found: list[rows.Box] | None) -> rows.Taken:
    return rows.take("d/a.jpg", image, found, suffix="mdv4.1", crops=CROPS)


def test_a_crop_that_is_there_is_a_row() -> None:
    taken = take(IMAGE, [(1, 0.9), (3, 0.85)])
    assert taken.rows == (
        ("d/a.jpg___crop03_mdv4.1.jpg", "d", "unknown_location", "elk", 0.85, "deer"),
    )
    assert taken.left_out == (("d/a.jpg___crop01_mdv4.1.jpg", rows.NO_CROP),)


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


def test_why_an_image_gives_nothing() -> None:
    assert take(IMAGE, None).left_out == (("d/a.jpg", rows.NOT_DETECTED),)
    assert take(IMAGE, []).left_out == (("d/a.jpg", rows.NOT_CONFIDENT),)


def test_a_label_with_a_comma_is_refused() -> None:
    image = QueriedImage(dataset="d", dataset_label="elk", labels=("a,b",))
    with pytest.raises(ArtifactError, match="a comma stands between two labels"):
        take(image, [(3, 0.9)])


def test_a_row_loses_labels() -> None:
    (row,) = take(IMAGE, [(3, 0.9)]).rows
    assert rows.without_labels(row, {"deer"}) is None
    two = row._replace(label="deer,elk")
    kept = rows.without_labels(two, {"deer"})
    assert kept is not None
    assert kept.label == "elk"
