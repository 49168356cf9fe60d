"""Fills the disk in the middle of every step, and lets the disk fail every writer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

from tests.sweeps import Outcome, forking, injecting, long_steps, writers
from tests.sweeps.bench import Bench
from tests.sweeps.step_bench import StepBench
from tests.web import serving_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sweeps.forking import Server

# What a full or broken disk may refuse.
FAULTS = {
    "ENOSPC": ("openat", "write", "pwrite64", "ftruncate", "fsync", "rename", "mkdir"),
    "EIO": ("openat", "write", "pwrite64", "ftruncate", "fsync", "rename"),
}
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of what a step needs, that there is room for
FEW = (  # steps of a tenth
    *("crop_detections", "run_classifier", "import_metadata", "run_detector_batch"),
    *("detect_and_crop", "merge_classification_detection_output"),
)
PAGE = 4096
AMPLE = 256 << 20
UNSHARE = ("unshare", "-r", "-m")


def missing() -> str:
    """Says what this machine lacks."""
    if reason := injecting.missing():
        return reason
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    words = [*UNSHARE, "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"no private tmpfs here: {ended.stderr.strip()}" if ended.returncode else ""


def run(share: float, folder: Path) -> Outcome:
    """Fails writers, then fills the disk of steps."""
    counts: Counter[str] = Counter()
    with forking.serving(*UNSHARE) as server:
        broken = list(_fail_writers(server, share, folder / "writers", counts))
        broken += _fill(server, share, folder / "steps", counts)
    return Outcome(
        figures={
            "writers of artifacts": len(writers.writers()),
            "calls that the disk refused them": counts["refused"],
            "of them told in one line, with exit code 1": counts["told"],
            "of them without consequence": counts["harmless"],
            "files torn or lost": counts["torn"],
            "files that differed after another run": counts["different"],
            "temporary files left after that": counts["left"],
            "steps": counts["steps"],
            "runs whose disk was full in the middle": counts["full"],
            "of them ended with one line and exit code 1": counts["full told"],
            "of them identical once there was room": counts["ends identical"],
            "runs whose temporary folder was full": counts["scratch"],
            "of them ended well, or with one line": counts["scratch told"],
            "artifacts torn by all that": counts["artifacts torn"],
            "units of work that a full disk found done": counts["units done"],
            "of them done again": counts["units again"],
        },
        broken=broken,
    )


# Writers


def _fail_writers(
    server: Server, share: float, folder: Path, counts: Counter[str]
) -> Iterator[str]:
    step = max(1, round(1 / share))
    place = 0
    for name, writer in writers.writers().items():
        bench = Bench(server, name, writer, folder / name)
        found = bench.points()
        for error, calls in FAULTS.items():
            for point in found:
                place += 1
                if point.call not in calls or place % step:
                    continue
                trial = bench.prepare()
                how = f"{error} at {point.text}"
                code = bench.meet(trial, point, f"error={error}")
                counts["refused"] += 1
                if code == 0 and bench.is_done(trial):
                    counts["harmless"] += 1  # such as making a folder that is there
                elif fault := _untold(code, trial.child.said):
                    yield f"{name}: {fault}, {how}"
                else:
                    counts["told"] += 1
                yield from bench.judge(trial, counts, how)


def _untold(code: int, said: str) -> str:
    """Says what is wrong with how a failure was told; empty if nothing."""
    lines = said.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if code != 1 or "Traceback" in said or errors != lines[-1:]:
        return f"ended with {code} and said {said!r}"
    return ""


# Steps


def mount(folder: str, size: int) -> int:
    """Gives a folder a disk of its own; runs in a child of the server."""
    option = "remount," if os.path.ismount(folder) else ""
    words = ["mount", "-t", "tmpfs", "-o", f"{option}size={size}", "none", folder]
    return subprocess.run(words, check=False).returncode


def _fill(
    server: Server, share: float, folder: Path, counts: Counter[str]
) -> Iterator[str]:
    is_all = share == 1
    long_steps.make(server, folder, with_network=is_all)
    with serving_folder(folder / "in/images") as web:
        for name, step in long_steps.STEPS.items():
            if is_all or name in FEW:
                bench = StepBench(server, name, step, folder, web.url, root=server.root)
                full = _Full(bench)
                counts["steps"] += 1
                for room in SHARES if is_all else SHARES[counts["steps"] % 2 :: 3]:
                    yield from full.fill(room, counts)
                yield from full.fill_scratch(counts)


class _Full:
    """A step whose disk is too small."""

    def __init__(self, bench: StepBench) -> None:
        self._bench = bench
        out = bench.prepare()
        self._mount(out, AMPLE)
        bench.run_undisturbed(out)
        disk = os.statvfs(bench.seen(out))
        self._need = (disk.f_blocks - disk.f_bfree) * disk.f_frsize

    def _mount(self, folder: Path, size: int) -> None:
        child = self._bench.server.start(
            *("tests.sweeps.no_space", "mount", str(folder), size),
            folder=folder.parent,
            stderr=folder.parent / "mount",
        )
        if self._bench.server.wait(child):
            raise RuntimeError(child.said)

    def fill(self, share: float, counts: Counter[str]) -> Iterator[str]:
        """Gives a step less room than it needs, then enough."""
        out = self._bench.prepare()
        self._mount(out, max(PAGE, int(share * self._need) // PAGE * PAGE))
        child = self._bench.start(out)
        code = self._bench.server.wait(child)
        counts["full"] += 1
        how = f"with room for {share:.0%} of {self._need} bytes"
        if fault := _untold(code, child.said):
            yield f"{self._bench.name}: {fault}, {how}"
        else:
            counts["full told"] += 1
        kept = self._bench.kept(out)
        yield from self._bench.find_torn(out, counts)
        self._mount(out, AMPLE)
        yield from (f"{fault}, {how}" for fault in self._bench.end(out, kept, counts))

    def fill_scratch(self, counts: Counter[str]) -> Iterator[str]:
        """Leaves no room for temporary files, which not all steps need."""
        out = self._bench.prepare()
        scratch = out.with_name("scratch")
        scratch.mkdir()
        self._mount(scratch, PAGE)
        child = self._bench.start(out, scratch=scratch)
        code = self._bench.server.wait(child)
        counts["scratch"] += 1
        if code and (fault := _untold(code, child.said)):
            yield f"{self._bench.name}: {fault}, with no room for temporary files"
        else:
            counts["scratch told"] += 1
        yield from self._bench.find_torn(out, counts)
