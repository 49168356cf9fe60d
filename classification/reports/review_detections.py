"""Reads a merged detections JSON into what the review page shows.

The label of a box is its true label, where the file tells it (``--label`` of
``merge_classification_detection_output``), and what the classifier finds most probable
otherwise. Boxes of one image that have one label are one subject.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.artifacts import detections
from classification.labels.merging import TRUTH_OFFSET, dataset_of
from classification.reports.review_page import (
    CLASSIFICATIONS,
    LABELS,
    MarkedBox,
    Queue,
    Sighting,
    Subject,
)
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    in_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from classification.artifacts.detections import DetectionsFile
    from detection.records import Detection, ImageDetections

# More subjects than any page holds.
MOST_SUBJECTS = 20_000

_TRUTH_PREFIX = "label: "


@dataclass(frozen=True, slots=True)
class Claim:
    """What a box is said to hold.

    Attributes:
        label: its true label, or what is most probable.
        label_probability: in [0, 1]; None where the classifier does not tell it.
        predicted: what is most probable beside the label; empty where nothing is told.
        predicted_probability: likewise.
        score: more means that the label is likelier to be wrong.
    """

    label: str
    label_probability: float | None
    predicted: str
    predicted_probability: float | None
    score: float


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The classification categories of a file: name by id.

    Attributes:
        guesses: of what the classifier says.
        truths: of true labels, without what marks them.
    """

    guesses: Mapping[str, str]
    truths: Mapping[str, str]

    @classmethod
    def of(cls, name_by_id: Mapping[str, str]) -> Vocabulary:
        """Tells true labels from guesses, by their ids and names."""
        truths = {
            id_: name.removeprefix(_TRUTH_PREFIX)
            for id_, name in name_by_id.items()
            if int(id_) >= TRUTH_OFFSET and name.startswith(_TRUTH_PREFIX)
        }
        rest = {id_: name for id_, name in name_by_id.items() if id_ not in truths}
        return cls(rest, truths)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What of a file is reviewed.

    Attributes:
        threshold: least confidence of a box that counts, in [0, 1].
        dataset: of all images, whose names then do not begin with it; empty where they
            do.
        most: hold so many subjects; beyond them only the number is known.
    """

    threshold: float
    dataset: str = ""
    most: int = MOST_SUBJECTS


def read(path: Path, rule: Rule) -> Queue:
    """Reads a merged detections JSON, streaming.

    Raises:
        ArtifactError: the file is missing or malformed, or an image has no dataset.
        ConfigurationError: nothing in it is classified.
    """
    file = detections.open_file(path)
    if not file.header.classification_categories:
        raise ConfigurationError(
            f"{path}: no classification_categories; "
            "merge_classification_detection_output writes them"
        )
    words = Vocabulary.of(file.header.classification_categories)
    passing = _Passing(file, words, rule)
    best = heapq.nsmallest(rule.most, passing.ranked(), key=lambda pair: pair[0])
    silent = (
        f"{passing.silent} images have no classified box of a confidence of at least "
        f"{rule.threshold:g}; they are not here."
    )
    return Queue(
        wording=LABELS if words.truths else CLASSIFICATIONS,
        subjects=[subject for _, subject in best],
        count=passing.subjects,
        classes=sorted({*words.guesses.values(), *words.truths.values()}),
        notes=(silent,) if passing.silent else (),
    )


def review(
    image: ImageDetections, words: Vocabulary, rule: Rule
) -> list[tuple[float, Subject]]:
    """Returns the subjects of an image, each with its score.

    Raises:
        ArtifactError: the image has no dataset.
    """
    boxes = [
        box
        for box in image.detections or ()
        if box.conf is None or box.conf >= rule.threshold
    ]
    claims = [(box, claim) for box in boxes if (claim := claim_of(box, words))]
    by_label: dict[str, list[tuple[Detection, Claim]]] = {}
    for box, claim in sorted(claims, key=lambda pair: -pair[1].score):
        by_label.setdefault(claim.label, []).append((box, claim))
    return [
        (meant[0][1].score, _to_subject(image.file, boxes, meant, rule))
        for meant in by_label.values()
    ]


def claim_of(box: Detection, words: Vocabulary) -> Claim | None:
    """Says what a box is said to hold; None where it is not classified."""
    said = box.classifications or ()
    guesses = [
        (words.guesses[id_], value) for id_, value in said if id_ in words.guesses
    ]
    guesses.sort(key=lambda pair: -pair[1])
    truth = next((words.truths[id_] for id_, _ in said if id_ in words.truths), None)
    if truth is None and not guesses:
        return None
    label = guesses[0][0] if truth is None else truth
    probability = next((value for name, value in guesses if name == label), None)
    others = [pair for pair in guesses if pair[0] != label]
    predicted, other = others[0] if others else ("", None)
    lead = 1.0 if truth is None else other or 0.0
    return Claim(label, probability, predicted, other, lead - (probability or 0.0))


def _to_subject(
    file: str,
    boxes: list[Detection],
    meant: list[tuple[Detection, Claim]],
    rule: Rule,
) -> Subject:
    dataset = rule.dataset or dataset_of(file)
    if not dataset:
        raise ArtifactError(
            f"{file!r} lies in no folder that could be its dataset; --dataset names it"
        )
    claim = meant[0][1]
    ours = [box for box, _ in meant]
    sighting = Sighting(
        name=file,
        label_probability=claim.label_probability,
        predicted=claim.predicted,
        predicted_probability=claim.predicted_probability,
        boxes=tuple(MarkedBox(box.bbox, box in ours) for box in boxes),
    )
    return Subject(
        image=f"{dataset}/{file}" if rule.dataset else file,
        dataset=dataset,
        label=claim.label,
        suggestion=claim.predicted,
        sightings=(sighting,),
    )


class _Passing:
    """Counts what goes by on its way to the best."""

    def __init__(self, file: DetectionsFile, words: Vocabulary, rule: Rule) -> None:
        self.subjects = 0
        self.silent = 0
        self._file = file
        self._words = words
        self._rule = rule

    def ranked(self) -> Iterator[tuple[tuple[float, str, str], Subject]]:
        """Yields each subject with what it is sorted by."""
        with in_file(self._file.path):
            for place, image in self._file.placed_images():
                found = self._review(place, image)
                self.subjects += len(found)
                self.silent += not found
                for score, subject in found:
                    yield (-score, subject.image, subject.label), subject

    def _review(
        self, place: int, image: ImageDetections
    ) -> list[tuple[float, Subject]]:
        try:
            return review(image, self._words, self._rule)
        except ArtifactError as error:
            where = f"images[{place}].file"
            raise ArtifactError(error.message, where=where) from error
