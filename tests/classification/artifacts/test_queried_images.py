from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import msgspec
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


@settings(max_examples=40)
@given(
    images=st.dictionaries(st.integers(0, 99).map(lambda n: f"ds/{n}.jpg"), IMAGES),
    indent=st.sampled_from([None, 0, 1, 4]),
    chunk_bytes=st.integers(1, 300),
)
def test_the_text_is_what_json_writes_and_its_blocks_hold_what_it_says(
    tmp_path: Path,
    images: dict[str, QueriedImage],
    indent: int | None,
    chunk_bytes: int,
) -> None:
    path = tmp_path / "queried_images.json"
    count = queried_images.write(path, images, indent=indent)
    text = path.read_text()
    document = {name: to_document(images[name]) for name in sorted(images)}
    assert text == json.dumps(document, indent=indent, ensure_ascii=False) + "\n"
    file = queried_images.open_file(path, chunk_bytes=chunk_bytes)
    assert count == file.image_count == len(images)
    assert list(file.images()) == sorted(images.items())
    assert list(file.images()) == list(file.images())


def to_document(image: QueriedImage) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(image)
    optional = {"location": None, "bbox": None}
    kept = {k: v for k, v in document.items() if k not in optional or v is not None}
    order = ["dataset", "location", "class", "bbox", "label"]
    return {key: kept[key] for key in order if key in kept}


def test_the_order_of_the_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "queried_images.json"
    names = ["ds/b.jpg", "ds/a.jpg"]
    path.write_text(json.dumps(dict.fromkeys(names, ONE)))
    assert [name for name, _ in queried_images.open_file(path).images()] == names


def test_d9_locations_that_are_no_text_are_streamed_as_their_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queried_images.json"
    locations: list[object] = [13, "13", None, {"x": 1}]
    images = {f"ds/{n}.jpg": {**ONE, "location": x} for n, x in enumerate(locations)}
    path.write_text(json.dumps(images))
    read = [image.location for _, image in queried_images.open_file(path).images()]
    assert read == ["13", "13", None, '{"x": 1}']


def test_a_stream_is_written_as_it_comes_if_it_is_sorted(tmp_path: Path) -> None:
    path = tmp_path / "queried_images.json"
    image = queried_images.from_dict({"ds/a.jpg": ONE})["ds/a.jpg"]
    assert queried_images.write(path, iter([("ds/a.jpg", image)])) == 1
    before = path.read_bytes()
    for names in (["ds/b.jpg", "ds/a.jpg"], ["ds/a.jpg", "ds/a.jpg"]):
        with pytest.raises(ValueError, match=r"'ds/a\.jpg' comes after"):
            queried_images.write(path, ((name, image) for name in names))
    assert path.read_bytes() == before


def test_a_box_of_no_finite_number_is_not_written(tmp_path: Path) -> None:
    box = QueriedBox("animal", Box(0.1, math.nan, 0.3, 0.4))
    image = QueriedImage("ds", "puma", ("cat",), boxes=(box,))
    with pytest.raises(ValueError, match="holds no finite number"):
        queried_images.write(tmp_path / "x.json", {"ds/a.jpg": image})


def test_a_name_that_is_no_text_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "queried_images.json"
    image = queried_images.from_dict({"ds/a.jpg": ONE})["ds/a.jpg"]
    queried_images.write(path, {"ds/\udcff.jpg": image})
    assert b"ds/\\udcff.jpg" in path.read_bytes()


@pytest.mark.parametrize("chunk_bytes", [8, 1 << 18])
@pytest.mark.parametrize(
    "names",
    [
        ["ds/a.jpg", "ds/a.jpg"],
        ["ds/a.jpg", "ds/b.jpg", "ds/c.jpg", "ds/a.jpg"],
        ["ds/a.jpg", "ds/\\u0061.jpg"],
    ],
)
def test_a_name_that_stands_twice_is_refused(
    names: list[str], chunk_bytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "queried_images.json"
    text = json.dumps(ONE)
    path.write_text("{" + ", ".join(f'"{name}": {text}' for name in names) + "}")
    with pytest.raises(ArtifactError) as refused:
        queried_images.open_file(path, chunk_bytes=chunk_bytes)
    assert str(refused.value) == f"{path}: ds/a.jpg: key appears twice"


def test_a_name_that_stands_twice_cannot_hide_behind_an_escaped_key(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queried_images.json"
    hidden = json.dumps(ONE).replace('"dataset"', '"\\u0064ataset"')
    path.write_text(f'{{"ds/a.jpg": {json.dumps(ONE)}, "ds/a.jpg": {hidden}}}')
    with pytest.raises(ArtifactError, match="key appears twice"):
        queried_images.open_file(path)


def test_a_dataset_called_dataset_is_no_repetition(tmp_path: Path) -> None:
    path = tmp_path / "queried_images.json"
    path.write_text(json.dumps({"dataset/a.jpg": {**ONE, "dataset": "dataset"}}))
    assert queried_images.open_file(path).image_count == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: the file ends early; an object expected"),
        ("[1]", "not JSON: an object expected (byte 0)"),
        ('{"ds/a.jpg"', "ds/a.jpg: not JSON: the file ends early"),
        ('{"ds/a.jpg": {', "ds/a.jpg: not JSON: the file ends early"),
        ('{"ds/a', "not JSON: the file ends early"),
        ('{"ds/a.jpg": {}', "ds/a.jpg: not JSON: the file ends early"),
        ('{"ds/a.jpg": {}}', "ds/a.jpg.dataset: the name of a dataset expected"),
        ('{"ds/a.jpg": 3}', "ds/a.jpg: an object expected"),
        (
            '{"ds/a.jpg": {"dataset": NaN}}',
            ("ds/a.jpg: not JSON: JSON is malformed: invalid character (byte 25)"),
        ),
        (
            '{"ds/a.jpg": ' + json.dumps(ONE) + "]",
            "not JSON: a comma or the object's end expected (byte 146)",
        ),
        ("{} x", "not JSON: nothing more expected (byte 3)"),
        ("{,}", "not JSON"),
    ],
)
def test_a_broken_file_is_refused_with_its_address(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "queried_images.json"
    path.write_text(text)
    with pytest.raises(ArtifactError) as refused:
        queried_images.open_file(path)
    assert str(refused.value) == f"{path}: {message}"


def test_a_file_that_changes_between_two_looks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queried_images.json"
    path.write_text(json.dumps({"ds/a.jpg": ONE}))
    file = queried_images.open_file(path)
    path.write_text("{}")
    with pytest.raises(ArtifactError) as refused:
        list(file.images())
    assert str(refused.value) == f"{path}: it was changed while it was read"


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


def test_names_that_a_disk_may_take_for_one_are_told(tmp_path: Path) -> None:
    path = tmp_path / queried_images.FILENAME
    names = ["d/a.jpg", "d/b.jpg", "d/A.jpg"]
    queried_images.write(path, {n: QueriedImage("d", "elk", ("deer",)) for n in names})
    assert queried_images.open_file(path).alike() == {"d/a.jpg": "d/A.jpg"}
