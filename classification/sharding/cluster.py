"""A Ray cluster that runs the shards of a step, each as a command line of its own.

``ray`` is imported here and nowhere else, and only when a cluster is asked for. A task is
one attempt at a shard: the command's own ``main`` with the user's words and ``--shard``.
Ray itself never repeats a task; an attempt that was lost with its machine is begun again
by ``scheduling``, with a journal of its own, since the machine may be alive and merely out
of reach. What two attempts write has the same bytes and appears by a rename, so that a
shard's file is there once, whoever was last; a shard whose file is complete does nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.artifacts import step_log
from classification.runtime import cli
from classification.runtime.errors import MissingExtraError, PipelineError
from classification.runtime.shards import Shard
from classification.sharding import merging, scheduling
from classification.sharding.scheduling import Ending, Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from classification.sharding.merging import Merged

_CPU = "cpu"
_AUTO = "auto"
_LOCAL = "local"
_RESTART = "--restart"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A step for a cluster.

    Attributes:
        module: dotted name of the command.
        argv: the words after the command's name, as the user gave them.
        shards: how many to make of it.
        device: ``auto``, ``cpu`` or ``cuda:N``; where it is not ``cpu`` and the cluster
            has GPUs, each shard gets one.
        address: the cluster; None for the environment's, or one for this job alone.
        cpus: processor cores that a shard asks for; None for what suits the cluster.
    """

    module: str
    argv: Sequence[str]
    shards: int
    device: str = _CPU
    address: str | None = None
    cpus: int | None = None

    @property
    def step(self) -> str:
        """Returns the command's name."""
        return self.module.rpartition(".")[2]

    @property
    def numbers(self) -> range:
        """Returns the numbers of its shards."""
        return range(1, self.shards + 1)


def run_and_merge(
    job: Job,
    output: Path,
    *,
    logdir: Path,
    restart: bool = False,
    max_failures: int | None = None,
) -> None:
    """Runs a step that writes one file, and joins its shards.

    Args:
        job: the step; its words name ``output``.
        output: the file.
        logdir: folder of the step log.
        restart: throw away what an earlier run left.
        max_failures: most items that may fail; None for no limit.

    Raises:
        PipelineError: Ray is not installed, a shard failed again and again, or more
            items failed than are allowed.
    """
    if restart:
        merging.remove(Shard(n, job.shards).path(output) for n in job.numbers)
    report = run_shards(job)
    (merged,) = merging.merge(output, of=job.shards)
    merging.remove(merged.sources)
    _finish(job, report, merged, logdir)
    cli.check_failures(merged.failed, merged.items, max_failures)


def run_shards(job: Job) -> Report:
    """Runs all shards of a step.

    Raises:
        PipelineError: Ray is not installed, or a shard failed again and again.
    """
    with _connected(job.address) as ray:
        tasks = _Tasks(ray, job)
        report = scheduling.run_all(tasks, job.shards)
    for shard, reason in report.again:
        _logger.info("shard %s was begun again: %s", shard, reason)
    return report


def _finish(job: Job, report: Report, merged: Merged, logdir: Path) -> None:
    log = step_log.StepLog(
        step=job.step,
        options={"engine": "ray", "shards": job.shards, "device": job.device},
        counts={
            "items": merged.items,
            "failed": merged.failed,
            "shards_begun_again": len({shard.number for shard, _ in report.again}),
        },
        notes=[(f"shard {shard}", reason) for shard, reason in report.again],
    )
    path = step_log.write(logdir, log)
    _logger.info(
        "%s: %d items of %d shards, %d of them failed; log: %s, beside those of the "
        "shards",
        merged.path,
        merged.items,
        merged.shards,
        merged.failed,
        path,
    )


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[ModuleType]:
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("--engine ray", extra="ray") from error
    chosen = address or os.environ.get("RAY_ADDRESS") or _LOCAL
    own: dict[str, Any] = {}
    if chosen == _LOCAL:  # for this job alone, and not for the network to see
        own = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=chosen, logging_level=logging.WARNING, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise PipelineError(f"no Ray cluster at {chosen}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


class _Tasks:
    """Attempts at shards as tasks of a cluster."""

    def __init__(self, ray: ModuleType, job: Job) -> None:
        self._ray = ray
        self._argv = _without(job.argv, _RESTART)
        self._job = job
        self._folder = str(Path.cwd())
        self._shard_by_task: dict[Any, Shard] = {}
        resources = ray.cluster_resources()
        gpus = int(job.device != _CPU and resources.get("GPU", 0) > 0)
        cpus = job.cpus or (1 if gpus else _smallest(ray.nodes()))
        self._run = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(run_command)
        self._flags = ["--device", "cuda:0"] if gpus and job.device != _AUTO else []
        _logger.info(
            "%d shards for a cluster of %d cores and %d GPUs; each takes %d and %d",
            *(job.shards, resources.get("CPU", 0), resources.get("GPU", 0), cpus, gpus),
        )

    def start(self, shards: Sequence[Shard]) -> None:
        for shard in shards:
            said = f"{shard}:{shard.attempt}"
            words = ["--engine", "local", "--shard", said, *self._flags]
            argv = _with(self._argv, words)
            task = self._run.remote(self._job.module, argv, self._folder)
            self._shard_by_task[task] = shard

    def wait(self) -> tuple[Shard, Ending]:
        (task, *_), _ = self._ray.wait(list(self._shard_by_task), num_returns=1)
        shard = self._shard_by_task.pop(task)
        errors = self._ray.exceptions
        try:
            code, said = self._ray.get(task)
        except errors.RayTaskError as error:  # before the command could say anything
            return shard, Ending(cli.EXIT_BUG, _first_line(error.cause or error))
        except errors.RayError as error:
            return shard, Ending(None, _first_line(error))
        return shard, Ending(code, said)


def _smallest(nodes: Sequence[dict[str, Any]]) -> int:
    """Returns the number of cores of the smallest machine that has any."""
    cores = [node["Resources"].get("CPU", 0) for node in nodes if node["Alive"]]
    return int(min(filter(None, cores), default=1)) or 1


def _without(argv: Sequence[str], flag: str) -> list[str]:
    return [word for word in argv if word.replace("_", "-") != flag]


def _with(argv: Sequence[str], words: Sequence[str]) -> list[str]:
    """Returns words with others that count more, since a later flag does."""
    end = list(argv).index("--") if "--" in argv else len(argv)
    return [*argv[:end], *words, *argv[end:]]


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def run_command(module: str, argv: Sequence[str], folder: str) -> tuple[int, str]:
    """Runs a command in a task, as if from a folder; returns exit code and last line."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            os.chdir(folder)
            code: int = importlib.import_module(module).main(argv)
        except OSError as error:
            return cli.EXIT_FAILED, f"no {folder} on this machine: {error.strerror}"
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else cli.EXIT_BUG
    shown = said.getvalue().strip()
    sys.stderr.write(f"{shown}\n")
    return code, shown.splitlines()[-1] if shown else ""
