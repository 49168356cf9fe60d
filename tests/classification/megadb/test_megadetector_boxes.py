from __future__ import annotations

import gzip
import json
import random
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from classification.megadb import megadetector_boxes
from classification.megadb import staging as tables
from classification.megadb.megadetector_boxes import Options
from classification.megadb.staging import Staging
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HEADER = {
    "info": {"format_version": "1.3", "detector": "md_v5a.0.0.pt"},
    "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
}


def detection(conf: float, category: str = "1", x: float = 0.1) -> dict[str, Any]:
    return {"category": category, "conf": conf, "bbox": [x, 0.2, 0.3, 0.4]}


def write(path: Path, images: object, **more: object) -> Path:
    document = {"images": images, **HEADER, **more}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Staged:
    boxes: list[tuple[Any, ...]]
    boxed: set[str]
    skipped: list[tuple[str, str]]


def stage(
    source: Path,
    files: Mapping[str, str],
    *,
    before: Sequence[str] = (),
    threshold: float = 0.2,
) -> Staged:
    """Stages images by id, of which some had a box before, and then a file of boxes."""
    import pyarrow as pa  # noqa: PLC0415 - as the importers do

    images = {"row": range(len(files)), "id": list(files), "file": list(files.values())}
    drawn = {"image_id": pa.array(before, pa.string())}
    sides = {side: [0.5] * len(before) for side in "xywh"}
    with Staging.open(source.parent / "work") as staging:
        staging.add(tables.IMAGES, pa.table(images))
        staging.add(tables.BOXED, pa.table(drawn))
        old = {**drawn, "category": ["old"] * len(before), "row": range(len(before))}
        staging.add(tables.BOXES, pa.table({**old, **sides}))
        megadetector_boxes.read(source, staging, Options(threshold))
        connection = staging.connection
        rows = connection.execute("SELECT row FROM staged_boxes").fetchall()
        assert len(rows) == len(set(rows))
        return Staged(
            connection.execute(
                "SELECT image_id, category, x FROM staged_boxes ORDER BY row"
            ).fetchall(),
            {id_ for (id_,) in connection.execute("FROM staged_boxed").fetchall()},
            connection.execute("FROM staged_skipped ORDER BY item, reason").fetchall(),
        )


def test_boxes_of_at_least_the_threshold(tmp_path: Path) -> None:
    found = [
        detection(0.9),
        detection(0.2, "2", x=0.2),
        detection(0.19),
        detection(-0.9),
        detection(0.8, "3", x=0.3),
    ]
    images = [
        {"file": "a.jpg", "detections": found},
        {"file": "b.jpg", "detections": []},
    ]
    source = write(tmp_path / "md.json", images)
    staged = stage(source, {"i": "a.jpg", "j": "b.jpg", "k": "c.jpg"})
    assert staged.boxes == [
        ("i", "animal", 0.1),
        ("i", "person", 0.2),
        ("i", "vehicle", 0.3),
    ]
    assert staged.boxed == {"i", "j"}
    assert not staged.skipped


def test_boxes_from_before_are_dropped_where_the_detector_looked(
    tmp_path: Path,
) -> None:
    images = [
        {"file": "a.jpg", "detections": [detection(0.9)]},
        {"file": "b.jpg", "detections": [detection(0.1)]},
        {"file": "c.jpg", "detections": None, "failure": "truncated"},
    ]
    files = {name: f"{name}.jpg" for name in "abcd"}
    source = write(tmp_path / "md.json", images)
    staged = stage(source, files, before="abcd")
    assert [box[:2] for box in staged.boxes] == [
        ("c", "old"),
        ("d", "old"),
        ("a", "animal"),
    ]
    assert staged.boxed == {"a", "b", "c", "d"}


def test_images_that_failed_are_left_to_a_detector(tmp_path: Path) -> None:
    images = [
        {"file": "a.jpg", "detections": None, "failure": "truncated"},
        {"file": "b.jpg"},
        {"file": "c.jpg", "detections": [detection(1)], "failure": "late"},
        {"file": "d.jpg", "detections": []},
    ]
    source = write(tmp_path / "md.json", images)
    staged = stage(source, {name: f"{name}.jpg" for name in "abcd"})
    assert staged.boxed == {"d"}
    assert not staged.boxes
    assert staged.skipped == [
        ("md.json: images[0]: a.jpg: truncated", megadetector_boxes.FAILED),
        ("md.json: images[1]: b.jpg: no detections", megadetector_boxes.FAILED),
        ("md.json: images[2]: c.jpg: late", megadetector_boxes.FAILED),
    ]


def test_images_that_the_dataset_lacks_are_listed(tmp_path: Path) -> None:
    images = [{"file": name, "detections": []} for name in ("a.jpg", "x.jpg", "a.jpg")]
    staged = stage(write(tmp_path / "md.json", images), {"i": "a.jpg"})
    assert staged.boxed == {"i"}
    assert staged.skipped == [
        ("md.json: images[1]: x.jpg", megadetector_boxes.UNKNOWN_NAME),
        ("md.json: images[2]: a.jpg", megadetector_boxes.REPEATED),
    ]


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["u/cct/a.jpg", "u/cct/b/c.jpg"], ["a.jpg", "b/c.jpg"]),
        (["u/cct/a.jpg", "u/cct/b/c.jpg"], ["cct/a.jpg", "cct/b/c.jpg"]),
        (["C:\\x\\a.jpg", "C:\\x\\b\\c.jpg"], ["a.jpg", "b/c.jpg"]),
        (["/x/a.jpg", "/x/b/c.jpg"], ["a.jpg", "b/c.jpg"]),
        (["./a.jpg", ".\\b\\c.jpg"], ["a.jpg", "b/c.jpg"]),
    ],
)
def test_folders_that_only_the_file_has(
    tmp_path: Path, names: Sequence[str], files: Sequence[str]
) -> None:
    images = [{"file": name, "detections": []} for name in names]
    source = write(tmp_path / "md.json", images)
    staged = stage(source, {str(i): file for i, file in enumerate(files)})
    assert staged.boxed == {"0", "1"}
    assert not staged.skipped


