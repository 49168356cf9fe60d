from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import image_contents
from classification.cropping.cached_animals import CachedAnimals, FoundBoxes
from classification.runtime.contents import Contents, digest
from classification.runtime.errors import ArtifactError, ConfigurationError
from detection.boxes import Box

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BOX = Box(0, 0, 0.5, 0.5)
CATEGORIES = {"1": "animal", "2": "person"}


def box(conf: float, category: str = "1") -> dict[str, Any]:
    return {"category": category, "conf": conf, "bbox": [0, 0, 0.5, 0.5]}


def write_cache(
    path: Path, images: Sequence[object], categories: dict[str, str] = CATEGORIES
) -> None:
    document = {
        "info": {"detector": "md_v4.1.0.pb", "format_version": "1.3"},
        "detection_categories": categories,
        "images": images,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_what_was_added_is_found() -> None:
    found = FoundBoxes()
    assert found.of("a") is None
    boxes = {
        f"{i}.jpg": tuple(
            (j, j / 8, Box(i / 64, j / 64, 1 / 3, 0.1)) for j in range(i % 4)
        )
        for i in range(50)
    }
    for name, own in boxes.items():
        found.add(name, own)
    found.add("failed.jpg", (), "truncated")
    assert {name: found.of(name) for name in boxes} == boxes
    assert found.of("failed.jpg") == "truncated"
    assert found.of("50.jpg") is None


def test_sure_animals_keep_their_place_in_the_list(tmp_path: Path) -> None:
    boxes = [box(0.1), box(0.8), box(0.9, "2"), box(0.95)]
    write_cache(tmp_path / "v4.1/d.json", [{"file": "a.jpg", "detections": boxes}])
    cached = CachedAnimals(tmp_path, None, threshold=0.8)
    assert cached.of("d/a.jpg", "d") == ((1, 0.8, BOX), (3, 0.95, BOX))
    assert cached.of("d/b.jpg", "d") is None
    assert cached.suffix == "mdv4.1"


def test_d29_a_failed_image_says_why(tmp_path: Path) -> None:
    images = [
        {"file": "a.jpg", "detections": None, "failure": "truncated"},
        {"file": "b.jpg", "detections": None},
        {"file": "c.jpg", "detections": []},
    ]
    write_cache(tmp_path / "v4.1/d.json", images)
    cached = CachedAnimals(tmp_path, "4.1", threshold=0.8)
    assert cached.of("d/a.jpg", "d") == "truncated"
    assert isinstance(cached.of("d/b.jpg", "d"), str)
    assert cached.of("d/c.jpg", "d") == ()


def test_d29_ids_of_categories_may_differ_between_datasets(tmp_path: Path) -> None:
    image = {"file": "a.jpg", "detections": [box(0.9, "1"), box(0.9, "2")]}
    write_cache(tmp_path / "v4.1/d.json", [image])
    write_cache(tmp_path / "v4.1/e.json", [image], {"1": "person", "2": "animal"})
    cached = CachedAnimals(tmp_path, "4.1", threshold=0.8)
    assert cached.of("d/a.jpg", "d") == ((0, 0.9, BOX),)
    assert cached.of("e/a.jpg", "e") == ((1, 0.9, BOX),)


def test_a_dataset_without_a_file_has_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "v4.1").mkdir()
    cached = CachedAnimals(tmp_path, "4.1", threshold=0.8)
    assert cached.of("d/a.jpg", "d") is None
    assert cached.of("d/b.jpg", "d") is None
    assert [record.args for record in caplog.records] == [
        (tmp_path / "v4.1/d.json", "d")
    ]


def test_categories_without_an_animal_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_cache(tmp_path / "v4.1/d.json", [{"file": "a.jpg", "detections": []}], {})
    assert CachedAnimals(tmp_path, "4.1", threshold=0.8).of("d/a.jpg", "d") == ()
    assert 'no category is named "animal"' in caplog.text


@pytest.mark.parametrize(
    ("versions", "wanted", "message"),
    [
        ([], None, "holds no detections; detect_and_crop --run-detector"),
        ([], "4.1", "holds no detections, not of 4.1; detect_and_crop --run-detector"),
        (["4.1", "5a"], None, "of 4.1, 5a; --detector-version says which"),
        (["4.1"], "5a", "of 4.1, not of 5a; --detector-version says which"),
    ],
)
def test_a_version_that_is_not_told(
    tmp_path: Path, versions: list[str], wanted: str | None, message: str
) -> None:
    for version in versions:
        (tmp_path / f"v{version}").mkdir()
    with pytest.raises(ArtifactError, match=message):
        CachedAnimals(tmp_path, wanted, threshold=0).of("d/a.jpg", "d")


def test_no_cache_at_all() -> None:
    with pytest.raises(
        ConfigurationError, match=r"nobody drew boxes of d/a\.jpg; --det"
    ):
        CachedAnimals(None, None, threshold=0).of("d/a.jpg", "d")


def test_what_is_known_of_image_and_detector(tmp_path: Path) -> None:
    images = [{"file": f"{n}.jpg", "detections": [box(0.9)]} for n in range(3)]
    write_cache(tmp_path / "v4.1/d.json", images)
    one = digest(b"one")
    image_contents.tell(
        tmp_path / "v4.1/d.json", [("1.jpg", Contents(one, None))], detector="detector"
    )
    write_cache(tmp_path / "v4.1/e.json", images)
    cached = CachedAnimals(tmp_path, "4.1", threshold=0.8)
    for name, known in (
        ("d/0.jpg", (None, None)),
        ("d/1.jpg", (one, "detector")),
        ("d/3.jpg", (None, None)),
        ("e/1.jpg", (None, None)),
    ):
        cached.of(name, name[0])
        assert cached.digests_of(name, name[0]) == known
