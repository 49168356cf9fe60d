from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.artifacts import detections
from classification.runtime.errors import ArtifactError
from detection.boxes import Box
from detection.records import Detection, ImageDetections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

CATEGORIES = {"1": "animal", "2": "person"}
BOX = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]}


def document(*images: Any, **keys: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {
        "info": {"format_version": "1.6", "detector": "md_v5a.0.0.pt"},
        "detection_categories": CATEGORIES,
        "images": list(images),
        **keys,
    }


def save(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def image(file: str = "a.jpg", **keys: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"file": file, "detections": [BOX], **keys}


def refusal(path: Path) -> str:
    """Returns what is said of the file, without its name."""
    said = set()
    for read in (detections.open_file, detections.read):
        with pytest.raises(ArtifactError) as refused:
            read(path)
        said.add(str(refused.value))
    (text,) = said
    name, separator, rest = text.partition(": ")
    assert (name, separator) == (str(path), ": ")
    assert "\n" not in text
    return rest


def test_an_image_is_read_as_values(tmp_path: Path) -> None:
    path = save(
        tmp_path / "d.json",
        document(
            image(max_detection_conf=0.9, width=640),
            {"file": "b.jpg", "detections": []},
            {"file": "c.jpg", "detections": None, "failure": "truncated"},
            {"file": "d.jpg", "failure": "Failure TF inference"},
            image("e.jpg", detections=[{**BOX, "conf": 1, "bbox": [0, 0, 1, 1]}]),
        ),
    )
    file = detections.open_file(path)
    first = Detection("1", Box(0.1, 0.2, 0.3, 0.4), 0.9)
    assert list(file.images()) == [
        ImageDetections("a.jpg", (first,)),
        ImageDetections("b.jpg", ()),
        ImageDetections("c.jpg", None, "truncated"),
        ImageDetections("d.jpg", None, "Failure TF inference"),
        ImageDetections("e.jpg", (Detection("1", Box(0.0, 0.0, 1.0, 1.0), 1.0),)),
    ]
    assert file.image_count == 5
    assert file.header.detector == "md_v5a.0.0.pt"


def test_a_stream_is_read_as_the_file_is(tmp_path: Path) -> None:
    content = document(image(), image("b.jpg", detections=None, failure="late"))
    path = save(tmp_path / "d.json", content)
    taken: list[ImageDetections] = []

    def take(images: Sequence[ImageDetections], first: int) -> None:
        assert first == len(taken)
        taken.extend(images)

    with path.open("rb") as file:
        header = detections.read_stream(file, take)
    assert (header, taken) == detections.read(path)


def test_documents_keep_every_key_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    text = b'{ "meta": 1.50, "detections": [],\n "file": "a.jpg"}'
    top = json.dumps(document()).encode()
    path.write_bytes(top.replace(b"[]", b"[" + text + b"]"))
    assert list(detections.open_file(path).documents()) == [text]


def test_images_may_come_before_the_categories_and_info(tmp_path: Path) -> None:
    """As MegaDetector writes them."""
    keys = ("images", "detection_categories", "info")
    content = document(image("a.jpg"), image("b.jpg"))
    path = save(tmp_path / "d.json", {key: content[key] for key in keys})
    file = detections.open_file(path)
    assert [one.file for one in file.images()] == ["a.jpg", "b.jpg"]
    assert file.header.info == content["info"]


def test_keys_that_no_one_knows_are_kept(tmp_path: Path) -> None:
    path = save(tmp_path / "d.json", document(summary=[{"file": "x"}, {"file": "y"}]))
    assert detections.open_file(path).header.other == {
        "summary": [{"file": "x"}, {"file": "y"}]
    }


def test_an_old_file_without_detector_or_version_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "d.json", document(info={"format_version": 1.0}))
    header = detections.open_file(path).header
    assert header.detector == "unknown"
    assert header.info == {"format_version": 1.0}


def test_images_go_by_another_name_where_one_is_given(tmp_path: Path) -> None:
    images = [image("x\\\\b.jpg", n=1.50), image("x/a.jpg"), image("x/c.jpg")]
    path = save(tmp_path / "d.json", document(*images))
    file = detections.open_file(path, rename=lambda name: name.replace("\\", "/"))
    names = ["x//b.jpg", "x/a.jpg", "x/c.jpg"]
    assert [one.file for one in file.images()] == names
    assert [detections.name_of(text) for text in file.documents()] == names
    assert b'"n":1.5' in next(iter(file.documents()))
    assert file.is_sorted


def test_images_without_another_name_are_left_out(tmp_path: Path) -> None:
    names = ["x/a.jpg", "y/b.jpg", "x/c.jpg", "y/../d.jpg"]
    path = save(tmp_path / "d.json", document(*map(image, names)))

    def rename(name: str) -> str | None:
        return name[2:] if name.startswith("x/") else None

    file = detections.open_file(path, rename=rename)
    assert (file.image_count, file.left_out_count) == (2, 2)
    assert [one.file for one in file.images()] == ["a.jpg", "c.jpg"]
    assert [place for place, _ in file.placed_images()] == [0, 2]
    assert [*map(detections.name_of, file.documents())] == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("x/../c.jpg", "'../c.jpg' leaves its folder"), ("x/a.jpg", "'a.jpg' stands at")],
)
def test_what_is_left_out_counts_in_addresses(
    tmp_path: Path, name: str, message: str
) -> None:
    names = ["y/0.jpg", "x/a.jpg", "y/b.jpg", name]
    path = save(tmp_path / "d.json", document(*map(image, names)))
    with pytest.raises(ArtifactError, match=rf"images\[3\]\.file: {message}"):
        detections.open_file(
            path, rename=lambda name: name[2:] if name[0] == "x" else None
        )


