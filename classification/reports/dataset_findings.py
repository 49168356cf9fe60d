"""What a person should know of a training set before anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from classification.dataset import split_rules
from classification.dataset.counts import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from classification.reports.dataset_figures import Figures

Weight = Literal["bad", "warn", "note"]

MOST_NAMES = 6
_TRAIN = SPLITS.index("train")
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know.

    Attributes:
        weight: ``bad`` where a figure of the classifier would be wrong, ``warn`` where
            it would be shaky, else ``note``.
        text: a sentence or two.
        anchor: of the section that shows it.
        names: whom it concerns, the first of them.
        more: how many more there are.
    """

    weight: Weight
    text: str
    anchor: str
    names: tuple[str, ...] = ()
    more: int = 0


def findings(figures: Figures) -> tuple[Finding, ...]:
    """Returns all there is to know, what matters most first."""
    found = [
        *_crops(figures),
        *_leaks(figures),
        *_missing(figures),
        *_few(figures),
        *_one_place(figures),
    ]
    order: dict[Weight, int] = {"bad": 0, "warn": 1, "note": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.weight]))


def _crops(figures: Figures) -> Iterator[Finding]:
    if failures := len(figures.failures):
        yield Finding(
            "bad",
            f"{_crops_that(failures)} cannot be read, and training has to go without.",
            "unreadable",
        )
    if outside := int(np.count_nonzero(figures.columns.split < 0)):
        yield Finding(
            "bad",
            f"{_crops_that(outside)} of locations that splits.json does not have: in no "
            "split, and in no count by split below.",
            "splits",
        )
    if several := figures.columns.several_labels:
        yield Finding(
            "note",
            f"{_crops_that(several)} with several labels: counted once for each.",
            "splits",
        )


def _leaks(figures: Figures) -> Iterator[Finding]:
    if figures.times is not None and figures.times.torn:
        yield Finding(
            "bad",
            f"Sequences with images in more than one split: {figures.times.torn:,}; "
            "create_classification_dataset --megadb keeps each in one.",
            "times",
        )
    if figures.duplicates is None:
        return
    for place, split in enumerate(SPLITS):
        alike = int(figures.duplicates.crops[place, _TRAIN])
        if place != _TRAIN and alike:
            total = int(np.count_nonzero(figures.columns.split == place))
            yield Finding(
                "bad",
                f"Crops of {split} that look nearly the same as one of train: {alike:,} "
                f"of {total:,}; {split} is easier than new places will be.",
                "duplicates",
            )


def _missing(figures: Figures) -> Iterator[Finding]:
    for place, split in enumerate(SPLITS):
        absent = figures.crops[:, place] == 0
        if absent.all():
            yield Finding("note", f"{split} has no crop at all.", "splits")
        elif absent.any():
            yield _about(
                figures, absent, "bad", f"{split} has no crop of {_labels(absent)}"
            )


def _few(figures: Figures) -> Iterator[Finding]:
    crops = split_rules.extreme_crops(figures.crops)
    locations = split_rules.extreme_locations(figures.locations)
    for place, split in enumerate(SPLITS):
        present = figures.crops[:, place] > 0
        few = crops[:, place] & present
        if few.any():
            least = split_rules.LEAST_CROPS[split]
            share = split_rules.LEAST_CROP_SHARE[split]
            rule = f"fewer than {least:,}, and less than {share:.0%} of the label's"
            text = f"{split} has few crops of {_labels(few)} ({rule})"
            yield _about(figures, few, "warn", text)
        few = locations[:, place] & present
        if few.any():
            least = split_rules.LEAST_LOCATIONS[split]
            share = split_rules.LEAST_LOCATION_SHARE[split]
            rule = f"fewer than {least:,}, or less than {share:.0%} of the label's"
            text = f"{split} has few locations of {_labels(few)} ({rule})"
            yield _about(figures, few, "warn", text)


def _one_place(figures: Figures) -> Iterator[Finding]:
    where = figures.where
    alone = np.zeros(len(figures.columns.labels), np.bool_)
    for label in range(len(alone)):
        crops = where.crops[where.of(label)]
        alone[label] = len(crops) > 1 and crops.max() > _HALF * crops.sum()
    if alone.any():
        text = f"One location has more than half of all crops of {_labels(alone)}"
        yield _about(figures, alone, "note", text, anchor="places")


def _crops_that(count: int) -> str:
    return f"{count:,} crop" if count == 1 else f"{count:,} crops"


def _labels(chosen: NDArray[np.bool_]) -> str:
    count = int(chosen.sum())
    return f"{count} label" if count == 1 else f"{count} labels"


def _about(
    figures: Figures,
    chosen: NDArray[np.bool_],
    weight: Weight,
    text: str,
    *,
    anchor: str = "splits",
) -> Finding:
    names: Sequence[str] = [
        figures.columns.labels[label] for label in np.flatnonzero(chosen).tolist()
    ]
    shown = tuple(names[:MOST_NAMES])
    return Finding(weight, f"{text}:", anchor, shown, len(names) - len(shown))
