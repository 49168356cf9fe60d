"""The running mean of a network's weights, which errs less than the weights of any one step.

Polyak and Juditsky (Acceleration of stochastic approximation by averaging, 1992) showed why;
EfficientNet's authors (Tan and Le, ICML 2019) keep an exponential one. The share of each step
falls to 1/e in ``horizon`` steps; until there are that many, all count the same. A mean that
goes back to before the whole network began to learn lies between what it knew then and what
it learned, which holds up better at other places than either (Wortsman et al.: Robust
fine-tuning of zero-shot models, CVPR 2022).
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


class Average:
    """A network whose weights are the mean of another's."""

    def __init__(self, network: nn.Module, horizon: float) -> None:
        """Begins with the weights of ``network``.

        Args:
            network: to be averaged, whose weights change where they are; it is copied.
            horizon: steps, above 0, in which the share of a step falls to 1/e.
        """
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self._least = -math.expm1(-1 / horizon)
        self._means, self._values = _numbers(self.network), _numbers(network)

    @torch.no_grad()
    def add(self, steps: int) -> None:
        """Takes in the weights after a step.

        Args:
            steps: that the network has learned by then, from 1.
        """
        torch._foreach_lerp_(self._means, self._values, share(steps, self._least))


def share(steps: int, least: float) -> float:
    """Returns how much the weights after a step count in the mean, in (0, 1].

    Args:
        steps: learned by then, from 1.
        least: what they count once there are many.
    """
    return max(least, 1 / steps)


def _numbers(network: nn.Module) -> list[torch.Tensor]:
    """Returns weights and running means, without what counts."""
    tensors = network.state_dict().values()
    return [tensor for tensor in tensors if tensor.is_floating_point()]