def test_the_names_are_checked_that_images_go_by(tmp_path: Path) -> None:
    path = save(tmp_path / "d.json", document(image("b.jpg"), image("../a.jpg")))
    with pytest.raises(ArtifactError) as refused:
        detections.open_file(path)
    assert str(refused.value) == f"{path}: images[1].file: '../a.jpg' leaves its folder"
    file = detections.open_file(path, rename=lambda name: name.removeprefix("../"))
    assert [one.file for one in file.images()] == ["b.jpg", "a.jpg"]
    assert not file.is_sorted
    with pytest.raises(ArtifactError) as refused:
        detections.open_file(path, rename=lambda _: "a.jpg")
    assert str(refused.value) == (
        f"{path}: images[1].file: 'a.jpg' stands at images[0] already, spelled 'b.jpg' "
        "there and '../a.jpg' here"
    )


def test_names_of_windows_are_read_with_slashes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(
        tmp_path / "d.json",
        document(image("x\\y\\a.png"), image("x/b.png"), image("x\\c.png")),
    )
    file = detections.open_file(path)
    names = ["x/y/a.png", "x/b.png", "x/c.png"]
    assert [one.file for one in file.images()] == names
    assert [detections.name_of(one) for one in file.documents()] == names
    assert [one.file for one in detections.read(path)[1]] == names
    said = (
        f"{path}: 2 names of images have backslashes, as Windows writes them; they are "
        "read as with /"
    )
    assert caplog.messages == [said, said]


def test_a_name_in_both_spellings_is_one_image(tmp_path: Path) -> None:
    path = save(tmp_path / "d.json", document(image("x/a.png"), image("x\\a.png")))
    with pytest.raises(ArtifactError) as refused:
        detections.open_file(path)
    assert str(refused.value) == (
        f"{path}: images[1].file: 'x/a.png' stands at images[0] already, spelled "
        "'x/a.png' there and 'x\\\\a.png' here"
    )


def test_a_name_that_cannot_be_given_has_its_address(tmp_path: Path) -> None:
    def rename(name: str) -> str:
        if name == "900.jpg":
            raise ArtifactError("not this one")
        return name

    images = [image(f"{number}.jpg") for number in range(999)]
    path = save(tmp_path / "d.json", document(*images))
    with pytest.raises(ArtifactError) as refused:
        detections.open_file(path, rename=rename, chunk_bytes=1 << 12)
    assert str(refused.value) == f"{path}: images[900].file: not this one"


def test_images_may_repeat_where_that_is_allowed(tmp_path: Path) -> None:
    path = save(tmp_path / "d.json", document(image("a.jpg"), image("a.jpg")))
    file = detections.open_file(path, may_repeat=True)
    assert (file.image_count, file.is_sorted) == (2, True)


