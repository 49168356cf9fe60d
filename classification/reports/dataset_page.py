"""The page of a training set: what is in it, and what may be wrong with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.cropping import infrared
from classification.dataset import describing, split_rules
from classification.dataset.comparing import ABSENT
from classification.dataset.counts import SPLITS
from classification.dataset.near_duplicates import DISTANCE
from classification.dataset.timing import HOURS
from classification.reports.column_chart import ColumnChart, column_chart
from classification.reports.dataset_findings import Finding, findings
from classification.reports.detections_page import Count, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from classification.artifacts.splits import Location
    from classification.dataset.comparing import Overlap
    from classification.dataset.describing import Confidences
    from classification.dataset.timing import Timing
    from classification.reports.dataset_figures import Figures
    from classification.reports.pictures import InlinePicture

TEMPLATE = "dataset.html.j2"
SCRIPTS = ("tables.js",)

MOST_FAILURES = 500
MOST_LOCATIONS = 25
MOST_DATASETS = 6
MOST_MOVED = 50

_BAR = 100.0
_DOTS = 200.0
_NO_SPLIT = "none"
_COLOUR_BINS = 48
_COLOUR_STEP = 0.5  # levels of a bin


@dataclass(frozen=True, slots=True)
class Cell:
    """What a split has of a label.

    Attributes:
        count: crops, or locations.
        share: part of the label's total, in [0, 1].
        is_extreme: too little, by ``split_rules``.
    """

    count: int
    share: float
    is_extreme: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar that is 100 wide: where it begins, how wide it is, whose it is."""

    x: float
    width: float
    split: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRow:
    """A label in all splits; ``weight`` is None where it has no crop in a split."""

    number: int
    label: str
    crops: tuple[Cell, ...]
    locations: tuple[Cell, ...]
    weight: float | None
    bar: tuple[Segment, ...]

    @property
    def total_crops(self) -> int:
        """Returns the crops of all splits."""
        return sum(cell.count for cell in self.crops)

    @property
    def total_locations(self) -> int:
        """Returns the locations of all splits."""
        return sum(cell.count for cell in self.locations)


@dataclass(frozen=True, slots=True)
class Shot:
    """A crop that is shown.

    Attributes:
        path: its name.
        split: or ``none``.
        location: where it was taken.
        labels: what it is said to show.
        picture: None where it cannot be read.
        reason: why not.
    """

    path: str
    split: str
    location: Location
    labels: tuple[str, ...]
    picture: InlinePicture | None
    reason: str


@dataclass(frozen=True, slots=True)
class Samples:
    """Some crops of a label, and how many it has."""

    number: int
    label: str
    shots: tuple[Shot, ...]
    crops: int


@dataclass(frozen=True, slots=True)
class ShownPair:
    """Two crops that look alike; ``distance`` bits of their hashes differ."""

    first: Shot
    second: Shot
    distance: int

    @property
    def labels_differ(self) -> bool:
        """Says whether the two are said to show different animals."""
        return self.first.labels != self.second.labels


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicatesView:
    """What looks alike across splits.

    Attributes:
        pairs: how many there are.
        shown: some of them.
        crops: how many crops of a split have their like in another: both splits, how
            many, and of how many.
        flat: crops too flat to be compared.
        distance: the most bits that differ.
    """

    pairs: int
    shown: tuple[ShownPair, ...]
    crops: tuple[tuple[str, str, int, int], ...]
    flat: int
    distance: int


@dataclass(frozen=True, slots=True)
class MixRow:
    """What part of each split a label is; ``dots`` say where, on a scale of 200."""

    label: str
    shares: tuple[float, ...]
    dots: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class ConfidenceRow:
    """How sure the detector was of a label."""

    label: str
    summary: Confidences

    @property
    def is_known(self) -> bool:
        """Says whether there is a box of a detector."""
        return self.summary.detected > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class NightRow:
    """How many crops are coloured, and how many grey."""

    name: str
    day: int
    night: int

    @property
    def share(self) -> float:
        """Returns the part that is grey, in [0, 1]."""
        return self.night / max(1, self.day + self.night)

    @property
    def is_mixed(self) -> bool:
        """Says whether there are both."""
        return bool(self.day and self.night)


@dataclass(frozen=True, kw_only=True, slots=True)
class NightView:
    """Day and night, by colour.

    Attributes:
        crops: of all crops that could be read.
        splits: of each split.
        labels: of each label.
        chart: how many crops have how much colour.
        threshold: below it a crop is grey.
    """

    crops: NightRow
    splits: tuple[NightRow, ...]
    labels: tuple[NightRow, ...]
    chart: ColumnChart
    threshold: float


