"""Optimisers and rates, as reference.md 3.8 says."""

from __future__ import annotations

import pytest
import torch

from classification.modeling import optimisers


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("efficientnet-b3", "rmsprop"),
        ("efficientnet-lite0", "rmsprop"),
        ("resnet50", "sgd"),
        ("torchvision/mobilenet_v3_small", "rmsprop"),
        ("torchvision/resnext50_32x4d", "sgd"),
        ("torchvision/convnext_tiny", "adamw"),
    ],
)
def test_each_architecture_has_its_optimiser(name: str, optimizer: str) -> None:
    assert optimisers.choose(name) == optimizer


def test_the_originals_rates() -> None:
    assert optimisers.default_rate("rmsprop", 256) == 0.016
    assert optimisers.default_rate("sgd", 64) == 0.004
    assert optimisers.rate("sgd", 1.0, 7) == 1.0
    assert optimisers.rate("sgd", 1.0, 8) == pytest.approx(0.1)
    assert optimisers.rate("sgd", 1.0, 23) == pytest.approx(0.01)
    by_steps = 1.0
    for epoch in range(30):
        assert optimisers.rate("rmsprop", 1.0, epoch) == pytest.approx(by_steps)
        by_steps *= 0.97 ** (1 / 2.4)


@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd", "adamw"])
def test_a_step_goes_downhill(optimizer: optimisers.Optimizer) -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    still = torch.nn.Parameter(torch.tensor([1.0]))
    built = optimisers.build(optimizer, [parameter, still], lr=0.1, weight_decay=1e-5)
    optimisers.set_rate(built, 0.01)
    (parameter**2).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    built.step()
    assert 0.9 < parameter.item() < 1
    assert still.item() == 1
    assert {group["lr"] for group in built.param_groups} == {0.01}
