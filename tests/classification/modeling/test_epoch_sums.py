"""Sums of an epoch, compared with the metrics of the same examples at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch.nn import functional

from classification.modeling import epoch_sums
from classification.modeling.epoch_sums import EpochSums

COUNT, LABELS = 40, 5


def examples() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(COUNT, LABELS, generator=generator)
    labels = torch.randint(0, LABELS - 1, (COUNT,), generator=generator)
    return logits, labels, functional.cross_entropy(logits, labels, reduction="none")


def summed(parts: int, weights: torch.Tensor | None = None) -> epoch_sums.Measured:
    logits, labels, losses = examples()
    sums = EpochSums(LABELS, "cpu")
    for part in torch.arange(COUNT).chunk(parts):
        some = None if weights is None else weights[part]
        sums.add(logits[part], labels[part], losses[part], some)
    return epoch_sums.measured(sums.values())


def test_batches_add_up_to_what_scikit_learn_says() -> None:
    logits, labels, losses = examples()
    found = summed(7)
    predicted = logits.argmax(dim=1)
    assert found.examples == COUNT
    assert found.loss == pytest.approx(float(losses.mean()))
    assert found.top1 == pytest.approx(100 * metrics.accuracy_score(labels, predicted))
    third = metrics.top_k_accuracy_score(labels, logits, k=3, labels=range(LABELS))
    assert found.top3 == pytest.approx(100 * third)
    matrix = metrics.confusion_matrix(labels, predicted, labels=range(LABELS))
    assert np.array_equal(found.confusion, matrix)


def test_recall_is_nan_for_a_label_without_examples() -> None:
    recall = summed(1).recall_by_label(["a", "b", "c", "d", "none"])
    assert np.isnan(recall["none"])
    assert 0 <= recall["a"] <= 1


def test_weights_count() -> None:
    logits, labels, losses = examples()
    weights = torch.linspace(0, 2, COUNT)
    found = summed(3, weights)
    hits = (logits.argmax(dim=1) == labels).float()
    assert found.loss == pytest.approx(float((weights * losses).sum()) / COUNT)
    assert found.top1 == pytest.approx(100 * float((weights * hits).sum()) / COUNT)


@pytest.mark.parametrize("labels", [1, 2])
def test_d25_fewer_than_three_labels(labels: int) -> None:
    sums = EpochSums(labels, "cpu")
    sums.add(torch.randn(4, labels), torch.zeros(4, dtype=torch.int64), torch.ones(4))
    assert epoch_sums.measured(sums.values()).top3 == 100


def test_sums_go_on_from_those_of_a_killed_run() -> None:
    logits, labels, losses = examples()
    first, second = EpochSums(LABELS, "cpu"), EpochSums(LABELS, "cpu")
    first.add(logits[:9], labels[:9], losses[:9])
    second.take(first.values())
    second.add(logits[9:], labels[9:], losses[9:])
    found, whole = epoch_sums.measured(second.values()), summed(1)
    assert found.loss == pytest.approx(whole.loss)
    assert np.array_equal(found.confusion, whole.confusion)


def test_no_example_is_no_number() -> None:
    found = epoch_sums.measured(EpochSums(LABELS, "cpu").values())
    assert found.examples == 0
    assert np.isnan(found.loss)
