"""Puts the results page together: measures, chooses crops, fetches their pictures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts.evaluation import Estimate
from classification.cropping import surveying
from classification.measuring import (
    by_label,
    choosing,
    confidence,
    groups,
    metrics,
)
from classification.reports import evaluated, results_changes, results_plan
from classification.reports.crop_album import Album, thumbs
from classification.reports.evaluated import Locations
from classification.reports.results_page import (
    METRICS,
    SURE,
    CellCrops,
    ConfidenceView,
    LabelCrops,
    Page,
    SliceTable,
    SplitView,
    cell_id,
    label_rows,
    mean_rows,
    occurring,
    view_matrix,
)
from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.measuring.answers import Answers, Guesses
    from classification.measuring.by_label import LabelFigures, Places
    from classification.measuring.confidence import Reliability
    from classification.measuring.groups import Group
    from classification.reports.evaluated import Calibration, Run
    from classification.reports.results_page import Thumb
    from classification.reports.results_plan import Plan, SplitPlan
    from classification.storage import ImageStore

DEFAULT_SAMPLE = 2000

_WORST = 15
_RAW, _CALIBRATED = "as the network gives them", "after calibration"
_LIGHT = ("in colour", "grey: by infrared")
_SIZES_PX = (64, 128, 256, 512)
_SIZES = ("under 64", "64 to 127", "128 to 255", "256 to 511", "512 and more")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the page is made of.

    Attributes:
        logdir: the evaluation.
        splits: names of those to show; empty for all.
        store: the crops, or None where nobody knows where they are.
        dataset_csv: the training set's table, or None where nobody knows where it is.
        calibration: what is done to probabilities, or None.
        other: another evaluation to compare with, or None.
        thumbnails: pictures on the page, at most.
        sample: crops of each split that are looked at for their light and size.
        seed: of what is drawn.
        lead: a sentence below the title.
        notes: what the command knows to be missing.
    """

    logdir: Path
    splits: Sequence[str] = ()
    store: ImageStore | None = None
    dataset_csv: Path | None = None
    calibration: Calibration | None = None
    other: Path | None = None
    thumbnails: int = results_plan.DEFAULT_THUMBNAILS
    sample: int = DEFAULT_SAMPLE
    seed: int = 0
    lead: str = ""
    notes: Sequence[str] = field(default_factory=tuple)


def assemble(source: Source) -> Page:
    """Reads, measures, and lays out the page.

    Raises:
        ArtifactError: a file is missing or breaks its format.
        ConfigurationError: files do not belong together.
        StorageError: a folder cannot be read.
    """
    run = evaluated.read(
        source.logdir, wanted=source.splits, calibration=source.calibration
    )
    other = None if source.other is None else evaluated.read(source.other)
    where = None if source.dataset_csv is None else Locations(source.dataset_csv)
    pairs = {} if other is None else results_changes.pair_splits(other, run)
    plan = results_plan.plan(
        run.answers,
        pairs,
        thumbnails=source.thumbnails if source.store else 0,
        seed=source.seed,
    )
    names = results_plan.names_of(plan, run.answers, pairs)
    album = Album(names, source.store)
    splits = [
        _SplitDesk(source, run, split, f"s{number}", where, album).view(plan)
        for number, split in enumerate(run.splits)
    ]
    comparison = None
    if other is not None:
        desk = results_changes.Desk(pairs, plan.changes, where, album)
        comparison = results_changes.compare(other, run, desk)
    return Page(
        title=f"Results of {run.name}",
        lead=source.lead,
        notes=(*source.notes, *run.notes),
        splits=tuple(splits),
        comparison=comparison,
        thumbnails=sum(album.find(name)[0] is not None for name in names),
        gone=album.gone,
        seed=source.seed,
    )


