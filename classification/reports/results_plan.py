"""Decides which crops the results page shows: everything about its size is here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from classification.measuring import choosing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from classification.measuring.answers import Answers
    from classification.measuring.changes import Paired

DEFAULT_THUMBNAILS = 2000

_ERRORS, _CHANGES = 24, 36  # of a split, and of each direction, at most
_WRONG_CELL, _RIGHT_CELL = 12, 6  # of a cell of the confusion matrix, at most


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitPlan:
    """Crops of a split that are shown, by their places in its file.

    Attributes:
        errors: the surest that are wrong, the surest first.
        cells: some of each cell (true, predicted) of the confusion matrix, the surest
            first.
    """

    errors: NDArray[np.int64]
    cells: Mapping[tuple[int, int], NDArray[np.int64]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Returns how many pictures that makes."""
        return len(self.errors) + sum(map(len, self.cells.values()))

    @property
    def places(self) -> list[int]:
        """Returns the places of all of them."""
        found = [self.errors, *self.cells.values()]
        return [int(place) for part in found for place in part]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangePlan:
    """Crops that two runs answered for and that are shown, by their places in the pair.

    Attributes:
        better: some that were wrong and are right, the surest of before first.
        worse: some that were right and are wrong, the surest of now first.
    """

    better: NDArray[np.int64]
    worse: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Returns how many pictures that makes."""
        return len(self.better) + len(self.worse)

    @property
    def places(self) -> list[int]:
        """Returns the places of all of them."""
        return [int(place) for part in (self.better, self.worse) for place in part]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All crops that are shown.

    Attributes:
        splits: of each split, by name.
        changes: of each split that two runs have.
    """

    splits: Mapping[str, SplitPlan]
    changes: Mapping[str, ChangePlan]

    @property
    def size(self) -> int:
        """Returns how many pictures there are."""
        return sum(one.size for one in self.splits.values()) + sum(
            one.size for one in self.changes.values()
        )


def plan(
    answers: Mapping[str, Answers],
    pairs: Mapping[str, Paired],
    *,
    thumbnails: int,
    seed: int,
) -> Plan:
    """Deals the pictures of a page to its sections.

    Surest errors and changes come first, each with at most an eighth of the page. Then
    each split takes at most half of what is left for the cells of its confusion matrix,
    the last all of it: cells of errors before those of the diagonal.

    Args:
        answers: of each split, the most telling first.
        pairs: of each split that two runs have.
        thumbnails: pictures on the page, at most.
        seed: of what is drawn.
    """
    errors = min(_ERRORS, thumbnails // (8 * max(1, len(answers))))
    each = min(_CHANGES, thumbnails // (16 * max(1, len(pairs))))
    changes = {split: _changes(pair, each) for split, pair in pairs.items()}
    left = thumbnails - sum(one.size for one in changes.values())
    left -= errors * len(answers)
    splits = {}
    for number, (split, one) in enumerate(answers.items(), 1):
        budget = left if number == len(answers) else left // 2
        found = SplitPlan(
            errors=choosing.surest_errors(one.guesses.confidence, one.right, errors),
            cells=_cells(one, budget, seed),
        )
        splits[split] = found
        left -= sum(map(len, found.cells.values()))
    return Plan(splits=splits, changes=changes)


def _changes(pair: Paired, most: int) -> ChangePlan:
    before, now = pair.before.guesses.confidence, pair.now.guesses.confidence
    return ChangePlan(
        better=choosing.surest_errors(before, ~pair.better, most),
        worse=choosing.surest_errors(now, ~pair.worse, most),
    )


def _cells(
    answers: Answers, budget: int, seed: int
) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Draws crops of the cells of a confusion matrix."""
    size = len(answers.labels)
    codes = answers.true * size + answers.guesses.predicted
    order = np.argsort(codes, kind="stable")
    cells, starts, counts = np.unique(
        codes[order], return_index=True, return_counts=True
    )
    wrong = cells // size != cells % size
    shares = choosing.fair_shares(np.where(wrong, counts, 0), budget, _WRONG_CELL)
    shares += choosing.fair_shares(
        np.where(wrong, 0, counts), budget - int(shares.sum()), _RIGHT_CELL
    )
    return {
        divmod(int(cells[i]), size): _drawn(
            answers, order[starts[i] : starts[i] + counts[i]], int(shares[i]), seed
        )
        for i in np.flatnonzero(shares)
    }


def _drawn(
    answers: Answers, places: NDArray[np.int64], most: int, seed: int
) -> NDArray[np.int64]:
    drawn = choosing.draw(answers.names, places, most, seed)
    surest = np.argsort(-answers.guesses.confidence[drawn], kind="stable")
    return np.asarray(drawn[surest], np.int64)


def names_of(
    found: Plan, answers: Mapping[str, Answers], pairs: Mapping[str, Paired]
) -> Sequence[str]:
    """Returns the names of all crops that are shown, each as often as it is."""
    names = [
        pairs[split].now.names[place]
        for split, one in found.changes.items()
        for place in one.places
    ]
    names += [
        answers[split].names[place]
        for split, one in found.splits.items()
        for place in one.places
    ]
    return names