@given(names=st.lists(st.sampled_from("abc"), max_size=9))
def test_whether_images_are_sorted_is_known_across_blocks(
    tmp_path: Path, names: list[str]
) -> None:
    path = save(tmp_path / "d.json", document(*map(image, names)))
    file = detections.open_file(path, may_repeat=True, chunk_bytes=1 << 7)
    assert file.is_sorted == (names == sorted(names))


def test_outcomes_are_compact_and_tell_failures() -> None:
    images = [
        image("a.jpg", n=1),
        {"file": "b.jpg", "detections": []},
        {"file": "c.jpg", "detections": None},
        {"file": "d.jpg"},
        {"file": "e.jpg", "failure": "x", "detections": [BOX]},
        {"file": "f.jpg", "failure": None, "detections": []},
    ]
    texts = [json.dumps(one, indent=2).encode() for one in images]
    found = list(detections.outcomes(texts))
    assert [(name, failed) for name, failed, _ in found] == [
        ("a.jpg", False),
        ("b.jpg", False),
        ("c.jpg", True),
        ("d.jpg", True),
        ("e.jpg", True),
        ("f.jpg", False),
    ]
    assert [json.loads(text) for *_, text in found] == images
    assert all(b" " not in text for *_, text in found)


def test_renumbering_changes_ids_alone() -> None:
    text = (
        b'{"file":"a.jpg","x":1.500,"detections":[{"bbox":[0.10,0,1,1],"category":"1",'
        b'"classifications":[["0",0.50],["7",0.1]],"conf":0.90},'
        b'{"category":"2","bbox":[0,0,1,1]}]}'
    )
    assert detections.renumber(text, {"1": "3", "2": "2"}, {"0": "5", "7": "0"}) == (
        b'{"file":"a.jpg","x":1.500,"detections":[{"bbox":[0.10,0,1,1],"category":"3",'
        b'"classifications":[["5",0.50],["0",0.1]],"conf":0.90},'
        b'{"category":"2","bbox":[0,0,1,1]}]}'
    )
    unclassified = detections.renumber(text, {"1": "1", "2": "2"}, None)
    assert unclassified == text.replace(
        b',"classifications":[["0",0.50],["7",0.1]]', b""
    )
    failed = b'{"file":"a.jpg","detections":null}'
    assert detections.renumber(failed, {}, {}) == failed


def test_writing_what_was_read_gives_the_same_bytes(tmp_path: Path) -> None:
    one = save(tmp_path / "one.json", document(image(), image("b.jpg"), other="x"))
    copies = [tmp_path / "two.json", tmp_path / "three.json"]
    for source, copy in zip([one, *copies], copies, strict=False):
        file = detections.open_file(source)
        detections.write(copy, file.header, file.documents())
    assert copies[0].read_bytes() == copies[1].read_bytes()
    assert json.loads(copies[0].read_bytes()) == json.loads(one.read_bytes())


FRACTION = st.floats(0, 1) | st.sampled_from([0, 1])
BOXES = st.fixed_dictionaries(
    {
        "category": st.sampled_from(["1", "2"]),
        "bbox": st.lists(FRACTION, min_size=4, max_size=4),
    },
    optional={
        "conf": FRACTION,
        "classifications": st.lists(
            st.tuples(st.sampled_from(["0", "1"]), FRACTION).map(list), max_size=2
        ),
        "frame_number": st.integers(),
    },
)
IMAGES = st.lists(
    st.fixed_dictionaries(
        {
            "file": st.text("ab \u00e9{}[],\"'", min_size=1).map(
                lambda name: name + ".jpg"
            )
        },
        optional={
            "detections": st.none() | st.lists(BOXES, max_size=3),
            "failure": st.none() | st.text(max_size=3),
            "meta": st.text('}, {"file"', max_size=12),
        },
    ),
    unique_by=lambda one: one["file"],
    max_size=8,
)


