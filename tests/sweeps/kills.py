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
from tests.web import serving_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sweeps.forking import Child, Server
    from tests.sweeps.long_steps import Step

KILLS = 100
KILLS_IN_A_ROW = 3
FEW = (  # those of a tenth
    *("crop_detections", "run_classifier", "import_metadata", "run_detector_batch"),
    *("detect_and_crop", "download_images"),
)
# What a step writes several times, each time whole.
MAY_CHANGE = r"logs/run/|measured/|mdcache/|datasets\.json"
HOLDS = re.compile(r"\.lock$|\.journal$")
TRIES = 50


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
            _Killed(server, name, step, folder, web.url)
            for name, step in long_steps.STEPS.items()
            if is_all or name in FEW
        ]
        counts["steps"] = len(steps)
        chance = random.Random(6)  # noqa: S311 - no secret
        for step in itertools.cycle(steps):
            if counts["steps killed"] >= kills:
                break
            yield from step.live(chance, kills, counts)
        for step in steps:
            if is_all or step.name in FEW[:3]:
                yield from step.meet_itself(counts)


class _Killed:
    """A step that is killed again and again."""

    def __init__(
        self, server: Server, name: str, step: Step, base: Path, url: str
    ) -> None:
        self.name = name
        self._server = server
        self._step = step
        self._base = base
        self._url = url
        self._numbers = itertools.count()
        began = time.monotonic()
        self._whole_out = self._prepare()
        code, said = self._finish(self._whole_out)
        if code:
            raise RuntimeError(f"{name} ended with {code}: {said}")
        self._seconds = time.monotonic() - began
        self._whole = long_steps.artifacts(self._whole_out)

    def _prepare(self) -> Path:
        place = self._base / "runs" / self.name / str(next(self._numbers))
        return long_steps.prepare(place, self._base)

    def _start(self, out: Path, *, is_held: bool = False, suffix: str = "") -> Child:
        again = self._step.again
        line = again(out) if again else self._step.line
        line = line.replace("URL", self._url)
        stderr = out.parent / f"said{suffix}"
        return long_steps.start(self._server, line, out.parent, stderr, is_held=is_held)

    def _finish(self, out: Path) -> tuple[int, str]:
        child = self._start(out)
        return self._server.wait(child), child.said

    def live(
        self, chance: random.Random, kills: int, counts: Counter[str]
    ) -> Iterator[str]:
        """Kills runs into one folder, then lets one end, and compares."""
        out, kept = self._prepare(), None
        for _ in range(KILLS_IN_A_ROW):
            child = self._start(out)
            time.sleep(chance.uniform(0.1, 0.7) * self._seconds)
            child.kill()
            if self._server.wait(child) != -signal.SIGKILL:
                kept = None  # it was faster
                break
            counts["steps killed"] += 1
            kept = self._step.kept(out) if self._step.kept else None
            yield from self._find_torn(out, counts)
            if counts["steps killed"] >= kills:
                break
        yield from self._end(out, kept, counts)

    def _find_torn(self, out: Path, counts: Counter[str]) -> Iterator[str]:
        for name, content in long_steps.artifacts(out).items():
            if name not in self._whole and not name.startswith("logs/run/ckpt"):
                continue  # a journal, a lock, a temporary file
            is_final = content == self._whole.get(name)
            may_change = re.search(MAY_CHANGE, name)
            if not is_final and not (may_change and long_steps.is_whole(name, content)):
                counts["artifacts torn"] += 1
                yield f"{self.name}: {name} is torn"

    def _end(self, out: Path, kept: int | None, counts: Counter[str]) -> Iterator[str]:
        """Lets a run end, and compares what there is with an undisturbed run."""
        code, said = self._finish(out)
        counts["ends"] += 1
        found = long_steps.artifacts(out)
        different = {
            name
            for name in self._whole.keys() | found.keys()
            if found.get(name) != self._whole.get(name)
        }
        counts["ends identical"] += code == 0 and not different
        if code:
            yield f"{self.name}: ended with {code} after kills: {said}"
        if different:
            yield f"{self.name}: {sorted(different)} differ after kills"
        if code == 0 and kept is not None and self._step.taken_over:
            over = self._step.taken_over(long_steps.newest_log(out), said)
            counts["units done"] += kept
            counts["units again"] += max(0, kept - over)
            if over < kept:
                yield f"{self.name}: {kept} units were done, {over} were taken over"

    def meet_itself(self, counts: Counter[str]) -> Iterator[str]:
        """Starts a run while another is at work on the same output."""
        if self._step.again:
            return  # each run has a folder of its own
        out, first = self._stop_at_work()
        second = self._start(out, suffix="2")
        code = self._server.wait(second)
        first.kill()
        self._server.wait(first)
        last = second.said.splitlines()[-1]
        is_refused = code == 1 and last.startswith("error: another ")
        counts["second runs"] += 1
        counts["second runs refused"] += is_refused
        if not is_refused:
            yield f"{self.name}: a second run ended with {code}: {second.said}"

    def _stop_at_work(self) -> tuple[Path, Child]:
        """Returns a run that was stopped while it held its output."""
        for _ in range(TRIES):
            out = self._prepare()
            child = self._start(out)
            while child.state() != "Z" and not _holds(out):
                pass  # it may be at work for milliseconds
            child.stop()
            if _holds(out):
                return out, child
            child.kill()
            self._server.wait(child)
        raise RuntimeError(f"{self.name} never held its output")


def _holds(out: Path) -> bool:
    return any(HOLDS.search(name) for _, _, names in os.walk(out) for name in names)
