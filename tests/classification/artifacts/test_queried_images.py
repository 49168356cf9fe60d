from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.artifacts import queried_images
from classification.artifacts.queried_images import QueriedBox, QueriedImage
from classification.runtime.errors import ArtifactError
from detection.boxes import Box

if TYPE_CHECKING:
    from pathlib import Path

ONE = {
    "dataset": "ds",
    "location": "13",
    "class": "puma",
    "bbox": [{"category": "group", "bbox": [0.1, 0.2, 0.3, 0.4]}],
    "label": ["cat"],
}


def test_an_image_is_read_as_values(tmp_path: Path) -> None:
    path = tmp_path / "queried_images.json"
    path.write_text(json.dumps({"ds/a/b.jpg": ONE}))
    assert queried_images.read(path) == {
        "ds/a/b.jpg": QueriedImage(
            dataset="ds",
            dataset_label="puma",
            labels=("cat",),
            location="13",
            boxes=(QueriedBox("group", Box(0.1, 0.2, 0.3, 0.4)),),
        )
    }


def test_no_boxes_is_not_the_same_as_an_unasked_person() -> None:
    asked = queried_images.from_dict({"ds/a.jpg": {**ONE, "bbox": []}})
    bare = {key: value for key, value in ONE.items() if key != "bbox"}
    assert asked["ds/a.jpg"].boxes == ()
    assert queried_images.from_dict({"ds/a.jpg": bare})["ds/a.jpg"].boxes is None


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("a", "a"),
        (13, "13"),
        ({"y": 1, "x": "\u00e9"}, '{"x": "\u00e9", "y": 1}'),
        (None, None),
    ],
)
def test_a_location_is_text(location: object, text: str | None) -> None:
    images = queried_images.from_dict({"ds/a.jpg": {**ONE, "location": location}})
    assert images["ds/a.jpg"].location == text


NUMBERS = st.lists(st.floats(0, 1), min_size=4, max_size=4)
BOXES = st.builds(
    QueriedBox,
    st.sampled_from(["animal", "group"]),
    NUMBERS.map(lambda four: Box(*four)),
)
IMAGES = st.builds(
    QueriedImage,
    dataset=st.just("ds"),
    dataset_label=st.text(),
    labels=st.lists(st.text()).map(tuple),
    location=st.none() | st.text(),
    boxes=st.none() | st.lists(BOXES, max_size=3).map(tuple),
)


@settings(max_examples=40)
@given(
    images=st.dictionaries(st.integers(0, 99).map(lambda n: f"ds/{n}.jpg"), IMAGES),
    indent=st.sampled_from([None, 1]),
)
def test_what_is_written_is_read_back(
    tmp_path: Path, images: dict[str, QueriedImage], indent: int | None
) -> None:
    path = tmp_path / "queried_images.json"
    queried_images.write(path, images, indent=indent)
    assert queried_images.read(path) == images
    assert list(queried_images.read(path)) == sorted(images)


def test_keys_have_their_order(tmp_path: Path) -> None:
    path = tmp_path / "queried_images.json"
    shuffled = dict(reversed(ONE.items()))
    queried_images.write(path, queried_images.from_dict({"ds/a.jpg": shuffled}))
    assert path.read_text() == json.dumps({"ds/a.jpg": ONE}) + "\n"


BOX_RULE = "a list of {category, bbox: 4 numbers in [0, 1]} expected"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("ds/../a.jpg", {}, "ds/../a.jpg: 'ds/../a.jpg' leaves its folder"),
        ("x/a.jpg", {}, "x/a.jpg: the name does not begin with its dataset, 'ds'"),
        (
            "ds/x/a.jpg",
            {"dataset": "ds/x"},
            "ds/x/a.jpg: the name does not begin with its dataset, 'ds/x'",
        ),
        (
            "ds/a.jpg",
            {"dataset": 3},
            "ds/a.jpg.dataset: the name of a dataset expected",
        ),
        ("ds/a.jpg", {"location": 1.5}, "ds/a.jpg.location: a name expected"),
        ("ds/a.jpg", {"location": True}, "ds/a.jpg.location: a name expected"),
        (
            "ds/a.jpg",
            {"class": None},
            "ds/a.jpg.class: what the dataset calls the animal, a string, expected",
        ),
        ("ds/a.jpg", {"label": "cat"}, "ds/a.jpg.label: a list of labels expected"),
        ("ds/a.jpg", {"bbox": [3]}, f"ds/a.jpg.bbox: {BOX_RULE}"),
        (
            "ds/a.jpg",
            {"bbox": [{"category": "animal", "bbox": [0, 0, 2, 1]}]},
            f"ds/a.jpg.bbox: {BOX_RULE}",
        ),
        (
            "ds/a.jpg",
            {"bbox": [{"category": " ", "bbox": [0, 0, 1, 1]}]},
            "ds/a.jpg.bbox[0].category: a name expected",
        ),
    ],
)
def test_what_breaks_the_format_is_refused_with_its_address(
    name: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError) as refused:
        queried_images.from_dict({name: {**ONE, **change}})
    assert str(refused.value) == message


@pytest.mark.parametrize("key", ["dataset", "class", "label"])
def test_a_missing_key_is_named(key: str) -> None:
    image = {name: value for name, value in ONE.items() if name != key}
    with pytest.raises(ArtifactError) as refused:
        queried_images.from_dict({"ds/a.jpg": image})
    assert refused.value.where == f"ds/a.jpg.{key}"


def test_an_image_that_is_no_object_is_refused() -> None:
    with pytest.raises(ArtifactError) as refused:
        queried_images.from_dict({"ds/a.jpg": []})
    assert str(refused.value) == "ds/a.jpg: an object expected"
