"""The model of the detections page."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.reports.detections_page import (
    Answer,
    Count,
    Guess,
    Page,
    PictureView,
    Subject,
    Truth,
    Vocabulary,
    answer_of,
    mark_guesses,
    view_picture,
)
from classification.reports.pictures import InlinePicture
from detection.boxes import Box
from detection.records import Detection, ImageDetections

WORDS = Vocabulary(
    name_by_category={"0": "fox", "1": "mammal", "2": "other"},
    broad_groups=frozenset({"mammal"}),
    threshold=0.65,
    box_threshold=0.3,
)
FOX = Truth(
    animal="a fox",
    in_imagenet=True,
    categories=frozenset({"red fox"}),
    groups=frozenset({"fox", "mammal"}),
)
PICTURE = InlinePicture("data:,", 1000, 500)


def detection(
    *classifications: tuple[str, float],
    box: Box | None = None,
    conf: float | None = 0.9,
) -> Detection:
    return Detection("1", box or Box(0.1, 0.2, 0.3, 0.4), conf, classifications)


def view(*boxes: Detection, truth: Truth | None = None) -> PictureView:
    subject = Subject(
        image=ImageDetections("a.jpg", boxes),
        picture=PICTURE,
        guesses_by_index={0: (Guess("red fox", 0.5),), 2: (Guess("skunk", 0.4),)},
        truth=truth,
    )
    return view_picture(1, subject, WORDS)


@pytest.mark.parametrize(
    ("classifications", "answer"),
    [
        ((("0", 0.7), ("1", 0.2)), Answer("fox", 0.7, "group")),
        ((("0", 0.65),), Answer("fox", 0.65, "group")),
        ((("1", 0.9),), Answer("mammal", 0.9, "broad")),
        ((("2", 0.9),), Answer("none of the groups", 0.9, "other")),
        ((("2", 0.3),), Answer("animal", None, "unsure")),
        ((("0", 0.64), ("1", 0.2)), Answer("animal", None, "unsure")),
        ((), Answer("animal", None, "unsure")),
        ((("17", 0.8),), Answer("17", 0.8, "group")),
    ],
)
def test_answers(
    classifications: tuple[tuple[str, float], ...], answer: Answer
) -> None:
    assert answer_of(detection(*classifications), WORDS) == answer


def test_a_box_that_was_never_classified_is_an_animal() -> None:
    box = Detection("1", Box(0, 0, 1, 1), 0.9)
    assert answer_of(box, WORDS) == Answer("animal", None, "unsure")


@pytest.mark.parametrize(
    ("category", "mark"), [("0", "right"), ("1", "right"), ("2", "wrong")]
)
def test_answers_are_held_against_the_truth(category: str, mark: str) -> None:
    assert answer_of(detection((category, 0.9)), WORDS, FOX).mark == mark


def test_saying_nothing_is_neither_right_nor_wrong() -> None:
    assert answer_of(detection(), WORDS, FOX).mark == ""


def test_guesses_are_held_against_the_truth() -> None:
    guesses = (Guess("grey fox", 0.5), Guess("red fox", 0.2))
    assert [guess.is_right for guess in mark_guesses(guesses, FOX)] == [False, True]
    assert mark_guesses(guesses, None) == guesses


def test_unsure_boxes_are_left_out_and_guesses_stay_with_theirs() -> None:
    shown = view(detection(("0", 0.7)), detection(conf=0.29), detection(conf=0.3)).boxes
    assert [box.guesses[0].label for box in shown] == ["red fox", "skunk"]
    assert [box.tag_text for box in shown] == ["1  fox", "2  animal"]


def test_boxes_of_people_are_shown() -> None:
    assert len(view(detection(conf=None)).boxes) == 1


def test_the_frame_is_the_box() -> None:
    frame = view(detection()).boxes[0].frame
    assert (frame.x, frame.y, frame.width, frame.height) == (100, 100, 300, 200)


def test_the_tag_stands_above_its_box_or_inside_where_there_is_no_room() -> None:
    above, inside = view(detection(), detection(box=Box(0.1, 0.01, 0.3, 0.4))).boxes
    assert above.tag.y + above.tag.height == pytest.approx(above.frame.y)
    assert inside.tag.y == inside.frame.y


@settings(max_examples=100)
@given(st.floats(0, 1), st.floats(0, 1), st.text(min_size=1, max_size=300))
def test_the_tag_stays_inside_the_picture(left: float, top: float, name: str) -> None:
    words = Vocabulary(name_by_category={"0": name}, threshold=0.5, box_threshold=0)
    box = detection(("0", 1.0), box=Box.from_corners(left, top, 1, 1))
    subject = Subject(image=ImageDetections("a.jpg", (box,)), picture=PICTURE)
    shown = view_picture(1, subject, words).boxes[0]
    assert shown.tag.x >= 0
    assert shown.tag.y >= 0
    assert shown.tag.x + shown.tag.width <= PICTURE.width + 0.1
    assert len(shown.tag_text) <= 36


def page(*pictures: PictureView) -> Page:
    return Page(title="", lead="", pictures=pictures, box_threshold=0.3)


def test_counts() -> None:
    shown = page(view(detection(("0", 0.7)), detection()), view())
    assert shown.counts == (
        Count(2, "pictures"),
        Count(2, "boxes"),
        Count(1, "with a group"),
        Count(1, "unsure"),
    )
    assert page(view(detection(("2", 0.7)))).counts == (
        Count(1, "picture"),
        Count(1, "box"),
        Count(1, "in no group"),
    )


def test_truths_are_shown_where_there_are_any() -> None:
    assert not page(view()).truths
    assert page(view(), view(truth=FOX)).truths
