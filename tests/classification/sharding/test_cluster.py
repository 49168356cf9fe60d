"""What runs on a Ray cluster; the sweep ``cluster`` kills a machine of one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from classification import run_classifier
from classification.runtime import cli
from classification.sharding import cluster
from tests import classifiers, world
from tests.sweeps import cluster as sweep

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_ray_is_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crops").mkdir()
    line = ["m.onnx", "crops", "o.csv", "--engine", "ray"]
    assert run_classifier.main(line) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: --engine ray needs an extra: pip install 'cameratraps-classifier[ray]'"
    )


def test_later_words_count_more_than_the_users() -> None:
    assert cluster._with(["a", "--", "-b"], ["--x"]) == ["a", "--x", "--", "-b"]
    assert cluster._with(["a"], ["--x"]) == ["a", "--x"]
    assert cluster._without(["a", "--restart", "b"], "--restart") == ["a", "b"]


def test_a_shard_asks_for_the_cores_of_the_smallest_machine_that_has_some() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 16.0}},
        {"Alive": True, "Resources": {"CPU": 8.0}},
        {"Alive": True, "Resources": {}},
        {"Alive": False, "Resources": {"CPU": 2.0}},
    ]
    assert cluster._smallest(nodes) == 8
    assert cluster._smallest([]) == 1


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_in_a_task_says_its_last_line(here: Path) -> None:
    (here / "crops").mkdir()
    module = "classification.run_classifier"
    code, said = cluster.run_command(module, ["m.onnx", "crops", "o.csv"], str(here))
    assert code == cli.EXIT_FAILED
    assert said == "error: no image below crops; crop_detections writes them"
    code, said = cluster.run_command(module, ["m.onnx", "none", "o.csv"], str(here))
    assert code == cli.EXIT_USAGE
    assert said.endswith("no such folder: none")
    code, said = cluster.run_command(module, [], str(here / "none"))
    assert (code, said.partition(" on ")[0]) == (cli.EXIT_FAILED, f"no {here / 'none'}")


IN_OWN_NETWORK = """
import subprocess, sys
from tests.sweeps.cluster import _bring_up_loopback
_bring_up_loopback()
sys.exit(subprocess.call([sys.executable, "-m", "classification.run_classifier", *sys.argv[1:]]))
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(sweep.missing()), reason=sweep.missing() or "-")
def test_a_cluster_of_this_machine_classifies_as_one_process_does(here: Path) -> None:
    model = classifiers.save_exported(here / "m.onnx")
    for number in range(9):
        world.save_jpeg(here / f"crops/{number}.jpg", world.photograph(seed=number))
    (here / "crops/4.jpg").write_bytes(b"broken")
    line = [str(model), "crops", "--batch-size", "2", "--device", "cpu"]
    assert run_classifier.main([*line, "one.csv.gz"]) == 0
    flags = ["--engine", "ray", "--ray-shards", "3"]
    done = _run_in_own_network([*line, "o.csv.gz", *flags])
    assert done.returncode == 0, done.stderr
    assert Path("o.csv.gz").read_bytes() == Path("one.csv.gz").read_bytes()
    assert "o.csv.gz: 9 items of 3 shards, 1 of them failed" in done.stderr
    assert not list(here.glob("*.shard-*.csv.gz*"))
    Path("m.onnx").unlink()
    done = _run_in_own_network([*line, "p.csv.gz", *flags])
    assert done.returncode == 1
    assert "failed 3 times, at last with: error: " in done.stderr.splitlines()[-1]


def _run_in_own_network(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*sweep._OWN_NETWORK, sys.executable, "-c", IN_OWN_NETWORK, *words],
        env={
            **sweep._environment(),
            "HOME": str(Path.cwd()),
            "PATH": os.environ["PATH"],
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
