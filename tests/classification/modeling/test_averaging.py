"""The running mean of a network's weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from classification.modeling.averaging import Average, share


@pytest.mark.parametrize(
    ("steps", "wanted"), [(1, 1.0), (4, 0.25), (10, 0.1), (1000, 0.1)]
)
def test_the_first_steps_count_the_same(steps: int, wanted: float) -> None:
    assert share(steps, 0.1) == pytest.approx(wanted)


def test_the_mean_is_that_of_the_formula() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = Average(network, horizon=20)
    weight = network[0].weight
    mean = weight.item()
    least = 1 - math.exp(-1 / 20)
    for step in range(1, 300):
        with torch.no_grad():
            weight.fill_(math.sin(step))
        average.add(step)
        counts = max(least, 1 / step)
        mean += counts * (math.sin(step) - mean)
    assert average.network[0].weight.item() == pytest.approx(mean, abs=1e-5)  # type: ignore[index]  # a Sequential of tensors
    assert not any(p.requires_grad for p in average.network.parameters())
    assert weight.requires_grad


def test_running_means_are_averaged_and_counts_are_not() -> None:
    network = nn.BatchNorm1d(2)
    average = Average(network, horizon=5)
    network(torch.tensor([[4.0, 8.0], [6.0, 8.0]]))
    average.add(2)
    found = average.network.state_dict()
    assert torch.allclose(found["running_mean"], network.running_mean / 2)  # type: ignore[operator]  # a tensor
    assert found["num_batches_tracked"] == 0
