"""Reading a run's files for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from classification.artifacts import detections, predictions
from classification.artifacts.layout import CropName
from classification.reports.detections_page import Failure, Guess
from classification.reports.results import (
    LEAST_GUESS,
    Source,
    best_guesses,
    choose,
    collect,
    side_px,
)
from classification.storage.local import LocalStore
from detection.boxes import Box
from detection.records import Detection, ImageDetections
from tests.world import photograph, save_jpeg

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CATEGORIES = ("red fox", "skunk", "hare", "abacus", "fly")


def image(name: str, *confidences: float) -> ImageDetections:
    box = Box(0.1, 0.1, 0.5, 0.5)
    return ImageDetections(
        name, tuple(Detection("1", box, conf, (("0", 0.9),)) for conf in confidences)
    )


def write_merged(path: Path, images: Iterable[ImageDetections]) -> Path:
    header = detections.Header(
        info={"format_version": "1.6", "detector": "d"},
        detection_categories={"1": "animal"},
        classification_categories={"0": "fox"},
    )
    detections.write(path, header, (msgspec.json.encode(one) for one in images))
    return path


def write_predictions(path: Path, *crops: CropName) -> Path:
    rows = np.array([[0.5, 0.3, 0.1, 0.015, 0.0]] * len(crops), dtype=np.float32)
    predictions.write(path, CATEGORIES, [([str(crop) for crop in crops], rows)])
    return path


def source(folder: Path, **parts: object) -> Source:
    fixed: dict[str, object] = {
        "merged": folder / "merged.json",
        "predictions": None,
        "store": LocalStore(folder),
        "broad_groups": frozenset(),
        "threshold": 0.65,
        "box_threshold": 0.3,
    }
    return Source(**{**fixed, **parts})  # type: ignore[arg-type]  # whatever a test wants


def test_collects_pictures_answers_and_guesses(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "a/b.jpg", photograph(64, 48))
    write_merged(tmp_path / "merged.json", [image("a/b.jpg", 0.9, 0.8)])
    crops = [CropName("a/b.jpg", 1, "d"), CropName("elsewhere.jpg", 0, "d")]
    csv = write_predictions(tmp_path / "c.csv.gz", *crops)
    found = collect(source(tmp_path, predictions=csv))
    assert (found.failures, found.left_out) == ((), 0)
    (picture,) = found.pictures
    assert (picture.name, picture.number) == ("a/b.jpg", 1)
    assert [box.answer.label for box in picture.boxes] == ["fox", "fox"]
    assert [len(box.guesses) for box in picture.boxes] == [0, 3]


def test_lists_what_failed_then_and_what_fails_now(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "good.jpg", photograph(64, 48))
    (tmp_path / "broken.jpg").write_text("hello")
    failed = ImageDetections("a.jpg", None, "truncated")
    gone, broken = image("gone.jpg", 0.9), image("broken.jpg", 0.9)
    write_merged(
        tmp_path / "merged.json", [failed, broken, gone, image("good.jpg", 0.9)]
    )
    found = collect(source(tmp_path))
    assert found.failures == (
        Failure("a.jpg", "truncated"),
        Failure("broken.jpg", "not an image file"),
        Failure("gone.jpg", "no such file"),
    )
    assert [(p.name, p.number) for p in found.pictures] == [("good.jpg", 1)]


def test_an_image_without_detections_or_reason_is_a_failure(tmp_path: Path) -> None:
    write_merged(tmp_path / "merged.json", [ImageDetections("a.jpg")])
    found = collect(source(tmp_path))
    assert found.failures == (Failure("a.jpg", "no detections"),)


def test_the_best_guesses_come_first_and_noise_is_left_out(tmp_path: Path) -> None:
    csv = write_predictions(tmp_path / "c.csv", CropName("a.jpg", 3, "d"))
    found = best_guesses(predictions.open_file(csv), {"a.jpg"})
    assert found == {
        "a.jpg": {
            3: tuple(
                Guess(name, pytest.approx(p))
                for name, p in zip(CATEGORIES, (0.5, 0.3, 0.1), strict=False)
            )
        }
    }
    assert LEAST_GUESS > 0.015


def test_images_with_a_box_are_chosen_first() -> None:
    images = [
        image("a.jpg"),
        image("b.jpg", 0.2),
        image("c.jpg", 0.4),
        ImageDetections("d.jpg", None, "truncated"),
        image("e.jpg", 0.9),
    ]
    assert choose(images, 2, 0.3) == {"c.jpg", "e.jpg"}
    assert choose(images, 3, 0.3) == {"a.jpg", "c.jpg", "e.jpg"}
    assert choose(images, 9, 0.3) == {"a.jpg", "b.jpg", "c.jpg", "e.jpg"}


def test_many_pictures_are_smaller() -> None:
    sides = [side_px(number) for number in (1, 24, 25, 80, 81, 200)]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == sides[1] > sides[2] == sides[3] > sides[4]
