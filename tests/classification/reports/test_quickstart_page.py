"""The quickstart's page and summary."""

from __future__ import annotations

from classification.reports import quickstart_page
from classification.reports.detections_page import (
    Failure,
    Guess,
    Page,
    PictureView,
    Subject,
    Vocabulary,
    view_picture,
)
from classification.reports.pictures import InlinePicture
from classification.reports.results import Results
from classification.storage.samples import SAMPLES
from detection.boxes import Box
from detection.records import Detection, ImageDetections

WORDS = Vocabulary(
    name_by_category={"0": "domestic cat", "1": "mammal"},
    broad_groups=frozenset({"mammal"}),
    threshold=0.65,
    box_threshold=0.3,
)
CAT = (Guess("tabby", 0.61), Guess("lynx", 0.2))


def picture(name: str, *classifications: tuple[str, float] | None) -> PictureView:
    boxes = tuple(
        Detection("1", Box(0, 0, 1, 1), 0.9, (one,) if one else ())
        for one in classifications
    )
    subject = Subject(
        image=ImageDetections(name, boxes),
        picture=InlinePicture("data:,", 100, 100),
        guesses_by_index={0: CAT},
        truth=quickstart_page.truths(SAMPLES).get(name),
    )
    return view_picture(1, subject, WORDS)


def page(*pictures: PictureView, failures: tuple[Failure, ...] = ()) -> Page:
    return quickstart_page.page(
        Results(pictures=pictures, failures=failures, left_out=0),
        box_threshold=0.3,
        files=(),
        steps=(),
    )


def test_summary_of_the_samples() -> None:
    shown = page(
        picture("cat.png", ("0", 0.92)),
        picture("quokka.jpg", ("1", 0.7), None),
        picture("tamandua.jpg"),
    )
    assert quickstart_page.summary(shown).splitlines() == [
        "picture       really                                            answer                    best exact guess",
        "cat.png       domestic cat with a tabby coat                    domestic cat 92% (right)  tabby 61% (right)",
        "quokka.jpg    quokka; not in ImageNet                           mammal 70% (right)        tabby 61%",
        "                                                                animal (unsure)",
        "tamandua.jpg  tamandua (an anteater) at night; not in ImageNet  no animal found",
        "3 pictures, 3 boxes, 1 with a group, 1 with a broad group, 1 unsure",
    ]


def test_summary_of_ones_own_pictures() -> None:
    shown = page(
        picture("a\n.jpg", ("0", 0.92)), failures=(Failure("b.jpg", "truncated"),)
    )
    assert quickstart_page.summary(shown).splitlines() == [
        "picture  answer            best exact guess",
        "a\\n.jpg  domestic cat 92%  tabby 61%",
        "failed: b.jpg: truncated",
        "1 picture, 1 box, 1 with a group, 1 could not be used",
    ]


def test_a_long_summary_is_cut() -> None:
    shown = page(*(picture(f"{number}.jpg") for number in range(100)))
    lines = quickstart_page.summary(shown).splitlines()
    assert len(lines) == quickstart_page.MOST_ROWS + 3
    assert lines[-2] == "... and 80 more on the page"


def test_long_names_and_many_failures_are_cut() -> None:
    failures = tuple(Failure(f"{number}.jpg", "truncated") for number in range(7))
    shown = page(picture("season_1/" * 9 + "0017.jpg"), failures=failures)
    lines = quickstart_page.summary(shown).splitlines()
    assert lines[1].startswith("...1/season_1/season_1/season_1/0017.jpg  no animal")
    assert lines[-2] == "... and 2 more failed"


def test_the_legend_explains_what_is_there() -> None:
    assert list(page(picture("a.jpg", ("1", 0.9))).legend) == ["broad"]
    assert list(page(picture("a.jpg", ("0", 0.9), None)).legend) == ["group", "unsure"]
