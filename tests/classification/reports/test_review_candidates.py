"""From a table of candidates to what is reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import mislabeled_candidates
from classification.artifacts.mislabeled_candidates import Candidate
from classification.reports import review_candidates
from classification.reports.review_page import LABELS

if TYPE_CHECKING:
    from pathlib import Path


def candidate(
    image: str, crop: int, label: str, predicted: str, score: float
) -> Candidate:
    path = f"ds/{image}.jpg___crop{crop:02d}.jpg"
    return Candidate(path, "ds", "val", label, predicted, 0.25, 0.5, score)


CANDIDATES = [
    candidate("a", 0, "elk", "cow", 0.5),
    candidate("a", 1, "elk", "deer", 0.9),
    candidate("a", 2, "bear", "cow", 0.6),
    candidate("b", 0, "elk", "cow", 0.7),
]


def test_crops_of_an_image_and_label_are_one_subject(tmp_path: Path) -> None:
    path = tmp_path / mislabeled_candidates.FILENAME
    mislabeled_candidates.write(path, CANDIDATES)
    queue = review_candidates.read(path)
    assert [(one.image, one.label) for one in queue.subjects] == [
        ("ds/a.jpg", "elk"),
        ("ds/b.jpg", "elk"),
        ("ds/a.jpg", "bear"),
    ]
    assert (queue.wording, queue.count) == (LABELS, 3)
    assert list(queue.classes) == ["bear", "cow", "deer", "elk"]


def test_the_likeliest_crop_comes_first(tmp_path: Path) -> None:
    path = tmp_path / mislabeled_candidates.FILENAME
    mislabeled_candidates.write(path, CANDIDATES)
    first = review_candidates.read(path).subjects[0]
    assert [one.name for one in first.sightings] == [
        "ds/a.jpg___crop01.jpg",
        "ds/a.jpg___crop00.jpg",
    ]
    assert (first.predicted, first.suggestion, first.split) == ("deer", "deer", "val")
    assert first.sightings[0].label_probability == 0.25
    assert first.sightings[0].predicted_probability == 0.5


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / mislabeled_candidates.FILENAME
    mislabeled_candidates.write(path, CANDIDATES)
    sorted_once = review_candidates.read(path).subjects
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows), ""]))
    assert review_candidates.read(path).subjects == sorted_once


def test_a_crop_of_several_splits_is_seen_once() -> None:
    first, second = CANDIDATES[1], CANDIDATES[1]._replace(split="folds", score=0.1)
    (subject,) = review_candidates.group([first, second])
    assert [one.name for one in subject.sightings] == [first.path]
    assert subject.split == "val"