@dataclass(frozen=True, slots=True)
class _SplitDesk:
    """What is at hand while a split is laid out."""

    source: Source
    run: Run
    split: str
    id: str
    where: Locations | None
    album: Album

    def view(self, plan: Plan) -> SplitView:
        matrix = self.run.matrices[self.split]
        figures = by_label.figures(matrix)
        answers = self.run.answers.get(self.split)
        if answers is None:
            return self._without_answers(matrix, figures)
        return self._with_answers(answers, figures, plan.splits[self.split])

    def _without_answers(
        self, matrix: NDArray[np.int64], figures: Sequence[LabelFigures]
    ) -> SplitView:
        labels = self.run.labels
        known, notes = self._estimates(int(matrix.sum()), _of_matrix(matrix))
        return SplitView(
            id=self.id,
            name=self.split,
            crops=int(matrix.sum()),
            estimates=known,
            matrix=view_matrix(matrix, labels),
            labels=label_rows(matrix, labels, figures),
            means=mean_rows(labels, figures),
            worst=self._worst_as_written(),
            notes=notes,
        )

    def _with_answers(
        self, answers: Answers, figures: Sequence[LabelFigures], plan: SplitPlan
    ) -> SplitView:
        labels, matrix = self.run.labels, answers.matrix
        places, notes = self._places(answers)
        known, more = self._estimates(len(answers), _of_answers(answers, places))
        slices, unread = self._slices(answers)
        if places is not None:
            figures = _located(answers, figures, places)
        thumb = thumbs(answers, places, self.album)
        failed = self.run.metrics and self.run.metrics.splits.get(self.split)
        return SplitView(
            id=self.id,
            name=self.split,
            crops=len(answers),
            failed=failed.failed if failed else None,
            locations=None if places is None else len(places.names),
            estimates=known,
            matrix=view_matrix(matrix, labels, self.id, plan.cells.keys()),
            sure=view_matrix(*occurring(answers.sure_matrix(SURE), labels)),
            labels=label_rows(matrix, labels, figures, _reliabilities(answers)),
            means=mean_rows(labels, figures),
            confidence=_confidence(answers, self.source.calibration),
            worst=self._worst(answers, places),
            slices=slices,
            errors=tuple(thumb(int(place)) for place in plan.errors),
            crops_by_label=_crops_by_label(self.id, matrix, labels, plan, thumb),
            not_shown=int(np.count_nonzero(matrix)) - len(plan.cells),
            notes=(*notes, *more, *unread),
        )

    def _estimates(
        self, crops: int, computed: Mapping[str, float | None]
    ) -> tuple[dict[str, Estimate], tuple[str, ...]]:
        """Returns what metrics.json says, if it is of these crops, or what we found."""
        own = {name: Estimate(value=value) for name, value in computed.items()}
        if self.run.metrics is None:
            return own, ("metrics.json is missing: numbers have no intervals",)
        written = self.run.metrics.splits.get(self.split)
        if written is None:
            return own, ("metrics.json lacks this split: numbers have no intervals",)
        if written.crops != crops:
            note = (
                f"metrics.json is of {written.crops} crops, not of these {crops}: it is "
                "passed over, and numbers have no intervals"
            )
            return own, (note,)
        return {name: getattr(written, name) for name in METRICS}, ()

    def _places(self, answers: Answers) -> tuple[Places | None, tuple[str, ...]]:
        if self.where is None:
            return None, ()
        places, lacking = self.where.of(answers.names)
        if not lacking:
            return places, ()
        return places, (f"{lacking} crops are not in classification_ds.csv",)

    def _worst(self, answers: Answers, places: Places | None) -> tuple[Group, ...]:
        if places is None:
            return self._worst_as_written()
        found = groups.by_group(places.codes, places.names, answers.right)
        return groups.worst(found, _WORST)

    def _worst_as_written(self) -> tuple[Group, ...]:
        found = evaluated.location_groups(self.source.logdir, self.split)
        return groups.worst(found, _WORST)

    def _slices(
        self, answers: Answers
    ) -> tuple[tuple[SliceTable, ...], tuple[str, ...]]:
        if self.source.store is None or not self.source.sample:
            return (), ()
        drawn = choosing.draw(
            answers.names,
            np.arange(len(answers)),
            self.source.sample,
            self.source.seed,
        )
        names = [answers.names[int(place)] for place in drawn]
        light, size = np.full((2, len(names)), -1)
        seen = surveying.survey(names, self.source.store)
        for index, (_, one) in enumerate(seen):
            if not isinstance(one, ItemError):
                light[index] = int(one.is_grey)
                shorter = min(one.width, one.height)
                size[index] = np.searchsorted(_SIZES_PX, shorter, side="right")
        return slice_tables(
            light, size, answers.right[drawn], total=len(answers)
        ), _unread(int((light < 0).sum()), len(names))


def _unread(failed: int, total: int) -> tuple[str, ...]:
    if not failed:
        return ()
    return (f"{failed} of the {total} crops looked at cannot be read",)


