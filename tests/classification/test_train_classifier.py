"""Training, from crops to a run folder: real tiny networks, killed and taken up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from classification import train_classifier
from classification.artifacts import run_params
from classification.modeling import checkpoints, resuming
from tests import training_world
from tests.commands import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

NETWORK = "-m timm/test_resnet --image-size 32 --batch-size 8 --lr 0.02 --seed 1 --logdir logs"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    training_world.make(tmp_path)
    return tmp_path


def train(words: str) -> int:
    return train_classifier.main(["run", "crops", *NETWORK.split(), *words.split()])


def run_folder(base: Path) -> Path:
    [folder] = [path for path in (base / "logs").iterdir() if path.name[0] == "2"]
    return folder


def log_of(folder: Path) -> dict[str, Any]:
    path = max(
        folder.glob("train_classifier_log_*.json"), key=lambda p: p.stat().st_mtime_ns
    )
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def test_a_run_leaves_the_originals_files(base: Path) -> None:
    assert train("--epochs 2") == 0
    folder = run_folder(base)
    params = run_params.read(folder / "params.json")
    assert (params.epochs, params.lr, params.seed) == (2, 0.01, 1)
    assert params.optimizer == "sgd"
    [kept] = folder.glob("ckpt_*.pt")
    read = checkpoints.read(kept)
    assert read.labels == training_world.LABELS[:3]
    assert kept.name == f"ckpt_{log_of(folder)['best_epoch']}.pt"


def start(
    words: Sequence[str], base: Path, *, processes: int = 1
) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += [
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            "-m",
        ]
    return subprocess.Popen(
        [*launcher, "classification.train_classifier", *words],
        cwd=base,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        text=True,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def family(pid: int) -> list[int]:
    """Returns a process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [pid, *(one for child in children.split() for one in family(int(child)))]


def kill_in_epoch(process: subprocess.Popen[str], logs: Path, *, epoch: int) -> None:
    """Ends all processes of a run at once, in the middle of an epoch."""
    for _ in range(3000):
        time.sleep(0.02)
        assert process.poll() is None, process.communicate()[1]
        for path in logs.glob("2*/resume.pt"):
            saved = resuming.read(path.parent)
            if saved is not None and saved.epoch >= epoch and saved.step:
                for pid in family(process.pid):
                    os.kill(pid, signal.SIGKILL)
                process.communicate()
                return
    pytest.fail("never came so far")


KILLED = "--epochs 4 --save-steps 1 --num-workers 2 --label-weighted"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_ends_with_the_same_weights(base: Path, processes: int) -> None:
    training_world.make(base, per_location=6)
    words = ["run", "crops", *NETWORK.split(), *KILLED.split()]
    undisturbed = [w if w != "logs" else "whole" for w in words]
    finish(start(undisturbed, base, processes=processes))
    [whole] = (base / "whole").glob("2*")

    killed = start(words, base, processes=processes)
    kill_in_epoch(killed, base / "logs", epoch=2)
    folder = run_folder(base)
    before = resuming.read(folder)
    assert before is not None
    assert not before.is_trained
    finish(start(["--resume", str(folder)], base, processes=processes))

    one, other = log_of(whole), log_of(folder)
    assert one["weights_sha256"] == other["weights_sha256"] != ""
    assert one["best_epoch"] == other["best_epoch"]
    assert one["counts"]["steps"] == other["counts"]["steps"]
    # Of the killed run at most the step after the last one noted was lost.
    assert (
        before.steps_trained + other["counts"]["steps_of_this_run"]
        == one["counts"]["steps"]
    )
    name = f"ckpt_{one['best_epoch']}.pt"
    of_whole, of_killed = (checkpoints.read(f / name) for f in (whole, folder))
    assert checkpoints.fingerprint(of_whole.model) == checkpoints.fingerprint(
        of_killed.model
    )
    assert resuming.read(folder).is_finished  # type: ignore[union-attr]
