"""Which optimiser trains which network, and how fast it goes at which step.

The original's: EfficientNets learn by RMSprop, and the rate falls to 97 % every 2.4 epochs
(Tan and Le 2019 trained them so); ResNets by stochastic gradient descent with momentum,
and the rate falls to a tenth every eight epochs. Networks that are neither are of many
kinds and learn by AdamW, with the EfficientNets' schedule. The rate is a function of the
epoch and the step alone, so that a run that goes on needs no memory of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from classification.modeling import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from classification.artifacts.run_params import LrSchedule, Optimizer

_BATCH = 256  # for which these rates are meant; they grow with the batch
_RATES: dict[Optimizer, float] = {"rmsprop": 0.016, "sgd": 0.016, "adamw": 0.0005}
_WARM_UP = 0.1  # of the epochs of a phase, or one epoch, if that is less
_RMSPROP_LIKE = ("efficientnet", "mobilenet", "mnasnet")
_SGD_LIKE = ("resnet", "resnext", "regnet", "densenet", "vgg")


def choose(model_name: str) -> Optimizer:
    """Returns the optimiser that goes with an architecture."""
    family = catalog.find(model_name).family
    inner = model_name.rpartition("/")[2]
    if family.startswith("efficientnet") or any(n in inner for n in _RMSPROP_LIKE):
        return "rmsprop"
    return "sgd" if any(name in inner for name in _SGD_LIKE) else "adamw"


def default_rate(optimizer: Optimizer, batch_size: int) -> float:
    """Returns the learning rate at the beginning, where none is given."""
    return _RATES[optimizer] * batch_size / _BATCH


def rate(optimizer: Optimizer, base: float, epoch: int) -> float:
    """Returns the learning rate of an epoch, counted from 0."""
    if optimizer == "sgd":
        return base * 0.1 ** (epoch // 8)
    return float(base * 0.97 ** (epoch / 2.4))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate of each step.

    A run has two phases: in the first only the last layer learns, in the second the whole
    network does. ``step`` is the original's ``rate``. ``cosine`` (Loshchilov and Hutter:
    SGDR, ICLR 2017, without restarts) grows in a straight line in the first tenth of a
    phase, one epoch at most, and falls to 0 at its end as half a cosine does.

    Attributes:
        kind: which of the two.
        optimizer: that has these rates.
        lr: highest rate of the second phase.
        head_lr: that of the first.
        head_epochs: epochs of the first phase.
        epochs: of both.
        steps: of an epoch.
    """

    kind: LrSchedule
    optimizer: Optimizer
    lr: float
    head_lr: float
    head_epochs: int
    epochs: int
    steps: int

    def at(self, epoch: int, step: int) -> float:
        """Returns the rate of a step; both are counted from 0."""
        is_head = epoch < self.head_epochs
        base = self.head_lr if is_head else self.lr
        if self.kind == "step":
            return rate(self.optimizer, base, epoch)
        begin = 0 if is_head else self.head_epochs
        end = min(self.head_epochs, self.epochs) if is_head else self.epochs
        passed = epoch - begin + (step + 0.5) / max(1, self.steps)
        length = end - begin
        warm = min(1.0, passed / min(1.0, _WARM_UP * length))
        return base * warm * (1 + math.cos(math.pi * passed / length)) / 2


def build(
    optimizer: Optimizer,
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """Makes an optimiser.

    Args:
        optimizer: which one.
        parameters: all of the network's; those without a gradient stay as they are.
        lr: learning rate, above 0.
        weight_decay: not negative.
    """
    if optimizer == "rmsprop":
        return torch.optim.RMSprop(
            parameters,
            lr=lr,
            alpha=0.9,
            momentum=0.9,
            weight_decay=weight_decay,
            foreach=True,
        )
    if optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=lr, momentum=0.9, weight_decay=weight_decay, foreach=True
        )
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, foreach=True)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr
