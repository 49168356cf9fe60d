"""Optimisers and rates, as reference.md 3.8 says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from classification.modeling import optimisers

if TYPE_CHECKING:
    from classification.artifacts.run_params import LrSchedule


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


def schedule(
    kind: LrSchedule, *, head_epochs: int = 4, epochs: int = 24
) -> optimisers.Schedule:
    return optimisers.Schedule(
        kind=kind,
        optimizer="rmsprop",
        lr=1.0,
        head_lr=10.0,
        head_epochs=head_epochs,
        epochs=epochs,
        steps=50,
    )


def test_the_originals_schedule_knows_no_steps() -> None:
    steps = schedule("step")
    assert steps.at(4, 0) == steps.at(4, 49) == optimisers.rate("rmsprop", 1.0, 4)
    assert steps.at(3, 7) == optimisers.rate("rmsprop", 10.0, 3)


def test_a_cosine_grows_and_falls_in_each_phase() -> None:
    cosine = schedule("cosine")
    head = [cosine.at(epoch, step) for epoch in range(4) for step in range(50)]
    rest = [cosine.at(epoch, step) for epoch in range(4, 24) for step in range(50)]
    for rates, highest in ((head, 10), (rest, 1)):
        top = rates.index(max(rates))
        assert top <= 50
        assert rates[: top + 1] == sorted(rates[: top + 1])
        assert rates[top:] == sorted(rates[top:], reverse=True)
        assert 0.9 * highest < rates[top] < highest
        assert 0 < rates[0] < 0.1 * highest
        assert 0 < rates[-1] < 0.001 * highest
    assert rest[500] == pytest.approx(0.5, abs=0.01)


def test_a_run_of_the_last_layer_alone_has_one_phase() -> None:
    cosine = schedule("cosine", head_epochs=30, epochs=24)
    assert cosine.at(23, 49) < 0.01


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
