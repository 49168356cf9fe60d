"""Model files that were made to harm, given to the commands that read models, untrusted.

Checkpoints and TorchScript archives written byte by byte, ONNX files, TensorFlow graphs.
Each command is a process of its own; strace notes what it asks of the system.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from tests import classifiers, hostile_archives, hostile_graphs, training_world
from tests.detection.detectors.graphs import frozen, red_detector
from tests.sweeps import Outcome, forking
from tests.world import save_jpeg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.sweeps.forking import Child, Server

_MOST_MB = 400
_LIMIT_S = 120  # of a command; on a slow machine, too
_CODES = frozenset({0, 1})
_AT_ONCE = 2
# What a process asks of the system to write, to run a program, or to reach a machine.
_CALLS = (
    "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,"
    "symlink,symlinkat,link,linkat,truncate,chmod,fchmodat,execve,connect,sendto,sendmsg"
)
_CALL = re.compile(r"\d+ +(\w+)\((.*)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
# What is no file: devices, processes, and semaphores, which joblib makes.
_NO_FILES = ("/dev/null", "/proc/", "/dev/shm/sem.")  # noqa: S108 - as above

_CLASSIFY = (
    "classification.run_classifier MODEL crops OUT/c.csv.gz --detections-json boxes.json "
    "--image-size 32 --device cpu --logdir OUT"
)
_EXPORT = (
    "classification.export_model MODEL OUT/m.onnx -m timm/test_resnet --image-size 32 "
    "--label-index run/label_index.json"
)
_TRAIN = (
    "classification.train_classifier run crops -m timm/test_resnet --image-size 32 "
    "--epochs 1 --batch-size 8 --lr 0.01 --pretrained MODEL --logdir OUT"
)
_DETECT = "detection.run_detector_batch MODEL images OUT/d.json --logdir OUT"


@dataclass(frozen=True)
class _Trial:
    """One model file, and the command that it is given to."""

    name: str
    data: bytes
    suffix: str
    words: str


@dataclass
class _Tally:
    """What became of the model files so far."""

    codes: Counter[int] = field(default_factory=Counter)
    most_mb: float = 0
    most_by: str = ""
    broken: list[str] = field(default_factory=list)


def missing() -> str:
    """Says what this machine lacks."""
    if sys.platform != "linux" or not shutil.which("strace"):
        return "strace, which notes what a process asks of the system"
    words = ["strace", "-f", "--seccomp-bpf", "-o", os.devnull, "true"]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        return "the right to trace a process"
    return ""


def run(share: float, folder: Path) -> Outcome:
    """Gives a share of all model files to the commands."""
    folder = folder.resolve()
    world = _make_world(folder)
    trace = folder / "trace"
    tally = _Tally()
    harmless, trials = _trials(world, folder / "written", round(1 / share))
    settings = {"HOME": str(folder / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    strace = ("strace", "-f", "--seccomp-bpf", "-qq", "-s", "300", "-o", str(trace))
    with (
        mock.patch.dict(os.environ, settings),
        forking.serving(*strace, "-e", f"trace={_CALLS}") as server,
    ):
        start = trace.stat().st_size  # what Python does to start is no matter
        usual = {one.words: _peak_mb(server, world, one, tally) for one in harmless}
        for trial, child in _children(server, world, trials):
            _judge(trial, server.wait(child), child, usual[trial.words], tally)
    calls, files, machines = asked(trace, start, (world, folder / "home"))
    tally.broken += calls
    figures = {
        "model files": len({one.name for one in trials}),
        "given to commands": len(trials),
        "refused in one line": tally.codes[1],
        "harmless after all": tally.codes[0],
        "files written elsewhere, and programs run": files,
        "connections": machines,
        "crashes and tracebacks": sum(
            count for code, count in tally.codes.items() if code not in _CODES
        ),
        "most memory above that for a harmless one": (
            f"{tally.most_mb:.0f} MB ({tally.most_by})"
        ),
    }
    return Outcome(figures=figures, broken=tally.broken)


def _make_world(folder: Path) -> Path:
    """Makes what the commands need beside a model; returns the folder."""
    (folder / "home").mkdir()
    (folder / "secret").write_bytes(bytes(16))
    world = folder / "world"
    for name in ("models", "out", "tmp"):
        (world / name).mkdir(parents=True)
    (world / "models/link").symlink_to(folder / "secret")
    training_world.make(world)
    save_jpeg(world / "images/a.jpg", training_world.crop("bear", 0))
    box = {"category": "1", "conf": 0.9, "bbox": [0, 0, 1, 1]}
    document = {
        "info": {"detector": ""},
        "detection_categories": {"1": "animal"},
        "images": [{"file": "d/0/bear0.jpg", "detections": [box]}],
    }
    (world / "boxes.json").write_text(json.dumps(document), encoding="utf-8")
    return world


def _trials(
    world: Path, written: Path, every: int
) -> tuple[list[_Trial], list[_Trial]]:
    """Returns a harmless model for each command, and a share of the hostile ones."""
    detector = red_detector(world / "models/harmless.onnx").read_bytes()
    kinds = [
        # Harmless one, hostile ones, suffix, command, and which share of them it gets.
        (detector, hostile_graphs.onnx_models(detector), ".onnx", ((_DETECT, 1),)),
        (
            classifiers.tiny_onnx(),
            hostile_graphs.onnx_models(classifiers.tiny_onnx()),
            ".onnx",
            ((_CLASSIFY, 1),),
        ),
        (
            hostile_archives.archive(),
            hostile_archives.torchscript(written)
            | hostile_archives.torchscript_bombs(),
            ".pt",
            ((_CLASSIFY, 1), (_EXPORT, 4), (_TRAIN, 8)),
        ),
        (
            hostile_archives.checkpoint(),
            hostile_archives.checkpoints(written) | hostile_archives.checkpoint_bombs(),
            ".pth",
            ((_EXPORT, 1), (_TRAIN, 2), (_DETECT, 2)),
        ),
        (
            frozen("Placeholder", "Identity"),
            hostile_graphs.frozen_graphs(written),
            ".pb",
            ((_DETECT, 1),),
        ),
    ]
    harmless: dict[str, _Trial] = {}
    trials = []
    for sound, hostile, suffix, commands in kinds:
        for words, part in commands:
            harmless.setdefault(words, _Trial("harmless", sound, suffix, words))
            trials += [
                _Trial(f"{suffix}: {name}", data, suffix, words)
                for name, data in list(hostile.items())[:: part * every]
            ]
    return list(harmless.values()), trials


def _children(
    server: Server, world: Path, trials: Sequence[_Trial]
) -> Iterator[tuple[_Trial, Child]]:
    """Starts a command for each model, a few at once; yields them in their order."""
    running: list[tuple[_Trial, Child]] = []
    for number, trial in enumerate(trials):
        running.append((trial, _start(server, world, trial, number)))
        if len(running) == _AT_ONCE:
            yield running.pop(0)
    yield from running


def _start(server: Server, world: Path, trial: _Trial, number: int) -> Child:
    out = world / f"out/{number}"
    out.mkdir()
    model = world / f"models/{number}{trial.suffix}"
    if trial.words == _CLASSIFY and trial.suffix == ".onnx":
        classifiers.save_exported(model, trial.data)
    else:
        model.write_bytes(trial.data)
    line = trial.words.replace("MODEL", str(model)).replace("OUT", str(out))
    name, *words = line.split()
    if trial.suffix == ".onnx":  # its manifest says it
        words = _without(words, "--image-size")
    return server.start(
        *(__name__, "tried", name, words, str(out / "peak")),
        folder=world,
        stderr=out / "said",
        scratch=world / "tmp",
    )


def _without(words: list[str], option: str) -> list[str]:
    if option not in words:
        return words
    at = words.index(option)
    return words[:at] + words[at + 2 :]


def tried(name: str, words: Sequence[str], peak: str) -> int:
    """Runs a command in a child, and notes how much memory the process ever held."""
    signal.alarm(_LIMIT_S)
    code = forking.command(name, words)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    Path(peak).write_text(status.split("VmHWM:")[1].split()[0], encoding="ascii")
    return code


def _peak_mb(server: Server, world: Path, trial: _Trial, tally: _Tally) -> float:
    """Returns what a command needs for a harmless model, in MB; it should run."""
    child = _start(server, world, trial, 10**6 + len(list((world / "out").iterdir())))
    expected = {0} if trial.suffix == ".onnx" else _CODES  # others fit no network
    if server.wait(child) not in expected:
        tally.broken.append(f"harmless, {trial.words}: {child.said[-300:]}")
    return _held_mb(child)


def _held_mb(child: Child) -> float:
    peak = child.stderr.with_name("peak")
    return int(peak.read_text()) * 1024 / 1e6 if peak.exists() else 0


def _judge(
    trial: _Trial, code: int, child: Child, usual_mb: float, tally: _Tally
) -> None:
    tally.codes[code] += 1
    command = trial.words.split()[0].rpartition(".")[2]
    more_mb = _held_mb(child) - usual_mb
    if more_mb > tally.most_mb:
        tally.most_mb, tally.most_by = more_mb, f"{command}, {trial.name}"
    said = child.said.strip().splitlines()
    is_said = code == 0 or (said and said[-1].startswith("error: "))
    if code not in _CODES or not is_said or more_mb > _MOST_MB:
        last = said[-1][:200] if said else ""
        tally.broken.append(
            f"{command}, {trial.name}: code {code}, {more_mb:.0f} MB more: {last}"
        )
    shutil.rmtree(child.stderr.parent)


def asked(
    trace: Path, start: int, allowed: Sequence[Path]
) -> tuple[list[str], int, int]:
    """Reads what was asked of the system: faults, files elsewhere, connections."""
    broken: Counter[str] = Counter()
    with trace.open(encoding="utf-8", errors="replace") as file:
        file.seek(start)
        for line in file:
            found = _CALL.match(line)
            if found and _is_forbidden(found[1], found[2], allowed):
                broken[line.partition(" ")[2].strip()[:200]] += 1
    machines = sum(count for line, count in broken.items() if "AF_INET" in line)
    return list(broken), broken.total() - machines, machines


def _is_forbidden(call: str, arguments: str, allowed: Sequence[Path]) -> bool:
    if call in {"connect", "sendto", "sendmsg"}:
        return "AF_INET" in arguments
    if call in {"open", "openat"} and not re.search(
        r"O_(WRONLY|RDWR|CREAT)", arguments
    ):
        return False
    paths = _QUOTED.findall(arguments)
    if call == "execve":
        return True
    return any(
        ".." in one.split("/")
        or (
            one.startswith("/") and not one.startswith((*map(str, allowed), *_NO_FILES))
        )
        for one in paths
    )
