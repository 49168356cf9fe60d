"""The flags that let a cluster run a step, the same in every step that one can run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from classification.runtime import cli
from classification.sharding.cluster import Job

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from classification.runtime.shards import Shard

LOCAL, RAY = "local", "ray"
DEFAULT_SHARDS = 64


class ClusterArguments(Protocol):
    """What ``add_cluster`` puts into a namespace, and what else a cluster asks for."""

    shard: Shard | None
    engine: str
    ray_address: str | None
    ray_shards: int
    ray_cpus: int | None


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Declares ``--engine`` and what goes with it."""
    group = parser.add_argument_group(
        "a cluster",
        "With --engine ray, the machines of a Ray cluster run the shards of this step, "
        "and what they write is joined at the end. All of them need this package, and "
        "the images, models and outputs under the same paths.",
    )
    add = group.add_argument
    add(
        "--engine",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="who does the work: this machine, or a Ray cluster (default: %(default)s)",
    )
    add(
        "--ray-address",
        metavar="ADDRESS",
        help="the cluster, such as 10.0.0.1:6379 or auto (default: the environment's "
        "RAY_ADDRESS, else one is begun on this machine for as long as the step takes)",
    )
    add(
        "--ray-shards",
        type=cli.positive_int,
        default=DEFAULT_SHARDS,
        metavar="N",
        help="number of shards; a lost machine costs no more than the shards it was at "
        "(default: %(default)s)",
    )
    add(
        "--ray-cpus",
        type=cli.positive_int,
        metavar="N",
        help="processor cores that a shard asks for (default: all of the smallest "
        "machine; 1 beside a GPU)",
    )


def job_of(
    args: ClusterArguments,
    parser: argparse.ArgumentParser,
    module: str,
    argv: Sequence[str] | None,
    *,
    device: str = "cpu",
) -> Job | None:
    """Returns the step for a cluster; None where this machine does the work.

    Args:
        args: the command line.
        parser: says what is wrong with it.
        module: dotted name of the command.
        argv: its words; None for the process's own.
        device: what its network runs on.
    """
    if args.engine == LOCAL:
        return None
    if args.shard:
        parser.error("--shard and --engine ray: the cluster runs all shards")
    return Job(
        module=module,
        argv=sys.argv[1:] if argv is None else argv,
        shards=args.ray_shards,
        device=device,
        address=args.ray_address,
        cpus=args.ray_cpus,
    )
