"""The results page: how good a classifier is, where it fails, and what that looks like.

The model of the page and the pure functions that lay it out. What is measured comes from
``measuring``, pictures from an album, which may lack some.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from classification.artifacts.target_mapping import OTHER
from classification.measuring import by_label

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from classification.artifacts.evaluation import Estimate
    from classification.measuring.by_label import LabelFigures, Means
    from classification.measuring.changes import Change, LabelChange
    from classification.measuring.confidence import Kept, Reliability
    from classification.measuring.groups import Group
    from classification.reports.pictures import InlinePicture

TEMPLATE = "results.html.j2"
SCRIPTS = ("tables.js", "matrix.js")

SURE = 0.99  # confidence of the crops of the second confusion matrix
DENSE = 30  # from so many labels on, a matrix has small cells

METRICS: Mapping[str, str] = {
    "acc_top1": "accuracy: the most probable label is right",
    "acc_top3": "the right label is among the three most probable",
    "balanced_accuracy": "balanced accuracy: mean recall of labels",
    "macro_f1": "macro-F1: mean F1 of labels",
    "location_accuracy": "mean accuracy of locations",
    "calibration_error": "expected calibration error",
}

_SHADES = 10
_ALL = 100  # percents


class Cell(NamedTuple):
    """A cell of a confusion matrix that is not empty.

    Attributes:
        column: id of the predicted label.
        gap: number of empty cells before it.
        crops: number of them.
        text: their share of the row, in percent.
        shade: of that share, from 1 to 10.
        link: id of the section that shows some of them, or empty.
    """

    column: int
    gap: int
    crops: int
    text: str
    shade: int
    link: str


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """What crops of a label are taken for.

    Attributes:
        label: its name.
        crops: number of them.
        recall: share that is right, or -1 where there is no crop.
        cells: those that are not empty, by predicted label.
        gap: number of empty cells after them.
        link: id of the section that shows its crops, or empty.
    """

    label: str
    crops: int
    recall: float
    cells: tuple[Cell, ...]
    gap: int
    link: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A confusion matrix; rows are the truth.

    Attributes:
        labels: names, of rows and of columns.
        rows: one for each label.
    """

    labels: tuple[str, ...]
    rows: tuple[MatrixRow, ...]

    @property
    def is_dense(self) -> bool:
        """Says whether there are so many labels that cells are small."""
        return len(self.labels) >= DENSE

    @property
    def crops(self) -> int:
        """Returns the number of crops."""
        return sum(row.crops for row in self.rows)


@dataclass(frozen=True, slots=True)
class Said:
    """What a classifier said of a crop.

    Attributes:
        label: most probable.
        probability: of it, in [0, 1].
        is_right: it is the true one.
    """

    label: str
    probability: float
    is_right: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumb:
    """A crop that is shown.

    Attributes:
        name: of the crop.
        picture: its pixels, or None where they cannot be read.
        reason: why they cannot.
        true: its label.
        said: what was said of it; of two classifiers, first that of before.
        location: where it was taken, or empty.
    """

    name: str
    picture: InlinePicture | None
    reason: str
    true: str
    said: tuple[Said, ...]
    location: str


@dataclass(frozen=True, slots=True)
class CellCrops:
    """Crops of one label that are taken for one.

    Attributes:
        id: of the section.
        predicted: what they are taken for.
        count: number of them.
        thumbs: those that are shown, the surest first.
        is_right: they are taken for what they are.
    """

    id: str
    predicted: str
    count: int
    thumbs: tuple[Thumb, ...]
    is_right: bool


