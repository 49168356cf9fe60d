"""A Ray cluster of two machines, one of which is killed in the middle of a run.

Both are on this machine, in a network of their own that only has the loopback, since Ray
listens to everybody; and in a process namespace of their own, with which all ends. The
detector of the package runs over its shards there (``--engine ray``), and a seed says
after how many shards all processes of one machine are killed at once.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.artifacts import image_contents
from tests import world
from tests.commands import ROOT
from tests.detection.detectors.graphs import red_detector
from tests.sweeps import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRIALS = 10
IMAGES, SHARDS, BATCH = 240, 24, 4
SLOTS = 2  # shards that a machine runs side by side
PORT = 6399
LIMIT_S = 100

_OWN_NETWORK = ("unshare", "-rnp", "--fork", "--mount-proc", "--kill-child")


def missing() -> str:
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed (the extra ray)"
    if shutil.which("unshare") is None:
        return "there is no unshare"
    tried = subprocess.run([*_OWN_NETWORK, "true"], check=False, capture_output=True)
    return "" if tried.returncode == 0 else "unshare may not make a network"


def run(share: float, folder: Path) -> Outcome:
    red_detector(folder / "red_v9.onnx", layers=3)
    for number in range(IMAGES):
        scene = world.photograph(80, 60, seed=number)
        world.save_jpeg(folder / f"photos/{number:03}.jpg", scene)
    one = folder / "one" / "o.json"
    subprocess.run(_detect(folder, one), check=True, env=_environment())
    trials = max(1, round(TRIALS * share))
    found = [_trial(folder, seed, one.read_bytes()) for seed in range(trials)]
    again = [trial["again"] for trial in found]
    return Outcome(
        figures={
            "runs, each with one of two machines killed in the middle": trials,
            "outputs identical to the run of one process": sum(
                trial["identical"] for trial in found
            ),
            "shards of each run": SHARDS,
            "shards in flight on a machine, at most": SLOTS,
            "shards run twice: all runs, most in one": f"{sum(again)}, {max(again)}",
        },
        broken=[sentence for trial in found for sentence in trial["broken"]],
    )


def _trial(folder: Path, seed: int, expected: bytes) -> dict[str, Any]:
    output = folder / f"{seed}" / "o.json"
    output.parent.mkdir()
    inside = [sys.executable, "-m", "tests.sweeps.cluster", str(folder), str(seed)]
    done = subprocess.run(
        [*_OWN_NETWORK, *inside],
        check=False,
        env=_environment(),
        stdout=subprocess.PIPE,
        timeout=LIMIT_S,
        cwd=ROOT,
    )
    if done.returncode:
        broken = [f"run {seed}: exit code {done.returncode}"]
        return {"again": 0, "identical": False, "broken": broken}
    again = json.loads(done.stdout.splitlines()[-1])
    is_identical = output.read_bytes() == expected
    broken = [] if is_identical else [f"run {seed}: another output"]
    if again > SLOTS:
        broken.append(f"run {seed}: {again} shards were run twice")
    left = {*output.parent.glob("o.shard-*"), *output.parent.glob("o.json.*")}
    left.discard(image_contents.path_beside(output))
    broken += [f"run {seed}: {path.name} is left" for path in sorted(left)]
    return {"again": again, "identical": is_identical, "broken": broken}


def _environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "RAY_AUTH_MODE": "disabled",  # nobody else is in this network
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _detect(folder: Path, output: Path, *flags: str) -> list[str]:
    words = [folder / "red_v9.onnx", folder / "photos", output, *flags]
    speed = ["--batch_size", BATCH, "--ncores", 1, "--loader_workers", 1]
    program = [sys.executable, "-m", "detection.run_detector_batch"]
    return [*program, *map(str, [*words, *speed])]


# In the namespaces


def _inside(folder: Path, seed: int) -> int:
    """Runs a cluster, and the detector on it; returns how many shards were run twice."""
    _bring_up_loopback()
    output = folder / f"{seed}" / "o.json"
    place = Path(tempfile.mkdtemp(prefix="ct-ray-"))  # paths of sockets must be short
    try:
        _start_machine("--head", f"--port={PORT}", f"--temp-dir={place}")
        _wait_for_port()
        second = _start_machine(f"--address=127.0.0.1:{PORT}")
        _wait_for(lambda: _workers(second), "the second machine does not begin")
        address = ("--ray-address", f"127.0.0.1:{PORT}", "--ray-cpus", "1")
        flags = ("--engine", "ray", "--ray-shards", str(SHARDS), *address)
        driver = subprocess.Popen(_detect(folder, output, *flags), stdout=sys.stderr)
        after = random.Random(seed).randint(1, SHARDS // 2)
        _wait_for(
            lambda: _is_time(output, second, after) or driver.poll() is not None,
            "no shard is run",
        )
        if driver.poll() is not None:
            raise RuntimeError("the run was over before a machine could be killed")
        _kill_all([second, *_below(second)])
        if driver.wait(timeout=LIMIT_S):
            raise RuntimeError(f"exit code {driver.returncode}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    (log,) = output.parent.glob("run_detector_batch_log_*.json")
    counts: dict[str, int] = json.loads(log.read_bytes())["counts"]
    return counts["shards_begun_again"]


def _bring_up_loopback() -> None:
    import fcntl  # noqa: PLC0415 - absent on Windows

    siocsifflags, up_and_running = 0x8914, 0x41
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", up_and_running)
        fcntl.ioctl(any_socket, siocsifflags, request)


def _start_machine(*flags: str) -> int:
    """Starts a machine of the cluster; returns the number of its process."""
    ray = str(Path(sys.executable).with_name("ray"))
    common = ["--block", "--node-ip-address=127.0.0.1", "--disable-usage-stats"]
    size = [f"--num-cpus={SLOTS}", "--object-store-memory=80000000"]
    words = [ray, "start", *common, *size, "--include-dashboard=false", *flags]
    if "--head" not in flags:
        words.remove("--include-dashboard=false")
    return subprocess.Popen(words, stdout=subprocess.DEVNULL).pid


def _wait_for_port() -> None:
    def is_open() -> bool:
        try:
            socket.create_connection(("127.0.0.1", PORT), 1).close()
        except OSError:
            return False
        return True

    _wait_for(is_open, "the first machine does not begin")


def _wait_for(is_so: Any, otherwise: str) -> None:  # noqa: ANN401 - () -> object
    limit = time.monotonic() + LIMIT_S / 2
    while not is_so():
        if time.monotonic() > limit:
            raise RuntimeError(otherwise)
        time.sleep(0.005)


def _is_time(output: Path, machine: int, after: int) -> bool:
    """Says whether enough shards are complete, and the machine is at one."""
    complete = sum(1 for _ in output.parent.glob("o.shard-*.json.shard.json"))
    return complete >= after and "ray::run_command" in _workers(machine)


def _workers(machine: int) -> list[str]:
    """Returns the titles of a machine's processes that begin as Ray's do."""
    titles = [_read(f"{process}/cmdline") for process in _below(machine)]
    return [t.partition("\0")[0] for t in titles if t.startswith("ray::")]


def _kill_all(processes: Sequence[int]) -> None:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            os.kill(process, number)


def _below(process: int) -> Iterator[int]:
    """Yields all processes that a process has begun, or these have."""
    for child in _read(f"{process}/task/{process}/children").split():
        yield int(child)
        yield from _below(int(child))


def _read(path: str) -> str:
    try:
        return (Path("/proc") / path).read_text(errors="replace")
    except OSError:  # it has ended
        return ""


if __name__ == "__main__":
    sys.stdout.write(f"{_inside(Path(sys.argv[1]), int(sys.argv[2]))}\n")