@settings(max_examples=60)
@given(
    images=IMAGES,
    indent=st.sampled_from([None, 1]),
    chunk_bytes=st.integers(1, 300),
    order=st.permutations(
        ["images", "info", "detection_categories", "classification_categories"]
    ),
)
def test_it_reads_what_json_reads(
    tmp_path: Path,
    images: list[Any],
    indent: int | None,
    chunk_bytes: int,
    order: list[str],
) -> None:
    content = document(*images, classification_categories={"0": "x", "1": "y"})
    path = tmp_path / "d.json"
    path.write_text(json.dumps({key: content[key] for key in order}, indent=indent))
    file = detections.open_file(path, chunk_bytes=chunk_bytes)
    expected = msgspec.convert(
        json.loads(path.read_bytes())["images"], list[ImageDetections]
    )
    assert list(file.images()) == expected
    assert [json.loads(text) for text in file.documents()] == images
    assert detections.read(path, chunk_bytes=chunk_bytes) == (file.header, expected)


def in_third(one: object) -> dict[str, Any]:
    return document(image("a.jpg"), image("b.jpg"), one)


def with_box(**keys: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return in_third(image("c.jpg", detections=[BOX, {**BOX, **keys}]))


BOX_RULE = "4 numbers in [0, 1] expected"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_box(bbox=[0, 0, 1]), f"images[2].detections[1].bbox: {BOX_RULE}"),
        (with_box(bbox=[0, 0, 1, 1, 1]), f"images[2].detections[1].bbox: {BOX_RULE}"),
        (with_box(bbox=[0, 0, 1, 1.2]), f"images[2].detections[1].bbox: {BOX_RULE}"),
        (with_box(bbox=[0, 0, 1, "1"]), f"images[2].detections[1].bbox: {BOX_RULE}"),
        (with_box(bbox=None), f"images[2].detections[1].bbox: {BOX_RULE}"),
        (
            with_box(conf=1.1),
            "images[2].detections[1].conf: a number in [-1, 1] expected",
        ),
        (
            with_box(conf="0.9"),
            "images[2].detections[1].conf: a number in [-1, 1] expected",
        ),
        (
            with_box(category=1),
            (
                "images[2].detections[1].category: the id of a category, as a string, "
                "expected"
            ),
        ),
        (
            with_box(category="3"),
            "images[2].detections[1].category: '3' is not in detection_categories",
        ),
        (
            with_box(classifications=[["0", 0.5], ["1"]]),
            (
                "images[2].detections[1].classifications: a list of "
                "[category id, probability] expected"
            ),
        ),
        (
            with_box(classifications=[["0", 0.5]]),
            (
                "images[2].detections[1].classifications[0]: '0' is not in "
                "classification_categories"
            ),
        ),
        (
            in_third(image("c.jpg", detections=[BOX, {"category": "1"}])),
            f"images[2].detections[1].bbox: {BOX_RULE}",
        ),
        (
            in_third(image("c.jpg", detections=[BOX, 3])),
            "images[2].detections[1]: an object expected",
        ),
        (
            in_third(image("c.jpg", detections={})),
            "images[2].detections: a list of detections, or null, expected",
        ),
        (in_third([]), "images[2]: an object expected"),
        (in_third(None), "images[2]: an object expected"),
        (in_third({}), "images[2].file: the name of an image expected"),
        (in_third(image(3)), "images[2].file: the name of an image expected"),  # type: ignore[arg-type]  # what is to be refused
        (
            in_third(image("c.jpg", failure=True)),
            "images[2].failure: a reason, or null, expected",
        ),
        (in_third(image("../c.jpg")), "images[2].file: '../c.jpg' leaves its folder"),
        (
            in_third(image("/c.jpg")),
            (
                "images[2].file: '/c.jpg' is absolute; names are relative to the images "
                "folder (run_detector_batch --output_relative_filenames)"
            ),
        ),
        (
            in_third(image("a\\..\\..\\c.jpg")),
            "images[2].file: 'a/../../c.jpg' leaves its folder",
        ),
        (in_third(image("a\0.jpg")), "images[2].file: 'a\\x00.jpg' holds a NUL"),
        (in_third(image("")), "images[2].file: '' names no file"),
        (
            in_third(image("b.jpg")),
            "images[2].file: 'b.jpg' stands at images[1] already",
        ),
        (document(info=3), "info: an object expected"),
        (document(info={"detector": 3}), "info.detector: a name expected"),
        (
            document(detection_categories=[]),
            "detection_categories: an object of names by id expected",
        ),
        (
            document(detection_categories={"one": "animal"}),
            "detection_categories.one: ids are whole numbers",
        ),
        (
            document(detection_categories={"1": " "}),
            "detection_categories.1: a name expected",
        ),
        (
            document(classification_categories={"0": 3}),
            "classification_categories.0: a name expected",
        ),
        (document(images={}), "images: a list expected"),
        ({"info": {}}, "detection_categories: an object of names by id expected"),
        (
            {"info": {}, "detection_categories": {}},
            "no key images; run_detector_batch writes it",
        ),
        ([], "not JSON: an object expected (byte 0)"),
    ],
)
def test_what_breaks_the_format_is_refused_with_its_address(
    tmp_path: Path, content: object, message: str
) -> None:
    assert refusal(save(tmp_path / "d.json", content)) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: b"", "not JSON: the file ends early; an object expected"),
        (lambda text: text[:-9], "images[2]: not JSON: the file ends early"),
        (
            lambda text: text.replace(b"0.9", b"NaN", 1),
            "images[0]: not JSON: JSON is malformed: invalid character (byte 59)",
        ),
        (
            lambda text: text.replace(b"c.jpg", b"\xff.jpg"),
            (
                "images[2]: not JSON: 'utf-8' codec can't decode byte 0xff in position 11: "
                "invalid start byte"
            ),
        ),
    ],
    ids=["empty", "truncated", "nan", "latin-1"],
)
def test_what_is_no_json_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    path = save(tmp_path / "d.json", in_third(image("c.jpg")))
    path.write_bytes(change(path.read_bytes()))
    assert refusal(path) == message


