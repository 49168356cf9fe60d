"""Several processes that train one network: started by ``torchrun``, or a single one.

Numbers that processes tell each other go through gloo, on the processor, so that no GPU
waits for them; gradients go through NCCL between GPUs. What is added up does not depend on
who is first, and the buckets of gradients are laid out once: the same run gives the same
bits.
"""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Group:
    """The processes of a run.

    Attributes:
        rank: number of this one; the first, 0, writes all files.
        world: how many there are.
        device: where this one computes: ``cpu`` or ``cuda:N``.
        control: what numbers go through; None for a single process.
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    control: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Says whether this process writes."""
        return self.rank == 0

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the sum over all processes, of a tensor on the processor."""
        if self.control is not None:
            dist.all_reduce(values, group=self.control)
        return values

    def of_first(self, value: T | None) -> T:
        """Returns what the first process gives; the others give anything."""
        held = [value]
        if self.control is not None:
            dist.broadcast_object_list(held, src=0, group=self.control)
        return cast("T", held[0])

    def gathered(self, value: T) -> list[T]:
        """Returns what each process gives, in order."""
        if self.control is None:
            return [value]
        held: list[T] = [value] * self.world
        dist.all_gather_object(held, value, group=self.control)
        return held

    def share_buffers(self, network: nn.Module) -> None:
        """Gives all processes the first one's running means of batch normalisation."""
        if self.control is not None:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Returns the network with gradients averaged over all processes.

        To be done anew when other parameters are to learn.
        """
        if self.world == 1:
            return network
        on_gpu = self.device != "cpu"
        # Looking for unused parameters keeps torch from laying out its buckets anew after
        # the first step, which would add up in another order than a run taken up there.
        return DistributedDataParallel(
            network,
            device_ids=[torch.device(self.device).index] if on_gpu else None,
            find_unused_parameters=True,
        )


def is_started_by_torchrun() -> bool:
    """Says whether this is one of several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """Joins the processes that ``torchrun`` started, if it did, until the block ends.

    Args:
        device: ``cpu`` or ``cuda:N``; with several processes, each on ``cuda`` has the
            GPU of its own number.

    Raises:
        ConfigurationError: there are more processes than GPUs on this machine.
    """
    if not is_started_by_torchrun():
        yield Group(device=device)
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise ConfigurationError(
                f"torchrun started more processes than the {torch.cuda.device_count()} "
                "GPUs here; --nproc-per-node says how many"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own start
        dist.init_process_group("nccl" if on_gpu else "gloo")
        control = cast("dist.ProcessGroup", dist.new_group(backend="gloo"))
    try:
        yield Group(
            rank=dist.get_rank(),
            world=dist.get_world_size(),
            device=device,
            control=control,
        )
    finally:
        dist.destroy_process_group()
