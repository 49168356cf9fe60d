"""The review page: labels that may be wrong, for a person to say which are.

What is reviewed is a *subject*: a label of an image, with the crops (or the boxes in the
image) that it was given. The page's script turns what a person says into the CSV that
``save_mislabeled`` takes; the names that it writes there are in ``Page.data``, exact.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from classification.reports.pictures import InlinePicture
    from detection.boxes import Box

TEMPLATE = "review.html.j2"
SCRIPTS = (
    "words.js",
    "csv.js",
    "review_answers.js",
    "review_filters.js",
    "review_typing.js",
    "review_table.js",
    "review.js",
)

# Classes of every dataset, where those of each are not known.
ANY_DATASET = ""

_NAMED = 100
_DIGEST_LETTERS = 32


@dataclass(frozen=True, slots=True)
class MarkedBox:
    """A box to draw.

    Attributes:
        box: where, in fractions of the picture.
        is_meant: the label is of this box; others are drawn as neighbours.
    """

    box: Box
    is_meant: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """A picture to judge a label by, and what the classifier says of it.

    Attributes:
        name: of the picture in its store.
        label_probability: of the label, in [0, 1]; None where it is not told.
        predicted: what else it may be; empty where nothing is told.
        predicted_probability: likewise.
        boxes: to draw into the picture.
    """

    name: str
    label_probability: float | None = None
    predicted: str = ""
    predicted_probability: float | None = None
    boxes: tuple[MarkedBox, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A label of an image.

    Attributes:
        image: ``<dataset>/<path>``.
        dataset: the source of the image.
        label: which may be wrong.
        sightings: at least one; the likeliest to be wrong first.
        split: in which the image is; empty where that is not known.
        dataset_class: what the dataset calls it; likewise.
        location: where the camera stood; likewise.
        suggestion: the dataset's class for what is predicted; empty where there is
            none, or more than one.
    """

    image: str
    dataset: str
    label: str
    sightings: tuple[Sighting, ...]
    split: str = ""
    dataset_class: str = ""
    location: str = ""
    suggestion: str = ""

    @property
    def predicted(self) -> str:
        """Returns what it may be instead."""
        return self.sightings[0].predicted


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """How the page speaks of what it shows.

    Attributes:
        title: its heading.
        lead: a sentence below it.
        label: what the label is called.
        predicted: what the other guess is called.
    """

    title: str
    lead: str
    label: str
    predicted: str


LABELS = Wording(
    title="Labels to review",
    lead="A classifier doubts these labels, the first ones most. Say of each picture "
    "whether its label is right.",
    label="Label",
    predicted="Classifier",
)
CLASSIFICATIONS = Wording(
    title="Classifications to review",
    lead="This is what a classifier says of these pictures; it is least sure of the "
    "first ones. Say of each whether it is right.",
    label="Guess",
    predicted="2nd guess",
)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What is to be reviewed.

    Attributes:
        wording: how the page speaks of it.
        subjects: the likeliest to be wrong first.
        count: number of all; there may be more than ``subjects`` holds.
        classes: what the subjects' file calls things, sorted.
        notes: small print.
    """

    wording: Wording
    subjects: Sequence[Subject]
    count: int
    classes: Sequence[str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """A picture on the page.

    Attributes:
        sighting: what it shows.
        picture: its pixels; None where they cannot be had.
        fault: why they cannot; empty where they can.
    """

    sighting: Sighting
    picture: InlinePicture | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A subject on the page.

    Attributes:
        subject: what is reviewed.
        views: the pictures of its first sightings, at least one.
    """

    subject: Subject
    views: tuple[View, ...]

    @property
    def unseen(self) -> int:
        """Returns how many sightings have no picture here."""
        return len(self.subject.sightings) - len(self.views)


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page shows.

    Attributes:
        wording: how it speaks.
        entries: in the order of review.
        classes_by_dataset: what a person may type, by dataset, or ``ANY_DATASET``.
        skipped: number of subjects before the first one.
        left_out: names of images after the last one; some of them.
        left_out_count: number of subjects after the last one.
        notes: small print.
    """

    wording: Wording
    entries: tuple[Entry, ...]
    classes_by_dataset: Mapping[str, Sequence[str]] = field(default_factory=dict)
    skipped: int = 0
    left_out: tuple[str, ...] = ()
    left_out_count: int = 0
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Returns the heading."""
        return self.wording.title

    @property
    def faults(self) -> tuple[View, ...]:
        """Returns the pictures that cannot be had."""
        return tuple(
            view for entry in self.entries for view in entry.views if not view.picture
        )

    @property
    def named(self) -> tuple[str, ...]:
        """Returns those of the left out that are named."""
        return self.left_out[:_NAMED]

    @property
    def data(self) -> dict[str, Any]:
        """Returns what the script reads: names as they are, not as they are shown."""
        return {
            "digest": digest([entry.subject for entry in self.entries]),
            "classes": {
                dataset: list(classes)
                for dataset, classes in self.classes_by_dataset.items()
            },
            "subjects": [_facts(entry.subject) for entry in self.entries],
        }


def digest(subjects: Sequence[Subject]) -> str:
    """Returns what a browser keeps decisions under: of which subjects they are."""
    names = [[subject.image, subject.label] for subject in subjects]
    text = json.dumps(names)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LETTERS]


def _facts(subject: Subject) -> dict[str, str]:
    return {
        "image": subject.image,
        "dataset": subject.dataset,
        "label": subject.label,
        "predicted": subject.predicted,
        "split": subject.split,
        "suggestion": subject.suggestion,
    }
