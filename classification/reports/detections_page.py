"""The detections page: pictures with their boxes, what each box holds, and how sure.

The answer for a box comes from a merged detections JSON: its first classification, if
that reaches the threshold, is a group or a broad group; otherwise the box is an animal
and no more is said. Beside it stand the classifier's own best guesses, unsummed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from classification.artifacts.target_mapping import OTHER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from classification.reports.pictures import InlinePicture
    from detection.boxes import Box
    from detection.records import Detection, ImageDetections

TEMPLATE = "detections.html.j2"

Kind = Literal["group", "broad", "other", "unsure"]
Mark = Literal["right", "wrong", ""]

KINDS: Mapping[Kind, str] = {
    "group": "group",
    "broad": "broad group",
    "other": "no group",
    "unsure": "unsure",
}
MARKS: Mapping[Mark, str] = {"right": "✓ right", "wrong": "✗ wrong"}

_LINE_SHARE = 0.004
_FONT_SHARE = 0.024
_LETTER_WIDTH = 0.56  # of a bold sans-serif letter, in font sizes, on average
_TAG_LETTERS = 36


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle in pixels of the inlined picture."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Guess:
    """A category of the classifier, and how probable it is.

    Attributes:
        label: name of the category.
        probability: in [0, 1].
        is_right: it is what the picture is known to show.
    """

    label: str
    probability: float
    is_right: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of a box.

    Attributes:
        label: to show.
        probability: in [0, 1]; None where nothing but "animal" is said.
        kind: how fine it is.
        mark: whether it is right, where that is known.
    """

    label: str
    probability: float | None
    kind: Kind
    mark: Mark = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What a picture is known to show.

    Attributes:
        animal: in words.
        in_imagenet: the classifier has a category for exactly this animal.
        remark: more about it, or where the picture is from.
        categories: categories of the classifier that are right.
        groups: groups and broad groups that are right.
    """

    animal: str
    in_imagenet: bool
    remark: str = ""
    categories: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """How to read the classifications of a detections JSON.

    Attributes:
        name_by_category: from the file.
        broad_groups: which of the names are broad groups.
        threshold: least probability of an answer, in [0, 1].
        box_threshold: least confidence of a box that is shown, in [0, 1].
    """

    name_by_category: Mapping[str, str]
    broad_groups: frozenset[str] = frozenset()
    threshold: float
    box_threshold: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """An image to lay out, and what is known of it.

    Attributes:
        image: its boxes, with their classifications.
        picture: its pixels.
        guesses_by_index: the classifier's best categories for each box, by its place
            in the image's list of boxes; most probable first.
        truth: what it is known to show, or None.
    """

    image: ImageDetections
    picture: InlinePicture
    guesses_by_index: Mapping[int, Sequence[Guess]] = field(default_factory=dict)
    truth: Truth | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxView:
    """A box as the page shows it; rectangles in pixels of the inlined picture.

    Attributes:
        confidence: the detector's, or None for a box drawn by a person.
        answer: what is said of it.
        guesses: the classifier's best categories, most probable first.
        frame: where the box is.
        tag: ground of the text at the box.
        text: where that text begins (its base line), and how wide it is set.
        tag_text: the text.
    """

    confidence: float | None
    answer: Answer
    guesses: tuple[Guess, ...]
    frame: Rectangle
    tag: Rectangle
    text: Rectangle
    tag_text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureView:
    """A picture as the page shows it.

    Attributes:
        number: from 1, for links inside the page.
        name: of the image.
        image: its pixels, inlined.
        boxes: from the most confident on.
        truth: what it is known to show, or None.
        line_px: width of a box's line.
        font_px: size of the text at a box.
    """

    number: int
    name: str
    image: InlinePicture
    boxes: tuple[BoxView, ...]
    truth: Truth | None
    line_px: float
    font_px: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """A file beside the page: its path, relative to the page, and what it is."""

    path: str
    what: str


@dataclass(frozen=True, slots=True)
class Step:
    """A command line, and what it does."""

    what: str
    command: str


@dataclass(frozen=True, slots=True)
class Count:
    """A number of the page's head, and what it counts."""

    number: int
    what: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page shows.

    Attributes:
        title: its heading.
        lead: a sentence or two below it.
        pictures: in the order shown.
        box_threshold: least confidence of a box that is shown, in [0, 1].
        legend: what each kind of answer means.
        left_out: number of pictures that would have made the page too large.
        failures: files that could not be used.
        files: what lies beside the page.
        steps: what was run.
        notes: small print.
    """

    title: str
    lead: str
    pictures: tuple[PictureView, ...]
    box_threshold: float
    legend: Mapping[Kind, str] = field(default_factory=dict)
    left_out: int = 0
    failures: tuple[Failure, ...] = ()
    files: tuple[LinkedFile, ...] = ()
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def kinds(self) -> Mapping[Kind, str]:
        """Returns the name of each kind of answer."""
        return KINDS

    @property
    def marks(self) -> Mapping[Mark, str]:
        """Returns the text of each mark."""
        return MARKS

    @property
    def truths(self) -> bool:
        """Says whether of any picture it is known what it shows."""
        return any(picture.truth for picture in self.pictures)

    @property
    def counts(self) -> tuple[Count, ...]:
        """Returns the numbers of the head; what there is none of is left out."""
        boxes = [box for picture in self.pictures for box in picture.boxes]
        number_by_kind = Counter(box.answer.kind for box in boxes)
        texts: tuple[tuple[Kind, str], ...] = (
            ("group", "with a group"),
            ("broad", "with a broad group"),
            ("other", "in no group"),
            ("unsure", "unsure"),
        )
        rest = [Count(number_by_kind[kind], text) for kind, text in texts]
        rest.append(Count(len(self.failures), "could not be used"))
        shown = len(self.pictures)
        return (
            Count(shown, "picture" if shown == 1 else "pictures"),
            Count(len(boxes), "box" if len(boxes) == 1 else "boxes"),
            *(count for count in rest if count.number),
        )


def view_picture(number: int, subject: Subject, vocabulary: Vocabulary) -> PictureView:
    """Lays out one picture; ``number`` is its place on the page, from 1."""
    picture, truth = subject.picture, subject.truth
    font_px = round(max(picture.width, picture.height) * _FONT_SHARE, 1)
    shown = [
        (index, detection)
        for index, detection in enumerate(subject.image.detections or ())
        if detection.conf is None or detection.conf >= vocabulary.box_threshold
    ]
    return PictureView(
        number=number,
        name=subject.image.file,
        image=picture,
        boxes=tuple(
            _view_box(
                place,
                detection,
                (picture.width, picture.height, font_px),
                answer_of(detection, vocabulary, truth),
                mark_guesses(subject.guesses_by_index.get(index, ()), truth),
            )
            for place, (index, detection) in enumerate(shown, start=1)
        ),
        truth=truth,
        line_px=round(max(picture.width, picture.height) * _LINE_SHARE, 1),
        font_px=font_px,
    )


def answer_of(
    detection: Detection, vocabulary: Vocabulary, truth: Truth | None = None
) -> Answer:
    """Says what a box holds: its first classification, if that is sure enough."""
    for category, probability in (detection.classifications or ())[:1]:
        if probability < vocabulary.threshold:
            break
        name = vocabulary.name_by_category.get(category, category)
        if name == OTHER:
            return Answer(
                "none of the groups", probability, "other", _mark(name, truth)
            )
        kind: Kind = "broad" if name in vocabulary.broad_groups else "group"
        return Answer(name, probability, kind, _mark(name, truth))
    return Answer("animal", None, "unsure")


def mark_guesses(guesses: Sequence[Guess], truth: Truth | None) -> tuple[Guess, ...]:
    """Marks the guesses that are right."""
    right = truth.categories if truth else frozenset()
    return tuple(
        Guess(guess.label, guess.probability, guess.label in right) for guess in guesses
    )


def _mark(name: str, truth: Truth | None) -> Mark:
    if truth is None:
        return ""
    return "right" if name in truth.groups else "wrong"


def _view_box(
    place: int,
    detection: Detection,
    canvas: tuple[int, int, float],
    answer: Answer,
    guesses: tuple[Guess, ...],
) -> BoxView:
    frame = _frame(detection.bbox, canvas)
    tag_text = _tag_text(place, answer)
    tag = _tag(frame, tag_text, canvas)
    font_px = canvas[2]
    inset = font_px * 0.35
    text = Rectangle(
        round(tag.x + inset, 1),
        round(tag.y + tag.height - font_px * 0.38, 1),
        round(max(1.0, tag.width - 2 * inset), 1),
        font_px,
    )
    return BoxView(
        confidence=detection.conf,
        answer=answer,
        guesses=guesses,
        frame=frame,
        tag=tag,
        text=text,
        tag_text=tag_text,
    )


def _frame(box: Box, canvas: tuple[int, int, float]) -> Rectangle:
    width, height, _ = canvas
    return Rectangle(
        round(box.left * width, 1),
        round(box.top * height, 1),
        round(box.width * width, 1),
        round(box.height * height, 1),
    )


def _tag_text(place: int, answer: Answer) -> str:
    text = f"{place}  {answer.label}"
    return text if len(text) <= _TAG_LETTERS else text[: _TAG_LETTERS - 1] + "…"


def _tag(frame: Rectangle, text: str, canvas: tuple[int, int, float]) -> Rectangle:
    """Places the tag on the box's upper edge, inside where there is no room above."""
    width, _, font_px = canvas
    tag_width = min(float(width), (len(text) * _LETTER_WIDTH + 0.7) * font_px)
    tag_height = font_px * 1.45
    above = frame.y - tag_height
    return Rectangle(
        round(max(0.0, min(frame.x, width - tag_width)), 1),
        round(above if above >= 0 else max(0.0, frame.y), 1),
        round(tag_width, 1),
        round(tag_height, 1),
    )