def test_the_address_is_exact_in_a_late_block(tmp_path: Path) -> None:
    images = [image(f"{number}.jpg") for number in range(999)]
    images[777] = image("777.jpg", detections=[{**BOX, "conf": -1.5}])
    path = save(tmp_path / "d.json", document(*images))
    with pytest.raises(ArtifactError) as refused:
        detections.open_file(path, chunk_bytes=500)
    where = f"{path}: images[777].detections[0].conf"
    assert refused.value.where == where


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "d.json") == "cannot read: No such file or directory"
    assert refusal(tmp_path) == "not a plain file"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "not a plain file"


def test_a_file_that_changes_after_the_check_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "d.json", document(image()))
    file = detections.open_file(path)
    path.write_text("{}")
    with pytest.raises(ArtifactError) as refused:
        list(file.images())
    assert str(refused.value) == f"{path}: it was changed while it was read"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = save(tmp_path / "d.json", document())
    before = path.read_bytes()
    header = detections.open_file(path).header

    def images() -> Any:  # noqa: ANN401 - a generator
        yield b"{}"
        raise ArtifactError("late")

    with pytest.raises(ArtifactError):
        detections.write(path, header, images())
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["d.json"]


MEASURE = """
import re, sys
from pathlib import Path
from classification.artifacts import detections
sum(1 for _ in detections.open_file(Path(sys.argv[1])).images())
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peak_kib = []
    for number in (1_000, 60_000):
        images = [image(f"{index}.jpg") for index in range(number)]
        path = save(tmp_path / f"{number}.json", document(*images))
        command = [sys.executable, "-c", MEASURE, str(path)]
        output = subprocess.run(command, check=True, capture_output=True).stdout
        peak_kib.append(int(output))
    # As Python objects, an image of one box takes 0.6 KiB; as a hash, 8 bytes.
    assert peak_kib[1] - peak_kib[0] < 8 * 1024


def test_an_id_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    categories = {"9" * 5000: "animal"}
    path.write_text(
        json.dumps({"info": {}, "images": [], "detection_categories": categories})
    )
    with pytest.raises(ArtifactError, match="ids have 18 digits at most"):
        detections.open_file(path)


def test_names_that_a_disk_may_take_for_one_are_told(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    names = ["a/b.jpg", "c.jpg", "A//B.JPG", "c.JPG"]
    images = [{"file": name, "detections": []} for name in names]
    path.write_text(
        json.dumps({"info": {}, "images": images, "detection_categories": {}})
    )
    file = detections.open_file(path, chunk_bytes=8)
    assert file.alike() == {"A//B.JPG": "a/b.jpg", "c.JPG": "c.jpg"}
