"""The crops on which a classifier was most certain, rightly or wrongly.

For each label and kind (see ``board.Kind``) the few most extreme examples of an epoch are
kept, as rows of their split: their pixels are read again once they are shown, so that
memory holds labels x kinds x examples of a few numbers each, whatever the crops' size.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from classification.modeling.board import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from classification.modeling.board import Board

_SHOWN_LABELS = 3


@dataclass(frozen=True, kw_only=True)
class Example:
    """A crop that is extreme.

    Attributes:
        place: its row in the split.
        priority: how extreme; 0 to 1.
        true: index of its label.
        top: the labels the classifier found most probable, and their probabilities,
            the highest first; at most three.
    """

    place: int
    priority: float
    true: int
    top: tuple[tuple[int, float], ...]

    @property
    def order(self) -> tuple[float, int]:
        """Returns its place in the order: the most extreme first, then by row."""
        return -self.priority, self.place


class Extremes:
    """Collects the most extreme examples of an epoch.

    The priority of a crop that was classified rightly (tp) is the probability of its
    label less the next one; of a wrong one, that of the predicted label (fp, kept under
    it) less that of the true one (fn, kept under that). What is kept does not depend on
    the order of the crops; a crop that was drawn twice is kept once.
    """

    def __init__(self, labels: int, most: int) -> None:
        """Starts with none.

        Args:
            labels: number of labels.
            most: examples of each kind and label.
        """
        self._most = most
        self._kept: dict[Kind, list[list[Example]]] = {
            kind: [[] for _ in range(labels)] for kind in get_args(Kind)
        }
        # What an example must reach to be kept, so that most are passed over at once.
        self._least = {kind: np.full(labels, -np.inf) for kind in get_args(Kind)}

    def examples(self, kind: Kind, label: int) -> list[Example]:
        """Returns the examples of a label, the most extreme first."""
        return list(self._kept[kind][label])

    def add(
        self,
        probabilities: NDArray[np.float32],
        true: NDArray[np.int64],
        places: NDArray[np.int64],
    ) -> None:
        """Looks at the crops of a batch.

        Args:
            probabilities: [N, C]; a row with NaN is passed over.
            true: [N] indices of labels.
            places: [N] rows of the crops in their split.
        """
        if not self._most or not len(true):
            return
        rows = np.arange(len(true))
        predicted = probabilities.argmax(axis=1)
        right = predicted == true
        of_true = probabilities[rows, true]
        others = probabilities.copy()
        others[rows, true] = 0.0
        # The best of the other labels: the second where the first is right.
        priority = np.abs(of_true - others.max(axis=1)).astype(np.float64)
        groups: tuple[tuple[Kind, NDArray[np.bool_], NDArray[np.int64]], ...] = (
            ("tp", right, true),
            ("fp", ~right, predicted),
            ("fn", ~right, true),
        )
        for kind, which, label in groups:
            wanted = which & (priority >= self._least[kind][label])
            for row in np.flatnonzero(wanted):
                example = Example(
                    place=int(places[row]),
                    priority=float(priority[row]),
                    true=int(true[row]),
                    top=_top(probabilities[row]),
                )
                self._keep(kind, int(label[row]), example)

    def merge(self, other: Extremes) -> None:
        """Adds what another process collected."""
        for kind, by_label in other._kept.items():
            for label, examples in enumerate(by_label):
                for example in examples:
                    self._keep(kind, label, example)

    def _keep(self, kind: Kind, label: int, example: Example) -> None:
        kept = self._kept[kind][label]
        for index, known in enumerate(kept):
            if known.place == example.place:
                if known.order <= example.order:
                    return
                del kept[index]
                break
        bisect.insort(kept, example, key=lambda e: e.order)
        del kept[self._most :]
        if len(kept) == self._most:
            self._least[kind][label] = kept[-1].priority


def _top(probabilities: NDArray[np.float32]) -> tuple[tuple[int, float], ...]:
    order = np.argsort(-probabilities, kind="stable")[:_SHOWN_LABELS]
    return tuple((int(label), float(probabilities[label])) for label in order)


def show(  # noqa: PLR0913 - an epoch of a split, and where its crops are
    board: Board,
    extremes: Extremes,
    *,
    split: str,
    step: int,
    labels: Sequence[str],
    paths: Sequence[str],
    read: Callable[[int], NDArray[np.uint8] | None],
) -> None:
    """Writes all examples to the board, reading their pixels one label at a time.

    Args:
        board: where to.
        extremes: what was collected.
        split: train, val or test.
        step: the epoch, from 0.
        labels: by index.
        paths: of the crops of the split, by row.
        read: gives the pixels of a row, [height, width, 3], or None where the crop
            cannot be read any more; it is left out.
    """
    for index, label in enumerate(labels):
        for kind in get_args(Kind):
            found = extremes.examples(kind, index)
            pixels = {example.place: read(example.place) for example in found}
            images = {k: v for k, v in pixels.items() if v is not None}
            shown = [example for example in found if example.place in images]
            board.examples(
                label,
                split,
                kind,
                step,
                images=[images[example.place] for example in shown],
                captions=[caption(example, labels) for example in shown],
                paths=[paths[example.place] for example in shown],
            )


def caption(example: Example, labels: Sequence[str]) -> str:
    """Returns the true label, and what the classifier found, a line each."""
    found = [f"{labels[label]}: {p:.3f}" for label, p in example.top]
    return "\n".join((f"true: {labels[example.true]}", *found))
