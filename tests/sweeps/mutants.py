"""Broken copies of each kind of file: read, or refused in one line, at once.

The golden files of tests/test_formats.py are changed at random, and read by the format's
own reader; some are given to the commands that read them.
"""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from classification.runtime import cli
from classification.runtime.errors import ArtifactError
from tests.commands import command
from tests.sweeps import Outcome, mutant_commands, mutating
from tests.sweeps.mutant_commands import READINGS
from tests.test_formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sweeps.mutant_commands import Reading
    from tests.test_formats import Format

EACH = 5000
EACH_OF_COMMANDS = 100
_LONGEST_S = 2.0
_LONGEST_COMMAND_S = 30.0
_MOST_MIB = 100
_STATUS = Path("/proc/self/status")
_LONGEST_MESSAGE = 2100


@dataclass
class _Tally:
    """What became of the mutants so far."""

    read: int = 0
    refused: int = 0
    slowest_s: float = 0
    most_mib: float = 0
    faults: Counter[str] = field(default_factory=Counter)


def missing() -> str:
    """Says what this machine lacks: nothing."""
    return ""


def run(share: float, folder: Path) -> Outcome:
    """Reads a share of all mutants."""
    tally = _Tally()
    for file_format in FORMATS:
        home = folder / "format"
        home.mkdir(exist_ok=True)
        path = home / file_format.golden
        for number in range(round(EACH * share)):
            _try(file_format, number, path, tally)
        path.unlink()
    codes = _run_commands(share, folder, tally)
    figures = {
        "kinds of files": len(FORMATS),
        "broken copies of each": round(EACH * share),
        "read all the same": tally.read,
        "refused in one line that names the file": tally.refused,
        "slowest": f"{tally.slowest_s:.1f} s",
        "most memory": f"{tally.most_mib:.0f} MiB",
        "broken copies given to commands": sum(codes.values()),
        "ended with 0, 1 or 4": sum(codes[code] for code in (0, 1, 4)),
        "tracebacks": tally.faults.total(),
    }
    return Outcome(figures=figures, broken=list(_sentences(tally.faults)))


def _sentences(faults: Counter[str]) -> Iterator[str]:
    for fault, count in faults.most_common():
        yield f"{fault} ({count} times)"


def _try(file_format: Format, number: int, path: Path, tally: _Tally) -> None:
    name = file_format.golden
    source = random.Random(f"{name} {number}")
    path.write_bytes(mutating.mutate(name, file_format.path.read_bytes(), source))
    with _measured(f"{name} {number}", tally):
        try:
            file_format.read(path)
        except ArtifactError as error:
            tally.refused += 1
            if fault := _fault_of(cli.error_line(error), path):
                tally.faults[f"{name}: {fault}"] += 1
        except BaseException as error:  # noqa: BLE001 - all that it may not raise
            tally.faults[f"{name} {_place(error)}"] += 1
        else:
            tally.read += 1


def _fault_of(message: str, path: Path) -> str:
    if not message.startswith(str(path)):
        return f"does not name the file: {message[:100]!r}"
    if not message.isprintable():
        return f"not printable: {message.removeprefix(str(path))[:100]!r}"
    if len(message) > _LONGEST_MESSAGE:
        return f"{len(message)} characters: {message.removeprefix(str(path))[:100]!r}"
    return ""


def _place(error: BaseException) -> str:
    """Says what was raised, and where in the project."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/classification/" in f.filename] or frames
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
    return f"{where}: {type(error).__name__}: {str(error)[:100]}"


@contextlib.contextmanager
def _measured(
    what: str, tally: _Tally, longest_s: float = _LONGEST_S
) -> Iterator[None]:
    """Takes note where the block takes long, or much memory."""
    held, began = _memory_mib("VmRSS"), time.perf_counter()
    yield
    took, grown = time.perf_counter() - began, _memory_mib("VmHWM") - held
    tally.slowest_s = max(tally.slowest_s, took)
    tally.most_mib = max(tally.most_mib, grown)
    if took > longest_s:
        tally.faults[f"{what}: {took:.1f} s"] += 1
    if grown > _MOST_MIB:
        tally.faults[f"{what}: {grown:.0f} MiB"] += 1


def _memory_mib(key: str) -> float:
    """Returns what Linux tells of this process's memory; 0 elsewhere.

    Args:
        key: ``VmRSS``, what it holds, or ``VmHWM``, the most since it was asked for the
            former.
    """
    if not _STATUS.exists():
        return 0
    if key == "VmRSS":
        _STATUS.with_name("clear_refs").write_text("5")
    told = _STATUS.read_text().partition(f"{key}:")[2]
    return int(told.split(maxsplit=1)[0]) / 1024


def _run_commands(share: float, folder: Path, tally: _Tally) -> Counter[int]:
    """Gives mutants to commands; returns how often each exit code came."""
    codes: Counter[int] = Counter()
    mutant_commands.make_worlds(folder)
    for world, steps in mutant_commands.STEPS.items():
        with contextlib.chdir(folder / world):
            for step in steps:
                _expect_success(step, tally)
    for reading in READINGS:
        for number in range(max(1, round(EACH_OF_COMMANDS * share))):
            with _copy(folder / reading.world, folder / "copy"):
                codes[_try_command(reading, number, tally)] += 1
    return codes


@contextlib.contextmanager
def _copy(source: Path, target: Path) -> Iterator[None]:
    """Goes into a copy of a folder, which is gone after the block."""
    shutil.copytree(source, target)
    with contextlib.chdir(target):
        yield
    shutil.rmtree(target)


def _expect_success(step: str, tally: _Tally) -> None:
    code, said = _ended(step)
    if code != 0:
        tally.faults[f"{step}: {said[-200:]}"] += 1


def _try_command(reading: Reading, number: int, tally: _Tally) -> int:
    path = Path(reading.file)
    what = f"{reading.step.split()[0]} < {reading.file}"
    source = random.Random(f"{what} {number}")
    path.write_bytes(mutating.mutate(path.name, path.read_bytes(), source))
    with _measured(f"{what} {number}", tally, longest_s=_LONGEST_COMMAND_S):
        code, said = _ended(reading.step)
    last = said.rstrip().rpartition("\n")[2]
    if code not in (0, 1, 4) or "Traceback" in said:
        tally.faults[f"{what}: exit code {code}: {last[:200]}"] += 1
    elif code and not (last.startswith("error: ") and last.isprintable()):
        tally.faults[f"{what}: {last[:200]!r}"] += 1
    return code


def _ended(step: str) -> tuple[int, str]:
    """Runs a command in this process; returns its exit code and what it said."""
    name, *arguments = step.split()
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = int(command(name).main(arguments))
        except SystemExit:
            code = 2
    return code, said.getvalue()