def test_an_image_outside_of_those_folders_is_unknown(tmp_path: Path) -> None:
    names = ["u/a.jpg", "u/b.jpg", "c.jpg", "v/a.jpg", "u/d.jpg"]
    images = [{"file": name, "detections": []} for name in names]
    source = write(tmp_path / "md.json", images)
    staged = stage(source, {"i": "a.jpg", "j": "d.jpg"})
    assert staged.boxed == {"i", "j"}
    assert [item for item, _ in staged.skipped] == [
        "md.json: images[1]: u/b.jpg",
        "md.json: images[2]: c.jpg",
        "md.json: images[3]: v/a.jpg",
    ]


def test_names_that_are_equal_count_as_they_are(tmp_path: Path) -> None:
    images = [{"file": name, "detections": []} for name in ("u/a.jpg", "u/b.jpg")]
    source = write(tmp_path / "md.json", images)
    staged = stage(source, {"i": "u/a.jpg", "j": "b.jpg"})
    assert staged.boxed == {"i"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.jpg", "u/a.jpg"], "without 't/' and without 't/u/', too"),
        (["z.jpg"], "no image of the dataset; it calls them as 't/u/a.jpg', the"),
    ],
)
def test_names_that_cannot_be_told_are_refused(
    tmp_path: Path, files: Sequence[str], message: str
) -> None:
    source = write(tmp_path / "md.json", [{"file": "t/u/a.jpg", "detections": []}])
    with pytest.raises(ArtifactError, match=message):
        stage(source, {file: file for file in files})


def test_two_images_of_one_file_both_have_its_boxes(tmp_path: Path) -> None:
    images = [{"file": "a.jpg", "detections": [detection(0.9)]}]
    source = write(tmp_path / "md.json", images)
    staged = stage(source, {"i": "a.jpg", "j": "a.jpg"})
    assert [box[0] for box in staged.boxes] == ["i", "j"]


def test_categories_go_by_their_names(tmp_path: Path) -> None:
    categories = {"0": "empty", "1": "Human", "2": "it's a fox", "4": "group"}
    boxes = [detection(0.9, category) for category in categories]
    images = [{"file": "a.jpg", "detections": boxes}]
    source = write(tmp_path / "md.json", images, detection_categories=categories)
    staged = stage(source, {"i": "a.jpg"})
    assert [box[1] for box in staged.boxes] == ["person", "animal", "group"]


@pytest.mark.parametrize(
    ("images", "address"),
    [
        ({}, "images"),
        ([{"file": 7}], r"images\[0\].file"),
        (
            [{"file": "a.jpg", "detections": [{"category": "1", "bbox": [1]}]}],
            r"images\[0\].detections\[0\].bbox",
        ),
        (
            [{"file": "a.jpg", "detections": [detection(1), detection(1, "9")]}],
            r"images\[0\].detections\[1\].category: '9' is not in",
        ),
    ],
)
def test_a_broken_file_is_one_line(
    tmp_path: Path, images: object, address: str
) -> None:
    source = write(tmp_path / "md.json", images)
    with pytest.raises(ArtifactError, match=f"md.json: {address}"):
        stage(source, {"i": "a.jpg"})


def test_packed_files_are_read(tmp_path: Path) -> None:
    plain = write(tmp_path / "md.json", [{"file": "a.jpg", "detections": []}])
    packed = tmp_path / "md.json.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    archive = tmp_path / "md.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(plain, "md.json")
    for source in (plain, packed, archive):
        assert megadetector_boxes.is_megadetector(source)
        assert stage(source, {"i": "a.jpg"}).boxed == {"i"}


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ('{"images": [{"file": "a.jpg"}], nonsense', True),
        ('{"detection_categories": {}, "images": []}', True),
        ('{"images": [{"file_name": "a.jpg", "id": 1}], "annotations": []}', False),
        ('{"annotations": [{"image_id": 1}], "images": [{"file": "a"}]}', False),
        ('{"images": [], "annotations": [], "categories": []}', False),
        ('{"images": [7]}', False),
        ("[]", False),
        ("", False),
    ],
)
def test_a_detections_file_is_known_by_its_content(
    tmp_path: Path, text: str, is_one: bool
) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    assert megadetector_boxes.is_megadetector(path) is is_one


def test_what_is_missing_is_no_detections_file(tmp_path: Path) -> None:
    assert not megadetector_boxes.is_megadetector(tmp_path / "gone.json")


def test_the_order_of_images_does_not_matter(tmp_path: Path) -> None:
    rng = random.Random(7)
    images = [
        {"file": f"u/{i}.jpg", "detections": [detection(rng.random(), x=i / 99)]}
        for i in range(50)
    ]
    files = {str(i): f"{i}.jpg" for i in range(40)}
    found = [
        stage(write(tmp_path / "md.json", rng.sample(images, 50)), files)
        for _ in range(2)
    ]
    assert sorted(found[0].boxes) == sorted(found[1].boxes)
    assert found[0].boxed == found[1].boxed == set(files)
