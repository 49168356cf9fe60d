"""Two classifiers on the same crops: what is better, what is worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.measuring import changes
from classification.measuring.answers import Answers, Guesses
from classification.measuring.by_label import Places
from classification.runtime.errors import ConfigurationError
from classification.runtime.name_list import NameList

if TYPE_CHECKING:
    from collections.abc import Sequence

LABELS = ("bear", "deer", "elk")


def answered(
    names: str, true: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> Answers:
    return Answers(
        labels=tuple(labels),
        names=NameList(names.split()),
        true=np.array([labels.index(label) for label in true]),
        guesses=Guesses(
            predicted=np.array([labels.index(label) for label in predicted]),
            confidence=np.linspace(0.5, 0.9, len(true)).astype(np.float32),
        ),
        among_top3=np.ones(len(true), np.bool_),
    )


BEFORE = answered(
    "d a b x",
    ["elk", "bear", "deer", "elk"],
    ["elk", "other", "deer", "elk"],
    ("other", "elk", "deer", "bear"),
)
NOW = answered(
    "a b c d", ["bear", "deer", "deer", "elk"], ["bear", "elk", "deer", "elk"], LABELS
)


def test_pairs_crops_whatever_the_order_and_the_labels() -> None:
    pair = changes.pair(BEFORE, NOW)
    assert pair.now.labels == pair.before.labels == (*LABELS, "other")
    assert list(pair.now.names) == list(pair.before.names) == ["a", "b", "d"]
    assert pair.better.tolist() == [True, False, False]
    assert pair.worse.tolist() == [False, True, False]
    assert (pair.only_before, pair.only_now) == (1, 1)
    assert pair.before.guesses.confidence.tolist() == pytest.approx(
        [0.6333, 0.7667, 0.5], abs=1e-3
    )


def test_tells_what_became_of_each_label() -> None:
    found = {one.label: one for one in changes.by_label_of(changes.pair(BEFORE, NOW))}
    assert list(found) == ["bear", "deer", "elk", "other"]
    assert (found["bear"].better, found["bear"].worse) == (1, 0)
    assert (found["deer"].better, found["deer"].worse) == (0, 1)
    assert found["bear"].before.recall.value == 0
    assert found["bear"].now.recall.value == 1
    assert found["other"].before.predicted == 1


def test_the_difference_has_an_interval_by_location() -> None:
    pair = changes.pair(BEFORE, NOW)
    places = Places(codes=np.array([0, 1, 2], np.int32), names=("x", "y", "z"))
    found = changes.overall(pair, places)
    top1 = found["acc_top1"]
    assert top1.before == top1.now == pytest.approx(2 / 3)
    assert top1.difference == 0
    assert top1.interval is not None
    assert top1.interval.low < 0 < top1.interval.high
    assert found["macro_f1"].interval is None
    assert changes.overall(pair, None)["acc_top1"].interval is None


def test_another_truth_is_refused() -> None:
    other = answered("a b", ["bear", "elk"], ["bear", "elk"], LABELS)
    with pytest.raises(ConfigurationError, match="'b' is 'elk' in one and 'deer' in"):
        changes.pair(other, NOW)


def test_strangers_are_refused() -> None:
    other = answered("y z", ["bear", "elk"], ["bear", "elk"], LABELS)
    with pytest.raises(ConfigurationError, match="no crop in common"):
        changes.pair(other, NOW)
