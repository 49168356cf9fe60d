"""A process that has imported the toolkit once, and forks a child for each piece of work.

Starting Python and importing torch takes seconds; a fork takes milliseconds, so that a
command can be killed hundreds of times. The server reads one JSON request a line from
stdin and answers with one line::

    {"call": ["tests.sweeps.forking", "command", ["detection.x", ["a", "b"]]],
     "folder": "/tmp/x", "stderr": "/tmp/x.err", "is_held": true,
     "scratch": null}                                           ->  {"pid": 17}
    {"wait": 17}                                                    ->  {"code": -9}

A held child stops itself before it begins, until it gets SIGCONT.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from classification.runtime import cli
from tests.commands import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Not onnxruntime, which starts a thread that a fork would lose.
PRELOADED = (
    *("duckdb", "pyarrow.parquet", "pyarrow.csv", "matplotlib.figure"),
    *("encodings.utf_8_sig", "torch.utils.tensorboard", "timm", "scipy.optimize"),
    *("sklearn.isotonic", "classification.modeling.training"),
    *("classification.modeling.trained", "classification.modeling.evaluating"),
    *("tests.sweeps.writers", "tests.sweeps.injecting"),
)


def command(name: str, words: Sequence[str]) -> int:
    """Runs a command by its dotted name; returns its exit code."""
    code: int = importlib.import_module(name).main(list(words))
    return code


@dataclass(frozen=True)
class Child:
    """A child of the server.

    Attributes:
        pid: its process id, which stays its own until it is waited for.
        folder: where it works.
        stderr: what it says goes there, with what it prints.
    """

    pid: int
    folder: Path
    stderr: Path

    @property
    def said(self) -> str:
        """Returns what it said so far."""
        return self.stderr.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """Ends it at once, with all it has started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self.pid, signal.SIGKILL)  # it has no group of its own yet

    def stop(self) -> None:
        """Stops it where it is, until it is let go."""
        os.killpg(self.pid, signal.SIGSTOP)
        while self.state() not in "TZ":
            time.sleep(0.0005)

    def let_go(self) -> None:
        """Lets a held child begin, or a stopped one go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def state(self) -> str:
        """Returns the letter that the system has for what it is doing."""
        text = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        return text.rpartition(")")[2].split()[0]


class Server:
    """The running server, seen from outside.

    Attributes:
        root: where all that it sees can be seen, its own disks included.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.root = Path(f"/proc/{process.pid}/root")

    def start(  # noqa: PLR0913 - what a process is started with
        self,
        module: str,
        function: str,
        *arguments: object,
        folder: Path,
        stderr: Path,
        is_held: bool = False,
        scratch: Path | None = None,
    ) -> Child:
        """Forks a child that calls a function.

        Args:
            module: the function's module.
            function: its name; it returns an exit code.
            arguments: JSON values.
            folder: where it works.
            stderr: file for what it says.
            is_held: stop it before it begins.
            scratch: folder of its temporary files, if not the usual one.
        """
        answer = self._ask(
            {
                "call": [module, function, arguments],
                "folder": str(folder),
                "stderr": str(stderr),
                "is_held": is_held,
                "scratch": scratch and str(scratch),
            }
        )
        child = Child(answer["pid"], folder, stderr)
        while is_held and child.state() != "T":
            time.sleep(0.0005)
        return child

    def wait(self, child: Child) -> int:
        """Returns the exit code of a child; -9 for one that was killed."""
        code: int = self._ask({"wait": child.pid})["code"]
        return code

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        _tell(self._process.stdin, request)
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def serving(*prefix: str) -> Iterator[Server]:
    """Starts the server, for as long as the block lasts.

    Args:
        prefix: words to put before its command line, such as those of ``unshare``.
    """
    with subprocess.Popen(
        [*prefix, sys.executable, "-m", "tests.sweeps.forking", *PRELOADED],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            json.loads(process.stdout.readline())
            yield Server(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _tell(file: IO[str] | None, message: dict[str, Any]) -> None:
    assert file is not None
    file.write(json.dumps(message) + "\n")
    file.flush()


def main() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # so that a child's collections copy no pages
    answers = os.fdopen(os.dup(1), "w")
    _tell(answers, {})
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            _tell(answers, {"code": os.waitstatus_to_exitcode(status)})
        elif pid := os.fork():
            _tell(answers, {"pid": pid})
        else:
            answers.close()
            try:
                _become(request)
            except BaseException:  # noqa: BLE001 - it must not go on as the server
                traceback.print_exc()
                os._exit(cli.EXIT_BUG)


def _become(request: dict[str, Any]) -> None:
    """Does the work of a child, and ends it; what is imported is not taken down."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    os.chdir(request["folder"])
    tempfile.tempdir = request["scratch"]
    os.environ["TMPDIR"] = request["scratch"] or tempfile.gettempdir()
    module, function, arguments = request["call"]
    work = getattr(importlib.import_module(module), function)
    if request["is_held"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    code = work(*arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
