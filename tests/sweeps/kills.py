"""Kills every writer of an artifact at every point, and long steps at any moment."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.sweeps import Outcome, forking, injecting, long_steps, writers
from tests.sweeps.bench import Bench
from tests.sweeps.step_bench import StepBench
from tests.web import serving_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sweeps.forking import Child, Server

KILLS = 100
KILLS_IN_A_ROW = 3
TRIES = 50
FEW = (  # steps of a tenth
    *("crop_detections", "run_classifier", "import_metadata", "run_detector_batch"),
    *("detect_and_crop", "download_images"),
)
HOLDS = re.compile(r"(?<!_log)\.lock$|\.journal$")


def missing() -> str:
    """Says what this machine lacks."""
    return injecting.missing()


def run(share: float, folder: Path) -> Outcome:
    """Kills writers, then steps."""
    counts: Counter[str] = Counter()
    with forking.serving() as server:
        broken = list(_kill_writers(server, share, folder / "writers", counts))
        broken += _kill_steps(server, share, folder / "steps", counts)
    return Outcome(
        figures={
            "writers of artifacts": len(writers.writers()),
            "points at which they were killed": counts["kills"],
            "files torn or lost": counts["torn"],
            "files that differed after another run": counts["different"],
            "temporary files left after that": counts["left"],
            "long steps": counts["steps"],
            "random moments at which they were killed": counts["steps killed"],
            "artifacts torn by that": counts["artifacts torn"],
            "ends after another run": counts["ends"],
            "of them identical to an undisturbed run": counts["ends identical"],
            "units of work that a kill found done": counts["units done"],
            "of them done again": counts["units again"],
            "second runs on the output of one that was at work": counts["second runs"],
            "of them ended with one line": counts["second runs refused"],
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


# Long steps, at any moment


def _kill_steps(
    server: Server, share: float, folder: Path, counts: Counter[str]
) -> Iterator[str]:
    kills = round(KILLS * share)
    is_all = share == 1
    long_steps.make(server, folder, with_network=is_all)
    with serving_folder(folder / "in/images") as web:
        steps = [
            _Killed(StepBench(server, name, step, folder, web.url))
            for name, step in long_steps.STEPS.items()
            if is_all or name in FEW
        ]
        counts["steps"] = len(steps)
        chance = random.Random(6)
        for step in itertools.cycle(steps):
            if counts["steps killed"] >= kills:
                break
            yield from step.live(chance, kills, counts)
        for step in steps:
            if is_all or step.name in FEW[:3]:
                yield from step.meet_itself(counts)


class _Killed:
    """A step that is killed again and again."""

    def __init__(self, bench: StepBench) -> None:
        self.name = bench.name
        self._bench = bench
        bench.run_undisturbed(bench.prepare())

    def live(
        self, chance: random.Random, kills: int, counts: Counter[str]
    ) -> Iterator[str]:
        """Kills runs into one folder, then lets one end, and compares."""
        out, kept = self._bench.prepare(), None
        for _ in range(KILLS_IN_A_ROW):
            child = self._bench.start(out)
            time.sleep(chance.uniform(0.1, 0.7) * self._bench.seconds)
            child.kill()
            if self._bench.server.wait(child) != -signal.SIGKILL:
                kept = None  # it was faster
                break
            counts["steps killed"] += 1
            kept = self._bench.kept(out)
            yield from self._bench.find_torn(out, counts)
            if counts["steps killed"] >= kills:
                break
        yield from self._bench.end(out, kept, counts)

    def meet_itself(self, counts: Counter[str]) -> Iterator[str]:
        """Starts a run while another is at work on the same output."""
        if self._bench.step.again:
            return  # each run has a folder of its own
        out, first = self._stop_at_work()
        second = self._bench.start(out, suffix="2")
        code = self._bench.server.wait(second)
        first.kill()
        self._bench.server.wait(first)
        last = second.said.splitlines()[-1]
        is_refused = code == 1 and last.startswith("error: another ")
        counts["second runs"] += 1
        counts["second runs refused"] += is_refused
        if not is_refused:
            yield f"{self.name}: a second run ended with {code}: {second.said}"

    def _stop_at_work(self) -> tuple[Path, Child]:
        """Returns a run that was stopped while it held its output."""
        for _ in range(TRIES):
            out = self._bench.prepare()
            child = self._bench.start(out)
            while child.state() != "Z" and not _holds(out):
                pass  # it may be at work for milliseconds
            child.stop()
            if _holds(out):
                return out, child
            child.kill()
            self._bench.server.wait(child)
        raise RuntimeError(f"{self.name} never held its output")


def _holds(out: Path) -> bool:
    return any(HOLDS.search(name) for _, _, names in os.walk(out) for name in names)
