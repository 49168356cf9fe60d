"""Faults at the n-th call of the system, by ``strace``.

A child is held, ``strace`` takes hold of it, and it begins: what is counted is its own
work alone. Calls that write, or make a file take its place, are the points at which a
fault can come.
"""

from __future__ import annotations

import functools
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.sweeps.forking import Child, Server

# All that may change what is on the disk, and what comes in between.
CALLS = (
    *("openat", "write", "pwrite64", "writev", "ftruncate", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "chmod", "fchmod", "fchmodat", "flock", "close"),
)
KILL = "signal=SIGKILL"
_ATTACH_S = 10
_LINE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\(")


class Point(NamedTuple):
    """A call of the system, as the n-th of its name.

    Attributes:
        call: its name.
        number: from 1.
        text: what ``strace`` says of it.
    """

    call: str
    number: int
    text: str


@functools.cache
def missing() -> str:
    """Says why no fault can be injected here; empty if one can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        # It waits until it is spoken to, and then opens a file.
        words = ["sh", "-c", f"read line; : <{trace}"]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as child:
            fault = [*_strace(trace, ["openat"], "error=EIO:when=1+")]
            with subprocess.Popen(
                [*fault, "-p", str(child.pid)], stderr=subprocess.PIPE, text=True
            ) as tracer:
                time.sleep(0.5)
                child.communicate(b"go\n")
                _, said = tracer.communicate()
        if not trace.exists() or "INJECTED" not in trace.read_text(errors="replace"):
            reason = said.strip().splitlines()[-1:] or ["no reason given"]
            return f"strace injects no fault here: {reason[0]}"
    return ""


def _strace(trace: Path, calls: Iterable[str], fault: str = "") -> list[str]:
    names = ",".join(f"?{name}" for name in calls)
    injecting = ["-e", f"inject={names}:{fault}"] if fault else []
    return [
        "strace",
        "-qq",
        "-f",
        "-y",
        "-o",
        f"{trace}",
        "-e",
        f"trace={names}",
        *injecting,
    ]


def points(server: Server, child: Child, folder: Path) -> list[Point]:
    """Returns the calls that touch a folder, of a held child that is let go undisturbed.

    Those of its first thread, which writes: ``strace`` counts for each thread.
    """
    code, trace = _run(server, child, CALLS)
    if code != 0:
        raise RuntimeError(f"ended with {code}: {child.said}")
    found, counts = [], Counter[str]()
    for line in trace.splitlines():
        call = _LINE.match(line)
        if call and int(call["thread"]) == child.pid:
            counts[call["name"]] += 1
            if str(folder) in line:
                found.append(Point(call["name"], counts[call["name"]], line))
    return found


def meet(server: Server, child: Child, point: Point, fault: str) -> int:
    """Lets a held child go with a fault before it; returns its exit code.

    Args:
        server: whose child it is.
        child: held.
        point: where the fault comes.
        fault: such as ``error=EIO``.

    Raises:
        RuntimeError: it did not come there.
    """
    told = f"{fault}:when={point.number}"
    code, trace = _run(server, child, [point.call], told)
    if code != -signal.SIGKILL and "(INJECTED" not in trace:
        raise RuntimeError(f"never came to {point.text}: {child.said}")
    return code


def _run(
    server: Server, child: Child, calls: Iterable[str], fault: str = ""
) -> tuple[int, str]:
    trace = child.stderr.with_suffix(".trace")
    words = [*_strace(trace, calls, fault), "-p", str(child.pid)]
    with subprocess.Popen(words) as tracer:
        _wait_until_traced(child, tracer)
        child.let_go()
        code = server.wait(child)
    return code, trace.read_text(encoding="utf-8", errors="replace")


def _wait_until_traced(child: Child, tracer: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _ATTACH_S
    status = Path(f"/proc/{child.pid}/status")
    while re.search(
        r"^TracerPid:\s+0$", status.read_text(encoding="ascii"), re.MULTILINE
    ):
        if tracer.poll() is not None or time.monotonic() > until:
            child.kill()
            raise RuntimeError("strace did not take hold of the child")
        time.sleep(0.0005)
