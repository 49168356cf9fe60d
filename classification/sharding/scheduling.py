"""Which shard is run when: each once, and once more where a machine was lost.

What runs them is behind ``Tasks``; here is only what is begun, and what becomes of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from classification.runtime import cli, progress
from classification.runtime.errors import PipelineError
from classification.runtime.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Sequence

# A shard that ends with an error will mostly do so again; a machine that is lost says
# nothing about the shard, unless it happens again and again.
MOST_FAILURES = 3
MOST_LOSSES = 10

# The shard's file is there, though its items may have failed.
_DONE = (cli.EXIT_OK, cli.EXIT_TOO_MANY_FAILURES)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt at a shard ended.

    Attributes:
        code: exit code of the command, or None where the attempt was lost on its way.
        said: the last line of the command, or what was lost.
    """

    code: int | None
    said: str = ""


class Tasks(Protocol):
    """Runs attempts side by side, as many as there is room for."""

    def start(self, shards: Sequence[Shard]) -> None:
        """Hands over attempts, to be run when there is room."""
        ...

    def wait(self) -> tuple[Shard, Ending]:
        """Waits for any attempt to end; returns it."""
        ...


@dataclass(kw_only=True)
class Report:
    """What became of the shards.

    Attributes:
        shards: how many there are.
        again: (shard, reason) of each attempt after which the shard was begun again.
    """

    shards: int
    again: list[tuple[Shard, str]] = field(default_factory=list)


def run_all(tasks: Tasks, of: int) -> Report:
    """Runs shards 1 to ``of`` until all are done.

    Raises:
        PipelineError: a shard failed ``MOST_FAILURES`` times, or was lost
            ``MOST_LOSSES`` times.
    """
    report = Report(shards=of)
    failures: Counter[int] = Counter()
    losses: Counter[int] = Counter()
    tasks.start([Shard(number, of) for number in range(1, of + 1)])
    done = 0
    with progress.bar(of, unit="shards") as shown:
        while done < of:
            shard, ending = tasks.wait()
            if ending.code in _DONE:
                done += 1
                shown.update()
                continue
            (losses if ending.code is None else failures)[shard.number] += 1
            _refuse_hopeless(shard, ending, failures, losses)
            report.again.append((shard, ending.said))
            tasks.start([Shard(shard.number, of, shard.attempt + 1)])
    return report


def _refuse_hopeless(
    shard: Shard, ending: Ending, failures: Counter[int], losses: Counter[int]
) -> None:
    for count, most, what in (
        (failures[shard.number], MOST_FAILURES, "failed"),
        (losses[shard.number], MOST_LOSSES, "was lost"),
    ):
        if count >= most:
            raise PipelineError(
                f"shard {shard} {what} {count} times, at last with: {ending.said}; "
                "what is done is kept, run again to go on"
            )
