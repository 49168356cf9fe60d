"""Which labels look wrong: against the definitions, written plainly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from classification.labels import auditing
from classification.labels.auditing import ByMargin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def scores(margin: float, *rows: tuple[list[float], int]) -> list[float]:
    probabilities = np.array([row for row, _ in rows])
    found = ByMargin(margin)(probabilities, np.array([label for _, label in rows]))
    return [-1 if math.isnan(score) else score for score in found.tolist()]


def test_a_margin_is_reached_to_the_last_digit() -> None:
    rows = ([0.2, 0.7, 0.1], 0), ([0.2, 0.69999, 0.1], 0), ([0.3, 0.6, 0.1], 2)
    assert scores(0.5, *rows) == [0.5, -1, 0.5]


def test_d18_what_is_predicted_right_is_no_candidate() -> None:
    right, tie, other = ([0.7, 0.3], 0), ([0.5, 0.5], 1), ([0.5, 0.5], 0)
    assert scores(0, right, tie, other, ([0.49, 0.51], 0)) == [-1, -1, -1, 0.02]


def test_a_tie_is_for_the_label_or_the_first() -> None:
    probabilities = np.array([[0.4, 0.2, 0.4], [0.4, 0.2, 0.4]])
    assert auditing.predicted(probabilities, np.array([2, 1])).tolist() == [2, 0]


def drawn(
    seed: int, crops: int, count: int, *, flipped: float = 0.1
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Makes probabilities, labels of which some are wrong, and which those are."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, count, crops)
    logits = rng.normal(0, 1, (crops, count))
    logits[np.arange(crops), truth] += 3 - truth / count
    powers = np.exp(logits)
    wrong = rng.random(crops) < flipped
    shift = rng.integers(1, max(2, count), crops)
    labels = np.where(wrong, (truth + shift) % count, truth)
    return powers / powers.sum(axis=1, keepdims=True), labels, wrong


def judged(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], *, rows: int
) -> NDArray[np.float64]:
    def batches() -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        for start in range(0, len(labels), rows):
            part = slice(start, start + rows)
            yield probabilities[part], labels[part]

    judge = auditing.learn_confidence(batches, probabilities.shape[1])
    return judge(probabilities, labels)


def plainly(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> dict[int, float]:
    """Returns the score of each candidate, crop by crop, as the paper defines them."""
    crops = range(len(labels))
    count = probabilities.shape[1]
    own = [probabilities[crop][labels[crop]] for crop in crops]
    of = {j: [crop for crop in crops if labels[crop] == j] for j in range(count)}
    normal = {
        j: np.bincount([0] * len(of[j]), [own[c] for c in of[j]])[0] / len(of[j])
        for j in of
        if of[j]
    }
    joint = {(i, j): 0 for i in of for j in of}
    for crop in crops:
        sure = [j for j in normal if probabilities[crop][j] >= normal[j]]
        if sure:
            best = max(sure, key=lambda j: (probabilities[crop][j], -j))
            joint[labels[crop], best] += 1
    found = {}
    for i, members in of.items():
        total = sum(joint[i, j] for j in of)
        wrong = round(len(members) * (1 - joint[i, i] / total)) if total else 0
        if wrong:
            last = sorted(own[crop] for crop in members)[wrong - 1]
            for crop in members:
                is_right = own[crop] == max(probabilities[crop])
                if own[crop] <= last and not is_right:
                    found[crop] = max(0, 1 - own[crop] / normal[i]) if normal[i] else 0
    return found


@given(
    seed=st.integers(0, 10_000),
    crops=st.integers(0, 60),
    count=st.integers(1, 5),
    rows=st.integers(1, 70),
    digits=st.sampled_from([1, 2, 9]),
)
@example(seed=10_000, crops=20, count=5, rows=1, digits=1)  # a label is never given
def test_confident_learning_is_what_the_paper_says(
    seed: int, crops: int, count: int, rows: int, digits: int
) -> None:
    probabilities, labels, _ = drawn(seed, crops, count)
    probabilities = probabilities.round(digits)
    found = judged(probabilities, labels, rows=rows)
    wanted = plainly(probabilities, labels)
    assert set(np.flatnonzero(~np.isnan(found)).tolist()) == set(wanted)
    for crop, score in wanted.items():
        assert found[crop] == pytest.approx(score, abs=1e-6)


def test_confident_learning_finds_most_of_what_was_flipped() -> None:
    probabilities, labels, wrong = drawn(0, 4000, 8, flipped=0.05)
    found = judged(probabilities, labels, rows=999)
    candidates = ~np.isnan(found)
    assert 0.8 < candidates.sum() / wrong.sum() < 2
    assert (candidates & wrong).sum() / wrong.sum() > 0.7
    assert candidates[wrong].mean() > 10 * candidates[~wrong].mean()


def test_a_label_that_is_never_sure_is_not_suspected_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0.3, 0.5, 500)
    probabilities = np.stack([first, 1 - first], axis=1)
    probabilities[250:, 1] = 0.9
    probabilities[250:, 0] = 0.1
    labels = np.repeat([0, 1], 250)
    assert (
        scores(0, *zip(probabilities.tolist(), labels, strict=True)).count(-1)
    ) < 300
    assert np.isnan(judged(probabilities, labels, rows=100)).all()


def test_a_label_without_a_crop_and_one_that_nothing_is_of() -> None:
    probabilities = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert np.isnan(judged(probabilities, np.array([1, 1]), rows=2)).all()
    found = judged(probabilities, np.array([0, 1]), rows=2)
    assert found.tolist()[0] == 0
    assert math.isnan(found[1])
