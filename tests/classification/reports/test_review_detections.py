"""From a merged detections JSON to what is reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from classification.artifacts import detections
from classification.labels.merging import TRUTH_OFFSET
from classification.reports import review_detections
from classification.reports.review_detections import (
    Claim,
    Rule,
    Vocabulary,
    claim_of,
    review,
)
from classification.reports.review_page import CLASSIFICATIONS, LABELS
from classification.runtime.errors import ArtifactError, ConfigurationError
from detection.boxes import Box
from detection.records import Detection, ImageDetections

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GUESSES = {"0": "elk", "1": "cow", "2": "bear"}
TRUTHS = {str(TRUTH_OFFSET + int(id_)): f"label: {n}" for id_, n in GUESSES.items()}
WORDS = Vocabulary.of({**GUESSES, **TRUTHS})
RULE = Rule(threshold=0.2)


def box(*said: tuple[str, float], conf: float = 0.9, left: float = 0.0) -> Detection:
    return Detection("1", Box(left, 0.1, 0.2, 0.3), conf, said or None)


def truth(id_: int) -> tuple[str, float]:
    return str(TRUTH_OFFSET + id_), 1.0


def write(
    path: Path, *images: ImageDetections, names: Mapping[str, str] | None = GUESSES
) -> Path:
    header = detections.Header(
        info={"format_version": "1.6"},
        detection_categories={"1": "animal"},
        classification_categories=names,
    )
    detections.write(path, header, map(msgspec.json.encode, images))
    return path


@pytest.mark.parametrize(
    ("said", "claim"),
    [
        ([("0", 0.75), ("1", 0.25)], Claim("elk", 0.75, "cow", 0.25, 0.25)),
        ([("0", 0.75)], Claim("elk", 0.75, "", None, 0.25)),
        ([("1", 0.75), truth(0)], Claim("elk", None, "cow", 0.75, 0.75)),
        (
            [truth(0), ("1", 0.75), ("0", 0.25)],
            Claim("elk", 0.25, "cow", 0.75, 0.5),
        ),
        ([truth(0), ("0", 1.0)], Claim("elk", 1.0, "", None, -1.0)),
        ([truth(0)], Claim("elk", None, "", None, 0.0)),
    ],
)
def test_the_label_of_a_box(said: list[tuple[str, float]], claim: Claim) -> None:
    assert claim_of(box(*said), WORDS) == claim


def test_a_box_that_is_not_classified_has_no_label() -> None:
    assert claim_of(box(), WORDS) is None


def test_a_category_of_a_high_id_may_be_one_of_the_classifier() -> None:
    words = Vocabulary.of({str(TRUTH_OFFSET): "elk"})
    assert (dict(words.guesses), dict(words.truths)) == ({str(TRUTH_OFFSET): "elk"}, {})


def test_boxes_of_one_label_are_one_subject() -> None:
    image = ImageDetections(
        "ds/a/b.jpg",
        (
            box(("0", 0.75), ("1", 0.2)),
            box(("1", 0.6), left=0.3),
            box(("0", 0.5), left=0.6),
            box(conf=0.5, left=0.7),
            box(("2", 0.9), conf=0.1, left=0.8),
        ),
    )
    elk, cow = (subject for _, subject in review(image, WORDS, RULE))
    assert (elk.label, cow.label) == ("elk", "cow")
    assert (elk.image, elk.dataset) == ("ds/a/b.jpg", "ds")
    (sighting,) = elk.sightings
    assert [marked.is_meant for marked in sighting.boxes] == [True, False, True, False]
    assert sighting.label_probability == 0.5


def test_the_least_sure_comes_first_and_silence_is_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "merged.json",
        ImageDetections("ds/a.jpg", (box(("0", 0.9)),)),
        ImageDetections("ds/b.jpg", (box(("1", 0.4)),)),
        ImageDetections("ds/c.jpg", ()),
        ImageDetections("ds/d.jpg", None, "truncated"),
        ImageDetections("ds/e.jpg", (box(("2", 0.9)),)),
    )
    queue = review_detections.read(path, RULE)
    assert [one.image for one in queue.subjects] == ["ds/b.jpg", "ds/a.jpg", "ds/e.jpg"]
    assert (queue.count, queue.wording) == (3, CLASSIFICATIONS)
    assert list(queue.classes) == ["bear", "cow", "elk"]
    (note,) = queue.notes
    assert note == (
        "2 images have no classified box of a confidence of at least 0.2; "
        "they are not here."
    )


def test_true_labels_are_reviewed_as_labels(tmp_path: Path) -> None:
    path = write(
        tmp_path / "merged.json",
        ImageDetections("ds/a.jpg", (box(("1", 0.9), truth(0)),)),
        names={**GUESSES, **TRUTHS},
    )
    queue = review_detections.read(path, RULE)
    assert queue.wording == LABELS
    assert list(queue.classes) == ["bear", "cow", "elk"]


def test_only_so_many_are_held(tmp_path: Path) -> None:
    images = [
        ImageDetections(f"ds/{n}.jpg", (box(("0", n / 10)),)) for n in range(1, 6)
    ]
    path = write(tmp_path / "merged.json", *images)
    queue = review_detections.read(path, Rule(threshold=0.2, most=2))
    assert [one.image for one in queue.subjects] == ["ds/1.jpg", "ds/2.jpg"]
    assert queue.count == 5


def test_a_dataset_can_be_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "merged.json",
        ImageDetections("a.jpg", (box(("0", 0.9)),)),
        ImageDetections("b/c.jpg", (box(("0", 0.8)),)),
    )
    with pytest.raises(ArtifactError) as refusal:
        review_detections.read(path, RULE)
    assert str(refusal.value) == (
        f"{path}: images[0].file: 'a.jpg' lies in no folder that could be its dataset; "
        "--dataset names it"
    )
    queue = review_detections.read(path, Rule(threshold=0.2, dataset="cams"))
    assert [(one.image, one.dataset) for one in queue.subjects] == [
        ("cams/b/c.jpg", "cams"),
        ("cams/a.jpg", "cams"),
    ]
    assert queue.subjects[0].sightings[0].name == "b/c.jpg"


def test_what_is_not_classified_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "detections.json", names=None)
    with pytest.raises(
        ConfigurationError, match="no classification_categories; merge_"
    ):
        review_detections.read(path, RULE)
