"""Kills every writer of an artifact at every point, and long steps at any moment."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

from tests.sweeps import Outcome, forking, injecting, writers
from tests.sweeps.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sweeps.forking import Server


def missing() -> str:
    """Says what this machine lacks."""
    return injecting.missing()


def run(share: float, folder: Path) -> Outcome:
    """Kills writers, then steps."""
    counts: Counter[str] = Counter()
    with forking.serving() as server:
        broken = list(_kill_writers(server, share, folder / "writers", counts))
    return Outcome(
        figures={
            "writers of artifacts": len(writers.writers()),
            "points at which they were killed": counts["kills"],
            "files torn or lost": counts["torn"],
            "files that differ after another run": counts["different"],
            "temporary files left after that": counts["left"],
        },
        broken=broken,
    )


# Writers, at every point


def _kill_writers(
    server: Server, share: float, folder: Path, counts: Counter[str]
) -> Iterator[str]:
    step = max(1, round(1 / share))
    for place, (name, writer) in enumerate(writers.writers().items()):
        bench = Bench(server, name, writer, folder / name)
        found = bench.points()
        for number, is_new in enumerate([False, True] if share == 1 else [False]):
            for point in found[(place + number) % step :: step]:
                trial = bench.prepare(is_new=is_new)
                if bench.meet(trial, point, injecting.KILL) != -signal.SIGKILL:
                    raise RuntimeError(f"{name} outlived {point.text}")
                counts["kills"] += 1
                yield from bench.judge(trial, counts, f"killed at {point.text}")
