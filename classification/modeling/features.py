"""What the last layer sees of each crop, computed once.

While only the last layer learns, and examples are not varied, the rest of the network gives
the same for a crop in each epoch. Features lie in a file without a name, which is gone with
the run, however it ends; a row holds NaN where the crop cannot be read.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from classification.modeling import sampling
from classification.modeling.training_data import Batch
from classification.runtime import progress
from classification.runtime.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.modeling.training_data import TrainLoader


@dataclass(frozen=True, kw_only=True)
class Features:
    """Batches of features, in the order in which a loader gives its crops.

    Attributes:
        loader: of the crops.
        values: [rows of the split, features] float32.
        failed: why a crop could not be read, by its row.
    """

    loader: TrainLoader
    values: NDArray[np.float32]
    failed: dict[int, str]

    @property
    def steps(self) -> int:
        """Returns the number of batches of an epoch."""
        return self.loader.steps

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, from a step on; images are features [N, F]."""
        loader = self.loader
        order = self._order(epoch)
        for step in range(first_step, self.steps):
            rows = order[step * loader.batch_size : (step + 1) * loader.batch_size]
            kept = rows[~np.isnan(self.values[rows, 0])]
            yield Batch(
                images=torch.from_numpy(self.values[kept]),
                labels=torch.from_numpy(loader.rows.labels[kept]),
                weights=torch.from_numpy(loader.rows.weights[kept].astype(np.float32)),
                places=kept,
                failed={row: self.failed[row] for row in set(rows) - set(kept)},
            )

    def _order(self, epoch: int) -> NDArray[np.int64]:
        loader = self.loader
        if loader.in_order:
            return np.arange(len(loader.rows))
        weights = loader.rows.weights if loader.weighted else None
        return sampling.epoch_order(
            len(loader.rows), weights, seed=loader.seed, epoch=epoch
        )


def head_of(network: nn.Module, names: tuple[str, ...]) -> nn.Linear:
    """Returns the last layer, if it alone makes logits of features.

    Raises:
        ConfigurationError: it does not.
    """
    head = network.get_submodule(names[0])
    if len(names) > 1 or not isinstance(head, nn.Linear):
        raise ConfigurationError(
            "--cache-features: the last layer of this network is no linear layer alone"
        )
    return head


def compute(
    loader: TrainLoader,
    head: nn.Linear,
    forward: Callable[[torch.Tensor], torch.Tensor],
    folder: Path,
    tell: Callable[[int], object],
) -> Features:
    """Computes the features of all crops of a split, unvaried.

    Args:
        loader: of the split.
        head: the last layer of the network.
        forward: gives logits for uint8 images, by the network in evaluation.
        folder: on whose disk the features lie; 4 bytes each.
        tell: is told after each step how many are done.

    Raises:
        ConfigurationError: more than the last layer is between features and logits.
        StorageError: the folder cannot be written, or the disk is full.
    """
    seen: list[torch.Tensor] = []
    plain = replace(loader, augmentation="none", in_order=True)
    shape = (max(1, len(loader.rows)), head.in_features)
    values = _room_for(shape, folder)
    values[:] = np.nan
    failed: dict[int, str] = {}
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with torch.inference_mode(), progress.bar(plain.steps, unit="steps") as bar:
            for done, batch in enumerate(plain.epoch(0), 1):
                failed |= batch.failed
                if len(batch.labels):
                    logits = forward(batch.images)
                    _check(seen[-1], head, logits)
                    values[batch.places] = seen[-1].float().numpy(force=True)
                seen.clear()
                bar.update()
                tell(done)
    finally:
        hook.remove()
    return Features(loader=loader, values=values, failed=failed)


def _room_for(shape: tuple[int, int], folder: Path) -> NDArray[np.float32]:
    """Returns numbers that lie in a file without a name."""
    size = 4 * shape[0] * shape[1]
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                # Without it a full disk ends the process when a number is set: SIGBUS.
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.float32, "w+", shape=shape)  # outlives the name
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}") from error


def _check(features: torch.Tensor, head: nn.Linear, logits: torch.Tensor) -> None:
    again = nn.functional.linear(features, head.weight, head.bias)
    if again.shape != logits.shape or not torch.allclose(
        again.float(), logits.float(), rtol=1e-2, atol=1e-3
    ):
        raise ConfigurationError(
            "--cache-features: this network does more than its last layer with features"
        )
