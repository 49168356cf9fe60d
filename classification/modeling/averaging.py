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
            network: to be averaged; it is copied.
            horizon: steps, above 0, in which the share of a step falls to 1/e.
        """
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self._least = -math.expm1(-1 / horizon)

    @torch.no_grad()
    def add(self, network: nn.Module, steps: int) -> None:
        """Takes in the weights after a step.

        Args:
            network: as it is then.
            steps: that it has learned by then, from 1.
        """
        pairs = zip(
            self.network.state_dict().values(),
            network.state_dict().values(),
            strict=True,
        )
        means, values = zip(*(pair for pair in pairs if _is_real(pair[0])), strict=True)
        torch._foreach_lerp_(means, values, share(steps, self._least))


def share(steps: int, least: float) -> float:
    """Returns how much the weights after a step count in the mean, in (0, 1].

    Args:
        steps: learned by then, from 1.
        least: what they count once there are many.
    """
    return max(least, 1 / steps)


def _is_real(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point()
