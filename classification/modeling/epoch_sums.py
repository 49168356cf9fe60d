"""How well a network does on a split, summed up batch by batch where it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_TOP = 3
_SUMS = 4  # examples, loss, first, among the first three


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How an epoch did on a split.

    Attributes:
        examples: how many there were.
        loss: mean cross-entropy; each example times its weight, if weighted.
        top1: percent whose label came first; weighted likewise.
        top3: percent whose label was among the first three, or fewer labels.
        confusion: examples by true label and predicted label, [C, C].
    """

    examples: int
    loss: float
    top1: float
    top3: float
    confusion: NDArray[np.int64]

    def recall_by_label(self, labels: Sequence[str]) -> dict[str, float]:
        """Returns the share of each label's examples that was found; NaN for none."""
        counts = self.confusion.sum(axis=1)
        right = self.confusion.diagonal()
        return {
            label: float(right[index] / counts[index]) if counts[index] else np.nan
            for index, label in enumerate(labels)
        }


class EpochSums:
    """Sums of an epoch; nothing is fetched from the device until it is asked for."""

    def __init__(self, labels: int, device: str) -> None:
        """Starts at nothing.

        Args:
            labels: number of them.
            device: where the network computes.
        """
        self._labels = labels
        self._sums = torch.zeros(_SUMS, dtype=torch.float64, device=device)
        self._confusion = torch.zeros(labels**2, dtype=torch.int64, device=device)

    def add(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        losses: torch.Tensor,
        weights: torch.Tensor | None = None,
    ) -> None:
        """Adds the examples of a batch.

        Args:
            logits: [N, C].
            labels: [N], indices.
            losses: [N], cross-entropies.
            weights: [N], how much each counts; None for all the same.
        """
        with torch.no_grad():
            best = logits.topk(min(_TOP, self._labels), dim=1).indices
            hits = best == labels[:, None]
            rows = torch.stack((losses, hits[:, 0], hits.any(dim=1))).double()
            if weights is not None:
                rows *= weights
            self._sums[0] += len(labels)
            self._sums[1:] += rows.sum(dim=1)
            cells = labels * self._labels + best[:, 0]
            self._confusion += torch.bincount(cells, minlength=self._labels**2)

    def values(self) -> torch.Tensor:
        """Returns all sums, float64 on the processor, to be added to others'."""
        return torch.cat((self._sums, self._confusion.double())).cpu()

    def take(self, values: torch.Tensor) -> None:
        """Goes on from what ``values`` gave."""
        self._sums += values[:_SUMS].to(self._sums)
        self._confusion += values[_SUMS:].to(self._confusion)


def measured(values: torch.Tensor) -> Measured:
    """Returns what the sums say; NaN where there was no example."""
    examples, loss, first, third = values[:_SUMS].tolist()
    count = examples or np.nan
    labels = round((len(values) - _SUMS) ** 0.5)
    return Measured(
        examples=int(examples),
        loss=loss / count,
        top1=100 * first / count,
        top3=100 * third / count,
        confusion=values[_SUMS:].numpy().astype(np.int64).reshape(labels, labels),
    )
