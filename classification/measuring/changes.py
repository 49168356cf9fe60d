"""What is better, and what is worse, where two classifiers answered for the same crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.measuring import by_label, metrics
from classification.measuring.answers import Answers, Guesses
from classification.runtime.errors import ConfigurationError
from classification.runtime.name_list import NameIndex, NameList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from classification.measuring.by_label import LabelFigures, Places
    from classification.measuring.metrics import Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """Crops that two classifiers answered for, in the order of the second's file.

    Attributes:
        before: answers of the first.
        now: answers of the second; labels, names and truth are the same.
        only_before: number of crops that only the first answered for.
        only_now: likewise, the second.
    """

    before: Answers
    now: Answers
    only_before: int
    only_now: int

    @property
    def better(self) -> NDArray[np.bool_]:
        """Says which crops were wrong and are right now."""
        return self.now.right & ~self.before.right

    @property
    def worse(self) -> NDArray[np.bool_]:
        """Says which crops were right and are wrong now."""
        return self.before.right & ~self.now.right


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelChange:
    """What became of a label.

    Attributes:
        label: its name.
        before: its figures by the first classifier.
        now: by the second.
        better: number of its crops that were wrong and are right now.
        worse: number that were right and are wrong now.
    """

    label: str
    before: LabelFigures
    now: LabelFigures
    better: int
    worse: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A number by both classifiers.

    Attributes:
        before: by the first.
        now: by the second.
        interval: of the difference, from locations drawn anew; None where locations
            are not known or too few.
    """

    before: float | None
    now: float | None
    interval: Interval | None = None

    @property
    def difference(self) -> float | None:
        """Returns by how much it grew."""
        if self.before is None or self.now is None:
            return None
        return self.now - self.before


def pair(before: Answers, now: Answers) -> Paired:
    """Finds the crops that both answered for.

    Labels may differ: the labels of the pair are those of the second, then those that
    only the first has.

    Raises:
        ConfigurationError: a crop has two true labels, or no crop is in both.
    """
    where = NameIndex(before.names).positions(now.names)
    common = np.flatnonzero(where >= 0)
    if not len(common):
        raise ConfigurationError("the two runs have no crop in common")
    labels = tuple(dict.fromkeys((*now.labels, *before.labels)))
    one = _among(before, where[common], labels)
    other = _among(now, common, labels)
    _refuse_other_truth(one, other)
    return Paired(
        before=one,
        now=other,
        only_before=len(before) - len(common),
        only_now=len(now) - len(common),
    )


def _among(
    answers: Answers, places: NDArray[np.int64], labels: tuple[str, ...]
) -> Answers:
    """Returns the answers at some places, in ids of the labels given."""
    id_of = np.array([labels.index(label) for label in answers.labels], np.int64)
    return Answers(
        labels=labels,
        names=NameList(answers.names[int(place)] for place in places),
        true=id_of[answers.true[places]],
        guesses=Guesses(
            predicted=id_of[answers.guesses.predicted[places]],
            confidence=answers.guesses.confidence[places],
        ),
        among_top3=answers.among_top3[places],
    )


def _refuse_other_truth(before: Answers, now: Answers) -> None:
    different = np.flatnonzero(before.true != now.true)
    if len(different):
        first = int(different[0])
        raise ConfigurationError(
            f"the two runs do not agree on what is true: {now.names[first]!r} is "
            f"{before.labels[before.true[first]]!r} in one and "
            f"{now.labels[now.true[first]]!r} in the other, and {len(different) - 1} "
            "more crops differ; they can be compared only on the same true labels"
        )


def by_label_of(pair: Paired) -> list[LabelChange]:
    """Returns what became of each label that is true of a crop or predicted."""
    before, now = (by_label.figures(one.matrix) for one in (pair.before, pair.now))
    labels = pair.now.labels
    better, worse = (
        np.bincount(pair.now.true[which], minlength=len(labels))
        for which in (pair.better, pair.worse)
    )
    return [
        LabelChange(
            label=label,
            before=before[i],
            now=now[i],
            better=int(better[i]),
            worse=int(worse[i]),
        )
        for i, label in enumerate(labels)
        if before[i].crops or before[i].predicted or now[i].predicted
    ]


def overall(pair: Paired, places: Places | None) -> dict[str, Change]:
    """Returns accuracy, balanced accuracy and macro-F1 by both, and calibration error."""
    matrices = [one.matrix for one in (pair.before, pair.now)]
    return {
        "acc_top1": Change(
            before=float(pair.before.right.mean()),
            now=float(pair.now.right.mean()),
            interval=None if places is None else _accuracy_interval(pair, places),
        ),
        "balanced_accuracy": _change(
            [metrics.balanced_accuracy(matrix) for matrix in matrices]
        ),
        "macro_f1": _change([metrics.macro_f1(matrix) for matrix in matrices]),
        "calibration_error": _change(
            [_calibration_error(one) for one in (pair.before, pair.now)]
        ),
    }


def _calibration_error(answers: Answers) -> float:
    sums = metrics.bin_sums(answers.guesses.confidence, answers.right)
    return float(metrics.calibration_of_counts(*sums))


def _change(values: Sequence[float]) -> Change:
    before, now = values
    return Change(before=before, now=now)


def _accuracy_interval(pair: Paired, places: Places) -> Interval | None:
    gained, crops = np.zeros((2, len(places.names)))
    np.add.at(gained, places.codes, pair.better.astype(np.float64) - pair.worse)
    np.add.at(crops, places.codes, 1.0)
    return metrics.location_bootstrap(
        lambda counts: metrics.share(counts @ gained, counts @ crops, np.nan),
        len(places.names),
    )
