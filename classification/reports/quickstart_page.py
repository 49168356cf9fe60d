"""The quickstart's page and its summary on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.reports.detections_page import Page, Truth
from classification.reports.render import percent
from classification.runtime.cli import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from classification.reports.detections_page import (
        BoxView,
        Kind,
        LinkedFile,
        PictureView,
        Step,
    )
    from classification.reports.results import Results
    from classification.storage.samples import Sample

MOST_ROWS = 20
MOST_FAILURES = 5
_NAME_LETTERS = 40

_LEAD = (
    "A detector drew the boxes, a classifier guessed among the 1000 categories of "
    "ImageNet, and the guesses were added up to groups that a person at a camera trap "
    "would use. Where no group is sure enough, the answer is a broader one, or none."
)
_LEGEND: Mapping[Kind, str] = {
    "group": "the categories of one group together are sure enough",
    "broad": "unsure which group, sure of the wider one",
    "other": "the classifier is sure that this is in none of the groups, "
    "perhaps no animal at all",
    "unsure": "the detector says animal; the classifier is sure of nothing",
}
_NOTES = (
    (
        "The models are small ones that run anywhere: MegadetectorLite (from zamba, MIT) and "
        "EfficientNet-Lite0 with its ImageNet weights (Apache-2.0). MegaDetector and a "
        "classifier trained on camera-trap pictures do better."
    ),
    "A percentage is what the model says of itself, not how often it is right.",
)
_HEADINGS = ("picture", "really", "answer", "best exact guess")


def truths(samples: Iterable[Sample]) -> dict[str, Truth]:
    """Returns what the sample pictures show, by name."""
    return {
        sample.name: Truth(
            animal=sample.animal,
            in_imagenet=sample.in_imagenet,
            remark=sample.remark,
            categories=sample.categories,
            groups=sample.groups,
        )
        for sample in samples
    }


def page(
    results: Results,
    *,
    box_threshold: float,
    files: Sequence[LinkedFile],
    steps: Sequence[Step],
) -> Page:
    """Returns the page of a run.

    Args:
        results: what was found.
        box_threshold: least confidence of a box that is shown, in [0, 1].
        files: what lies beside the page.
        steps: what was run.
    """
    kinds = {box.answer.kind for picture in results.pictures for box in picture.boxes}
    return Page(
        title="Animals found and named",
        lead=_LEAD,
        legend={kind: text for kind, text in _LEGEND.items() if kind in kinds},
        pictures=results.pictures,
        box_threshold=box_threshold,
        left_out=results.left_out,
        failures=results.failures,
        files=tuple(files),
        steps=tuple(steps),
        notes=_NOTES,
    )


def summary(page: Page) -> str:
    """Returns the page's answers as a table of text, a row for each box.

    The column of truths is left out where none is known; long lists are cut.
    """
    rows = [row for picture in page.pictures for row in _rows(picture)]
    table = [_HEADINGS, *rows[:MOST_ROWS]]
    if not page.truths:
        table = [(row[0], *row[2:]) for row in table]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in table
    ]
    if len(rows) > MOST_ROWS:
        lines.append(f"... and {len(rows) - MOST_ROWS} more on the page")
    lines += [
        f"failed: {_short(failure.name)}: {one_line(failure.reason)}"
        for failure in page.failures[:MOST_FAILURES]
    ]
    if len(page.failures) > MOST_FAILURES:
        lines.append(f"... and {len(page.failures) - MOST_FAILURES} more failed")
    counts = ", ".join(f"{count.number} {count.what}" for count in page.counts)
    return "\n".join([*lines, counts])


def _rows(picture: PictureView) -> list[tuple[str, ...]]:
    name, truth = _short(picture.name), _truth_text(picture.truth)
    if not picture.boxes:
        return [(name, truth, "no animal found", "")]
    return [
        (
            name if number == 0 else "",
            truth if number == 0 else "",
            _answer_text(box),
            _guess_text(box),
        )
        for number, box in enumerate(picture.boxes)
    ]


def _short(name: str) -> str:
    """Cuts a long name at its beginning; images of a series differ at the end."""
    text = one_line(name)
    return text if len(text) <= _NAME_LETTERS else "..." + text[3 - _NAME_LETTERS :]


def _truth_text(truth: Truth | None) -> str:
    if truth is None:
        return ""
    return truth.animal if truth.in_imagenet else f"{truth.animal}; not in ImageNet"


def _answer_text(box: BoxView) -> str:
    answer = box.answer
    if answer.probability is None:
        return f"{answer.label} (unsure)"
    mark = f" ({answer.mark})" if answer.mark else ""
    return f"{one_line(answer.label)} {percent(answer.probability)}{mark}"


def _guess_text(box: BoxView) -> str:
    if not box.guesses:
        return ""
    best = box.guesses[0]
    mark = " (right)" if best.is_right else ""
    return f"{one_line(best.label)} {percent(best.probability)}{mark}"