@dataclass(frozen=True, slots=True)
class LabelCrops:
    """Crops of one label, by what they are taken for.

    Attributes:
        id: of the section.
        label: its name.
        cells: from the most frequent on.
    """

    id: str
    label: str
    cells: tuple[CellCrops, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRow:
    """A row of the table of labels.

    Attributes:
        label: its name.
        figures: how it fares.
        reliability: of the crops that are taken for it, or None where the
            probabilities are not known.
        calibrated: likewise, after calibration.
        mistaken_for: the label that most of its crops are taken for wrongly, or empty.
        mistaken: number of these crops.
    """

    label: str
    figures: LabelFigures
    reliability: Reliability | None = None
    calibrated: Reliability | None = None
    mistaken_for: str = ""
    mistaken: int = 0


@dataclass(frozen=True, slots=True)
class MeanRow:
    """Means over labels, and which.

    Attributes:
        what: the labels.
        means: over them.
    """

    what: str
    means: Means


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfidenceView:
    """What probabilities are worth, as the network gives them or after calibration.

    Attributes:
        title: which of the two.
        reliability: of all crops.
        kept: what is left at some least probabilities.
        line: points (coverage, share that is right).
    """

    title: str
    reliability: Reliability
    kept: tuple[Kept, ...]
    line: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class SliceTable:
    """Accuracy of groups of crops.

    Attributes:
        title: what groups them.
        column: heading of their names.
        note: how that was found out.
        groups: those that have a crop.
    """

    title: str
    column: str
    note: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitView:
    """All that is shown of one split.

    Attributes:
        id: unique on the page; a letter, then a number.
        name: of the split.
        crops: number that was classified.
        failed: number that could not be read, or None where nobody knows.
        locations: number of them, or None where they are not known.
        estimates: by metric; those that are not known are left out.
        matrix: what is taken for what.
        sure: likewise, of crops of at least ``SURE``; None without probabilities.
        labels: one row for each.
        means: over labels.
        confidence: before calibration, and after where it is known; empty without
            probabilities.
        worst: the worst locations.
        slices: day and night, sizes.
        errors: the surest errors.
        crops_by_label: those of the confusion matrix's cells.
        not_shown: number of cells of the matrix of which no crop is shown.
        notes: what a reader should know of the split.
    """

    id: str
    name: str
    crops: int
    failed: int | None = None
    locations: int | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    matrix: Matrix
    sure: Matrix | None = None
    labels: tuple[LabelRow, ...]
    means: tuple[MeanRow, ...]
    confidence: tuple[ConfidenceView, ...] = ()
    worst: tuple[Group, ...] = ()
    slices: tuple[SliceTable, ...] = ()
    errors: tuple[Thumb, ...] = ()
    crops_by_label: tuple[LabelCrops, ...] = ()
    not_shown: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitChanges:
    """What is better and what is worse on a split.

    Attributes:
        id: unique on the page.
        name: of the split.
        crops: number that both runs answered for.
        only_before: number that only the other run answered for.
        only_now: number that only this run answered for.
        overall: by metric.
        labels: what became of each.
        better: number of crops that were wrong and are right now.
        worse: number that were right and are wrong now.
        better_thumbs: some of them, the surest first.
        worse_thumbs: likewise.
    """

    id: str
    name: str
    crops: int
    only_before: int
    only_now: int
    overall: Mapping[str, Change]
    labels: tuple[LabelChange, ...]
    better: int
    worse: int
    better_thumbs: tuple[Thumb, ...]
    worse_thumbs: tuple[Thumb, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        before: name of the other run.
        now: name of this one.
        splits: those that both have.
    """

    before: str
    now: str
    splits: tuple[SplitChanges, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """All that the page shows.

    Attributes:
        title: its heading.
        lead: a sentence or two below it.
        notes: what is missing, or does not fit together.
        splits: the most telling first.
        comparison: with another run, or None.
        thumbnails: number of pictures on the page.
        gone: number of crops that were to be shown and cannot be read.
        seed: of what was drawn.
    """

    title: str
    lead: str
    notes: tuple[str, ...]
    splits: tuple[SplitView, ...]
    comparison: Comparison | None
    thumbnails: int
    gone: int
    seed: int

    @property
    def metrics(self) -> Mapping[str, str]:
        """Returns the name of each metric in words."""
        return METRICS

    @property
    def sure(self) -> float:
        """Returns the confidence of the second confusion matrix."""
        return SURE


def cell_id(split_id: str, true: int, predicted: int) -> str:
    """Returns the id of the section with a cell's crops."""
    return f"{split_id}-{true}-{predicted}"


def view_matrix(
    matrix: NDArray[np.int64],
    labels: Sequence[str],
    split_id: str = "",
    shown: Collection[tuple[int, int]] = (),
) -> Matrix:
    """Lays out a confusion matrix.

    Args:
        matrix: rows are the truth.
        labels: names in id order.
        split_id: of the split, for links.
        shown: (true, predicted) of the cells whose crops the page shows.
    """
    return Matrix(
        tuple(labels),
        tuple(
            _row(label, i, matrix[i], split_id, shown) for i, label in enumerate(labels)
        ),
    )


def _row(
    label: str,
    true: int,
    counts: NDArray[np.int64],
    split_id: str,
    shown: Collection[tuple[int, int]],
) -> MatrixRow:
    total = int(counts.sum())
    cells: list[Cell] = []
    after = 0
    for column in np.flatnonzero(counts).tolist():
        link = cell_id(split_id, true, column) if (true, column) in shown else ""
        cells.append(_cell(column, column - after, int(counts[column]), total, link))
        after = column + 1
    return MatrixRow(
        label,
        total,
        int(counts[true]) / total if total else -1.0,
        tuple(cells),
        len(counts) - after,
        f"{split_id}-{true}" if any(cell.link for cell in cells) else "",
    )


def _cell(column: int, gap: int, crops: int, total: int, link: str) -> Cell:
    share = crops / total
    shade = min(_SHADES, 1 + int(share * _SHADES))
    return Cell(column, gap, crops, percent_text(share), shade, link)


def occurring(
    matrix: NDArray[np.int64], labels: Sequence[str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Returns a confusion matrix without the labels that stand in no cell of it."""
    kept = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    return matrix[np.ix_(kept, kept)], tuple(labels[i] for i in kept.tolist())


def percent_text(share: float) -> str:
    """Writes a share as whole percents, without the sign; never all or none falsely."""
    percents = round(100 * share)
    if percents == 0 and share > 0:
        return "<1"
    if percents == _ALL and share < 1:
        return ">99"
    return f"{percents}"


def label_rows(
    matrix: NDArray[np.int64],
    labels: Sequence[str],
    figures: Sequence[LabelFigures],
    reliabilities: Sequence[tuple[Reliability, Reliability | None]] = (),
) -> tuple[LabelRow, ...]:
    """Lays out the table of labels.

    Args:
        matrix: rows are the truth.
        labels: names in id order.
        figures: of each label.
        reliabilities: before calibration and after, of each label; empty where
            probabilities are not known.
    """
    rows = []
    for i, label in enumerate(labels):
        wrong = np.array(matrix[i])
        wrong[i] = 0
        most = int(wrong.argmax())
        before, after = reliabilities[i] if reliabilities else (None, None)
        rows.append(
            LabelRow(
                label=label,
                figures=figures[i],
                reliability=before,
                calibrated=after,
                mistaken_for=labels[most] if wrong[most] else "",
                mistaken=int(wrong[most]),
            )
        )
    return tuple(rows)


def mean_rows(
    labels: Sequence[str], figures: Sequence[LabelFigures]
) -> tuple[MeanRow, ...]:
    """Returns the means over all labels and, if it has crops, without ``other``."""
    rows = [MeanRow("all labels that have crops", by_label.means(labels, figures))]
    if OTHER in labels and figures[labels.index(OTHER)].crops:
        without = by_label.means(labels, figures, {OTHER})
        rows.append(MeanRow(f"the same without “{OTHER}”", without))
    return tuple(rows)