def slice_tables(
    light: NDArray[np.int64],
    size: NDArray[np.int64],
    right: NDArray[np.bool_],
    *,
    total: int,
) -> tuple[SliceTable, ...]:
    """Lays out accuracy by light and by size.

    Args:
        light: 1 for grey, 0 for colour, -1 where it is not known.
        size: number of the class of size, or -1.
        right: says which crops are right.
        total: number of crops that these were drawn from.
    """
    drawn = "" if len(right) == total else f" Of {len(right)} crops drawn from {total}."
    return (
        SliceTable(
            "By day and by night",
            "Light",
            "A crop without any colour of its own was taken by infrared, at night. A "
            "flash of white light makes night pictures in colour: they count as such."
            + drawn,
            groups.by_group(light, _LIGHT, right),
        ),
        SliceTable(
            "By size",
            "Shorter side, pixels",
            "Small crops are of animals far away, or of parts of them." + drawn,
            groups.by_group(size, _SIZES, right),
        ),
    )


def _of_matrix(matrix: NDArray[np.int64]) -> dict[str, float | None]:
    total = int(matrix.sum())
    return {
        "acc_top1": _known(int(np.trace(matrix)) / total if total else np.nan),
        "balanced_accuracy": _known(metrics.balanced_accuracy(matrix)),
        "macro_f1": _known(metrics.macro_f1(matrix)),
    }


def _of_answers(answers: Answers, places: Places | None) -> dict[str, float | None]:
    sums = metrics.bin_sums(answers.guesses.confidence, answers.right)
    found = _of_matrix(answers.matrix)
    top3 = answers.among_top3
    found["acc_top3"] = float(top3.mean()) if len(top3) else None
    found["calibration_error"] = _known(float(metrics.calibration_of_counts(*sums)))
    if places is not None and len(answers):
        found["location_accuracy"] = float(
            np.mean(
                [
                    group.accuracy
                    for group in groups.by_group(
                        places.codes, places.names, answers.right
                    )
                ]
            )
        )
    return {name: found[name] for name in METRICS if name in found}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _located(
    answers: Answers, figures: Sequence[LabelFigures], places: Places
) -> list[LabelFigures]:
    """Adds to the figures what is known from locations."""
    size = len(answers.labels)
    intervals = by_label.f1_intervals(
        answers.true, answers.guesses.predicted, size, places
    )
    counts = by_label.locations_of(answers.true, size, places)
    return [
        replace(one, f1=replace(one.f1, interval=interval), locations=count)
        for one, interval, count in zip(figures, intervals, counts, strict=True)
    ]


def _reliabilities(answers: Answers) -> list[tuple[Reliability, Reliability | None]]:
    """Returns the reliability of the crops that are taken for each label."""
    after = answers.calibrated
    return [
        (
            _of_label(answers, answers.guesses, label),
            None if after is None else _of_label(answers, after, label),
        )
        for label in range(len(answers.labels))
    ]


def _of_label(answers: Answers, guesses: Guesses, label: int) -> Reliability:
    taken = guesses.predicted == label
    return confidence.reliability(
        guesses.confidence[taken], answers.true[taken] == label
    )


def _confidence(
    answers: Answers, calibration: Calibration | None
) -> tuple[ConfidenceView, ...]:
    views = [_view_confidence(answers, answers.guesses, _RAW)]
    if answers.calibrated is not None and calibration is not None:
        title = f"{_CALIBRATED}: {calibration.title}"
        views.append(_view_confidence(answers, answers.calibrated, title))
    return tuple(views)


def _view_confidence(answers: Answers, guesses: Guesses, title: str) -> ConfidenceView:
    right = guesses.predicted == answers.true
    return ConfidenceView(
        title=title,
        reliability=confidence.reliability(guesses.confidence, right),
        kept=confidence.kept(guesses.confidence, right),
        line=confidence.coverage_line(guesses.confidence, right),
    )


def _crops_by_label(
    split_id: str,
    matrix: NDArray[np.int64],
    labels: Sequence[str],
    plan: SplitPlan,
    thumb: Callable[[int], Thumb],
) -> tuple[LabelCrops, ...]:
    cells_of: dict[int, list[CellCrops]] = {}
    frequent = sorted(plan.cells, key=lambda cell: (cell[0], -matrix[cell], cell[1]))
    for true, predicted in frequent:
        cells_of.setdefault(true, []).append(
            CellCrops(
                cell_id(split_id, true, predicted),
                labels[predicted],
                int(matrix[true, predicted]),
                tuple(thumb(int(place)) for place in plan.cells[true, predicted]),
                true == predicted,
            )
        )
    return tuple(
        LabelCrops(f"{split_id}-{true}", labels[true], tuple(cells))
        for true, cells in cells_of.items()
    )
