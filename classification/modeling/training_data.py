"""Brings the crops of a split to a network that learns, beside the network's own work.

Threads make whole batches ahead of the one that is being learnt from: what takes time
is done by libraries that let other threads run. What is in a batch follows from the seed,
the epoch and the step alone, but for crops that cannot be read: those are left out of
their batch, with their reason, and nothing else changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from classification.cropping.images import DEFAULT_MAX_PIXELS, open_image
from classification.modeling import augmentation, crop_cache, known_crops, sampling
from classification.modeling.crop_cache import CropCache
from classification.runtime import parallel
from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TypeAlias

    from numpy.typing import NDArray

    from classification.cropping.images import OpenedImage
    from classification.dataset.training_set import SplitRows
    from classification.modeling.catalog import Normalisation
    from classification.storage.local import LocalStore

    Pixels: TypeAlias = NDArray[np.uint8]

_AHEAD = 2  # batches per thread


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Examples of one step.

    Attributes:
        images: uint8 [N, 3, S, S], RGB, in the memory format channels_last; ``N`` is
            less than the batch size where crops failed, and may be 0.
        labels: int64 [N].
        weights: float32 [N].
        places: row of each in its split, int64 [N].
        failed: why a crop could not be read, by its row in the split.
    """

    images: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    places: NDArray[np.int64]
    failed: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainLoader:
    """Reads, varies and batches the crops of a split.

    Attributes:
        store: where the crops are.
        rows: of the split.
        image_size: side S of the square input, in pixels.
        batch_size: most crops in a batch of this process.
        augmentation: how they are varied, one of ``augmentation.NAMES``.
        seed: of the run, not negative.
        weighted: draw rows by their weights, with replacement.
        in_order: take the rows as they come; for val and test.
        threads: batches made at once; 0 to make each when it is asked for.
        pin_memory: lay batches where a GPU fetches them fastest.
        rank: of this process, from 0.
        world: number of processes.
        cache: where prepared pixels are kept, of ``open_cache``; None to decode each
            crop each time, at its full size.
        max_pixels: a crop of more pixels fails.
    """

    store: LocalStore
    rows: SplitRows
    image_size: int
    batch_size: int
    augmentation: str
    seed: int
    weighted: bool = False
    in_order: bool = False
    threads: int = 0
    pin_memory: bool = False
    rank: int = 0
    world: int = 1
    cache: CropCache | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS

    @property
    def steps(self) -> int:
        """Returns the number of batches of an epoch, the same in each process."""
        per_process = -(-len(self.rows) // self.world)
        return -(-per_process // self.batch_size)

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, from a step on.

        Raises:
            ConfigurationError: no weight is above 0.
            StorageError: the store as a whole cannot be reached.
        """
        order = self._order(epoch)
        if self.cache is not None:
            self.cache.refresh()
        positions = self.rank + self.world * np.arange(len(order))

        def prepare(step: int) -> Batch:
            part = slice(step * self.batch_size, (step + 1) * self.batch_size)
            return self._batch(order[part], positions[part], epoch)

        steps = range(first_step, self.steps)
        if self.threads > 1:
            return parallel.ordered_map(
                prepare, steps, threads=self.threads, ahead=_AHEAD
            )
        batches = map(prepare, steps)
        return parallel.ahead(batches) if self.threads else batches

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self.in_order:
            return np.arange(self.rank, len(self.rows), self.world)
        return sampling.epoch_order(
            len(self.rows),
            self.rows.weights if self.weighted else None,
            seed=self.seed,
            epoch=epoch,
            rank=self.rank,
            world=self.world,
        )

    def _batch(
        self, rows: NDArray[np.int64], positions: NDArray[np.int64], epoch: int
    ) -> Batch:
        side = self.image_size
        images = torch.empty(
            (len(rows), side, side, 3), dtype=torch.uint8, pin_memory=self.pin_memory
        )
        draws = sampling.uniforms(
            positions, augmentation.DRAWS, seed=self.seed, epoch=epoch
        )
        failed = self._fill(images.numpy(), rows, draws)
        kept = rows[[row not in failed for row in rows.tolist()]] if failed else rows
        return Batch(
            images=images[: len(kept)].permute(0, 3, 1, 2),
            labels=torch.from_numpy(self.rows.labels[kept]),
            weights=torch.from_numpy(self.rows.weights[kept].astype(np.float32)),
            places=kept,
            failed=failed,
        )

    def _fill(
        self,
        squares: NDArray[np.uint8],
        rows: NDArray[np.int64],
        draws: NDArray[np.float64],
    ) -> dict[int, str]:
        """Fills squares from the first on; returns why others could not be filled."""
        failed: dict[int, str] = {}
        filled = 0
        for row, numbers in zip(rows.tolist(), draws.tolist(), strict=True):
            try:
                squares[filled] = self._varied(row, numbers)
            except ItemError as error:
                failed[row] = str(error)
            else:
                filled += 1
        return failed

    def _varied(self, row: int, numbers: list[float]) -> Pixels:
        # A function of its own, so that of two large crops one is in memory.
        pixels = self._pixels(row)
        return augmentation.augment(self.augmentation, pixels, self.image_size, numbers)

    def _pixels(self, row: int) -> Pixels:
        name, known = self.rows.paths[row], self._known(row)
        if self.cache is None:
            return self._open(self._read(name, known)).array()
        data = b"" if known is not None else self.store.read(name)
        digest = (known_crops.digest(data) if known is None else known).tobytes()
        pixels = self.cache.get(row, digest)
        if pixels is None:
            image = self._open(data or self._read(name, known)).image
            pixels = augmentation.prepare(self.augmentation, image, self.image_size)
            self.cache.put(row, digest, pixels)
        return pixels

    def _known(self, row: int) -> NDArray[np.uint8] | None:
        return None if self.rows.digests is None else self.rows.digests[row]

    def _read(self, name: str, known: NDArray[np.uint8] | None) -> bytes:
        data = self.store.read(name)
        if known is not None:
            known_crops.check([name], known_crops.digest(data)[None], known[None])
        return data

    def _open(self, data: bytes) -> OpenedImage:
        return open_image(data, max_pixels=self.max_pixels)


def open_cache(
    folder: Path, loader: TrainLoader, *, max_bytes: int | None = None
) -> CropCache:
    """Opens the cache of what a loader prepares, to be given to it.

    What the network sees depends on whether there is a cache, since varied crops are
    made small first; not on what it holds already.

    Args:
        folder: of caches, each in a folder of its own.
        loader: whose crops to keep.
        max_bytes: most bytes of this cache; None for what the disk has.

    Raises:
        StorageError: the folder cannot be written.
    """
    prepared = augmentation.describe_prepared(loader.augmentation, loader.image_size)
    rows = loader.rows
    name = crop_cache.key(rows.paths, root=loader.store.root, prepared=prepared)
    return CropCache(folder / name, len(rows), max_bytes=max_bytes)


def normalise(images: torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
    """Returns a network's input for pixels, on the device that they are on.

    Args:
        images: uint8 [N, 3, S, S].
        normalisation: what the network is trained with.

    Returns:
        float32, in the memory format channels_last.
    """
    count, channels, height, width = images.shape
    mean = torch.tensor(normalisation.mean, device=images.device)
    std = torch.tensor(normalisation.std, device=images.device)
    # Whole rows of pixels are worked on at once: three numbers at a time take four times
    # as long on a processor.
    scale = (1 / (normalisation.divisor * std)).repeat(width)
    shift = (-mean / std).repeat(width)
    rows = images.permute(0, 2, 3, 1).reshape(count * height, width * channels)
    values = rows.to(torch.float32)
    torch.addcmul(shift, values, scale, out=values)
    return values.view(count, height, width, channels).permute(0, 3, 1, 2)