@dataclass(frozen=True, slots=True)
class TimeRow:
    """When the images of a label or split were taken; ``strip`` is 24 shades."""

    name: str
    timing: Timing
    strip: tuple[float, ...]

    @property
    def per_sequence(self) -> float:
        """Returns how many images a sequence has, on average; NaN without any."""
        timing = self.timing
        if not timing.sequences:
            return math.nan
        return timing.with_sequence / timing.sequences


@dataclass(frozen=True, kw_only=True, slots=True)
class TimesView:
    """Sequences, days and hours.

    Attributes:
        splits: of each split.
        labels: of each label.
        chart: images of each hour, or None where no hour is known.
        known: images that the metadata store has.
        images: all of them.
        is_told: the store knows sequence or day of some of them.
    """

    splits: tuple[TimeRow, ...]
    labels: tuple[TimeRow, ...]
    chart: ColumnChart | None
    known: int
    images: int
    is_told: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceRow:
    """How the crops of a label spread over locations; ``strip`` is a shade per bin."""

    label: str
    locations: int
    median: float
    most: int
    most_share: float
    strip: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TopLocation:
    """A location with many crops, and its commonest labels."""

    location: Location
    split: str
    crops: int
    share: float
    labels: tuple[tuple[str, int], ...]
    more: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacesView:
    """Crops per location.

    Attributes:
        chart: how many locations have how many crops.
        bins: the fewest crops of each bin of chart and strips.
        labels: of each label.
        top: the locations with the most crops.
        locations: number of all.
    """

    chart: ColumnChart
    bins: tuple[int, ...]
    labels: tuple[PlaceRow, ...]
    top: tuple[TopLocation, ...]
    locations: int


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A dataset: crops in each split, and labels."""

    name: str
    crops: tuple[int, ...]
    labels: int


@dataclass(frozen=True, slots=True)
class LabelDatasets:
    """The datasets of a label: for each split the largest, and how many more."""

    label: str
    datasets: int
    splits: tuple[tuple[tuple[tuple[str, int], ...], int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OverlapView:
    """Two splits files: numbers of locations by split here (row) and there (column)."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    moved: tuple[tuple[Location, str, str], ...]
    more: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page shows.

    Attributes:
        title: its heading.
        counts: the numbers of its head.
        findings: what to know first.
        splits: their names.
        split_counts: crops and locations of each split.
        labels: in all splits, by name.
        mix: what part of each split each label is.
        samples: crops of each label.
        per_label: how many crops each label could show.
        wanted_per_label: how many it was to show.
        duplicates: None where crops were not opened.
        confidences: by label.
        night: None where crops were not opened.
        times: None without a metadata store.
        places: crops per location.
        datasets: by name; empty where there is one.
        label_datasets: by label; empty where there is one dataset.
        overlap: with another splits file, or None.
        failures: crops that cannot be read, the first of them.
        all_failures: how many there are.
        seed: of the samples.
    """

    title: str
    counts: tuple[Count, ...]
    findings: tuple[Finding, ...]
    split_counts: tuple[tuple[str, int, int], ...]
    labels: tuple[LabelRow, ...]
    mix: tuple[MixRow, ...]
    samples: tuple[Samples, ...]
    per_label: int
    wanted_per_label: int
    duplicates: DuplicatesView | None
    confidences: tuple[ConfidenceRow, ...]
    night: NightView | None
    times: TimesView | None
    places: PlacesView
    datasets: tuple[DatasetRow, ...]
    label_datasets: tuple[LabelDatasets, ...]
    overlap: OverlapView | None
    failures: tuple[Failure, ...]
    all_failures: int
    seed: int
    splits: tuple[str, ...] = SPLITS

    @property
    def has_confidences(self) -> bool:
        """Says whether there is any box of a detector."""
        return any(row.is_known for row in self.confidences)


def page(figures: Figures, *, name: str, per_label: int, wanted_per_label: int) -> Page:
    """Lays out the page of a training set.

    Args:
        figures: its numbers and pictures.
        name: of its folder.
        per_label: how many crops there is room for, of each label.
        wanted_per_label: how many there were to be.
    """
    several = len(figures.datasets) > 1
    return Page(
        title=f"Training set {name}",
        counts=_counts(figures),
        findings=findings(figures),
        split_counts=_split_counts(figures),
        labels=label_rows(figures.columns.labels, figures.crops, figures.locations),
        mix=mix_rows(figures.columns.labels, figures.crops),
        samples=_samples(figures),
        per_label=per_label,
        wanted_per_label=wanted_per_label,
        duplicates=_duplicates(figures),
        confidences=_confidences(figures),
        night=_night(figures),
        times=_times(figures),
        places=_places(figures),
        datasets=_datasets(figures) if several else (),
        label_datasets=_label_datasets(figures) if several else (),
        overlap=None if figures.overlap is None else overlap_view(figures.overlap),
        failures=tuple(Failure(*one) for one in figures.failures[:MOST_FAILURES]),
        all_failures=len(figures.failures),
        seed=figures.seed,
    )


def _counts(figures: Figures) -> tuple[Count, ...]:
    columns = figures.columns
    numbers = (
        (len(columns), "crops"),
        (columns.images, "images"),
        (len(columns.labels), "labels"),
        (len(columns.locations), "locations"),
        (len(figures.datasets), "datasets"),
        (len(figures.failures), "crops that cannot be read"),
    )
    return tuple(
        Count(number, what.removesuffix("s") if number == 1 else what)
        for number, what in numbers
        if number
    )


def _split_counts(figures: Figures) -> tuple[tuple[str, int, int], ...]:
    of_crops, of_locations = (
        np.bincount(split[split >= 0], minlength=len(SPLITS)).tolist()
        for split in (
            figures.columns.split,
            describing.split_of_locations(figures.columns),
        )
    )
    return tuple(zip(SPLITS, of_crops, of_locations, strict=True))


def label_rows(
    labels: Sequence[str], crops: NDArray[np.int64], locations: NDArray[np.int64]
) -> tuple[LabelRow, ...]:
    """Returns a row for each label.

    Args:
        labels: names.
        crops: of each label in each split, [labels, 3].
        locations: of each label in each split, [labels, 3].
    """
    of_crops = _cells(crops, split_rules.extreme_crops(crops))
    of_locations = _cells(locations, split_rules.extreme_locations(locations))
    weights = describing.approximate_weights(crops.sum(axis=1)).tolist()
    scale = _BAR / max(1, int(crops.sum(axis=1).max(initial=0)))
    return tuple(
        LabelRow(
            number=number,
            label=label,
            crops=of_crops[number],
            locations=of_locations[number],
            weight=None if math.isnan(weights[number]) else weights[number],
            bar=_bar(crops[number].tolist(), scale),
        )
        for number, label in enumerate(labels)
    )


def _cells(
    counts: NDArray[np.int64], extreme: NDArray[np.bool_]
) -> list[tuple[Cell, ...]]:
    rows = zip(
        counts.tolist(),
        split_rules.shares(counts).tolist(),
        extreme.tolist(),
        strict=True,
    )
    return [tuple(map(Cell, *row)) for row in rows]


def _bar(counts: Sequence[int], scale: float) -> tuple[Segment, ...]:
    ends = np.cumsum([0, *counts])
    return tuple(
        Segment(round(scale * start, 2), round(scale * count, 2), split)
        for start, count, split in zip(ends.tolist(), counts, SPLITS, strict=False)
        if count
    )


def mix_rows(labels: Sequence[str], crops: NDArray[np.int64]) -> tuple[MixRow, ...]:
    """Returns what part of each split each label is; crops are [labels, 3]."""
    shares = crops / np.maximum(crops.sum(axis=0), 1)
    scale = _DOTS / max(float(shares.max(initial=0)), 1e-9)
    return tuple(
        MixRow(
            label,
            tuple(row),
            tuple(
                Segment(round(scale * share, 2), 0, split)
                for share, split in zip(row, SPLITS, strict=True)
            ),
        )
        for label, row in zip(labels, shares.tolist(), strict=True)
    )


def _samples(figures: Figures) -> tuple[Samples, ...]:
    totals = np.bincount(
        figures.columns.label, minlength=len(figures.columns.labels)
    ).tolist()
    return tuple(
        Samples(
            number,
            label,
            tuple(_shot(figures, row) for row in figures.samples[number].tolist()),
            totals[number],
        )
        for number, label in enumerate(figures.columns.labels)
    )


def _shot(figures: Figures, row: int) -> Shot:
    columns, picture = figures.columns, figures.pictures[row]
    split = int(columns.split[row])
    first, end = np.searchsorted(columns.row, [row, row + 1])
    return Shot(
        path=columns.paths[row],
        split=SPLITS[split] if split >= 0 else _NO_SPLIT,
        location=columns.locations[columns.location[row]],
        labels=tuple(columns.labels[label] for label in columns.label[first:end]),
        picture=None if isinstance(picture, str) else picture,
        reason=picture if isinstance(picture, str) else "",
    )


def _duplicates(figures: Figures) -> DuplicatesView | None:
    found, seen = figures.duplicates, figures.looks
    if found is None or seen is None:
        return None

    totals = [total for _, total, _ in _split_counts(figures)]
    return DuplicatesView(
        pairs=found.total,
        shown=tuple(
            ShownPair(
                _shot(figures, pair.first), _shot(figures, pair.second), pair.distance
            )
            for pair in found.shown
        ),
        crops=tuple(
            (SPLITS[s], SPLITS[t], int(found.crops[s, t]), totals[s])
            for s in range(len(SPLITS))
            for t in range(len(SPLITS))
            if found.crops[s, t]
        ),
        flat=int(np.count_nonzero(seen.flat)),
        distance=DISTANCE,
    )


def _confidences(figures: Figures) -> tuple[ConfidenceRow, ...]:
    pairs = zip(figures.columns.labels, figures.confidences, strict=True)
    return tuple(ConfidenceRow(label, summary) for label, summary in pairs)


def _night(figures: Figures) -> NightView | None:
    if figures.looks is None:
        return None
    columns, readable, grey = (
        figures.columns,
        figures.looks.readable,
        figures.looks.grey,
    )
    labels = zip(columns.labels, describing.rows_by_label(columns), strict=True)
    splits = [
        (split, np.flatnonzero(columns.split == place))
        for place, split in enumerate(SPLITS)
    ]

    def row(name: str, rows: NDArray[np.int64]) -> NightRow:
        night = int(np.count_nonzero(grey[rows]))
        seen = int(np.count_nonzero(readable[rows]))
        return NightRow(name=name, day=seen - night, night=night)

    return NightView(
        crops=row("all", np.arange(len(columns))),
        splits=tuple(row(*one) for one in splits),
        labels=tuple(row(*one) for one in labels),
        chart=colour_chart(figures.looks.own_colour[readable]),
        threshold=infrared.GREY,
    )


def colour_chart(own_colour: NDArray[np.float32]) -> ColumnChart:
    """Shows how many crops have how much colour of their own, float32 [crops]."""
    bins = np.minimum((own_colour / _COLOUR_STEP).astype(np.int64), _COLOUR_BINS - 1)
    counts = np.bincount(bins, minlength=_COLOUR_BINS).tolist()
    *lows, last = [_COLOUR_STEP * place for place in range(_COLOUR_BINS)]
    names = [f"{low} to {low + _COLOUR_STEP}" for low in lows]
    return column_chart(
        [
            (0, count) if low >= infrared.GREY else (count, 0)
            for low, count in zip([*lows, last], counts, strict=True)
        ],
        names=[*names, f"{last} or more"],
        series=("grey crops (night)", "coloured crops (day)"),
        ticks=[(at, f"{_COLOUR_STEP * at:g}") for at in range(0, _COLOUR_BINS, 4)],
        marks=(infrared.GREY / _COLOUR_STEP,),
    )


def _times(figures: Figures) -> TimesView | None:
    times = figures.times
    if times is None:
        return None
    pairs = zip(figures.columns.labels, times.by_label, strict=True)
    moments = (times.moments.sequence, times.moments.day)  # an hour has a day
    return TimesView(
        splits=tuple(_time_row(*one) for one in times.by_split.items()),
        labels=tuple(_time_row(*one) for one in pairs),
        chart=_hours_chart(figures),
        known=times.known,
        images=figures.columns.images,
        is_told=any(bool((one >= 0).any()) for one in moments),
    )


def _time_row(name: str, timing: Timing) -> TimeRow:
    return TimeRow(name, timing, shades(timing.hours))


def shades(counts: NDArray[np.int64]) -> tuple[float, ...]:
    """Returns how dark each cell of a strip is, from 0 to 1, the largest 1."""
    top = max(1, int(counts.max(initial=0)))
    return tuple(round(count / top, 2) for count in counts.tolist())


def _hours_chart(figures: Figures) -> ColumnChart | None:
    """Shows images by hour; where colours are known, crops by hour and colour."""
    if figures.times is None:
        return None
    hour = figures.times.moments.hour
    if not (hour >= 0).any():
        return None
    if figures.looks is None:
        counts = np.bincount(hour[hour >= 0], minlength=HOURS)[:, None]
        series: tuple[str, ...] = ("images",)
    else:
        of_crop = hour[figures.columns.image]
        known = (of_crop >= 0) & figures.looks.readable
        grey = figures.looks.grey
        parts = [of_crop[known & grey], of_crop[known & ~grey]]
        counts = np.stack([np.bincount(part, minlength=HOURS) for part in parts], 1)
        series = ("grey crops (night)", "coloured crops (day)")
    return column_chart(
        counts.tolist(),
        names=[f"{hour:02d}:00 to {hour:02d}:59" for hour in range(HOURS)],
        series=series,
        ticks=[(float(at), f"{at:02d}:00") for at in range(0, HOURS, 3)],
    )


def _places(figures: Figures) -> PlacesView:
    columns = figures.columns
    crops = np.bincount(columns.location, minlength=len(columns.locations))
    bins = _bins(int(crops.max(initial=1)))
    split = describing.split_of_locations(columns)
    place = np.searchsorted(bins, crops, "right") - 1
    counts = [
        np.bincount(place[split == number], minlength=len(bins)).tolist()
        for number in range(len(SPLITS))
    ]
    names = [_bin_name(bins, number) for number in range(len(bins))]
    return PlacesView(
        chart=column_chart(
            list(zip(*counts, strict=True)),
            names=[f"{name} crops" for name in names],
            series=[f"locations of {split}" for split in SPLITS],
            ticks=[(at + 0.5, name) for at, name in enumerate(names)],
        ),
        bins=bins,
        labels=tuple(
            _place_row(figures, number, bins) for number in range(len(columns.labels))
        ),
        top=_top_locations(figures, crops),
        locations=len(columns.locations),
    )


def _bins(largest: int) -> tuple[int, ...]:
    """Returns powers of two up to ``largest``, at least 1."""
    return tuple(1 << power for power in range(largest.bit_length()))


def _bin_name(bins: Sequence[int], number: int) -> str:
    low, high = bins[number], 2 * bins[number] - 1
    return f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}"


def _place_row(figures: Figures, label: int, bins: Sequence[int]) -> PlaceRow:
    crops = figures.where.crops[figures.where.of(label)]
    place = np.searchsorted(bins, crops, "right") - 1
    return PlaceRow(
        label=figures.columns.labels[label],
        locations=len(crops),
        median=float(np.median(crops)),
        most=int(crops.max()),
        most_share=float(crops.max() / crops.sum()),
        strip=shades(np.bincount(place, minlength=len(bins))),
    )


def _top_locations(
    figures: Figures, crops: NDArray[np.int64]
) -> tuple[TopLocation, ...]:
    columns, where = figures.columns, figures.where
    split = describing.split_of_locations(columns)
    order = np.argsort(-crops, kind="stable")[:MOST_LOCATIONS]
    found = []
    for number in order.tolist():
        own = np.flatnonzero(where.location == number)
        best = own[np.argsort(-where.crops[own], kind="stable")]
        found.append(
            TopLocation(
                columns.locations[number],
                SPLITS[split[number]] if split[number] >= 0 else _NO_SPLIT,
                int(crops[number]),
                float(crops[number] / len(columns)),
                tuple(
                    (columns.labels[where.label[place]], int(where.crops[place]))
                    for place in best[:MOST_DATASETS].tolist()
                ),
                max(0, len(own) - MOST_DATASETS),
            )
        )
    return tuple(found)


def _datasets(figures: Figures) -> tuple[DatasetRow, ...]:
    crops = figures.by_dataset
    return tuple(
        DatasetRow(
            name,
            tuple(crops[:, number].sum(axis=0).tolist()),
            int(np.count_nonzero(crops[:, number].sum(axis=1))),
        )
        for number, name in enumerate(figures.datasets)
    )


def _label_datasets(figures: Figures) -> tuple[LabelDatasets, ...]:
    return tuple(
        LabelDatasets(
            label,
            int(np.count_nonzero(figures.by_dataset[number].sum(axis=1))),
            tuple(
                _largest(figures.datasets, figures.by_dataset[number, :, split])
                for split in range(len(SPLITS))
            ),
        )
        for number, label in enumerate(figures.columns.labels)
    )


def _largest(
    names: Sequence[str], counts: NDArray[np.int64]
) -> tuple[tuple[tuple[str, int], ...], int]:
    """Returns the names of the largest counts, and how many more are above 0."""
    order = np.argsort(-counts, kind="stable")[:MOST_DATASETS].tolist()
    shown = tuple(
        (names[place], int(counts[place])) for place in order if counts[place]
    )
    return shown, int(np.count_nonzero(counts)) - len(shown)


def overlap_view(overlap: Overlap) -> OverlapView:
    """Lays out how two splits files differ."""
    names = (*SPLITS, ABSENT)
    return OverlapView(
        names=names,
        rows=tuple(
            (here, tuple(overlap.locations[here, there] for there in names))
            for here in names
        ),
        moved=overlap.moved[:MOST_MOVED],
        more=max(0, len(overlap.moved) - MOST_MOVED),
    )
