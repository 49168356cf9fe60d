from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# A step as every command is made; it prints, logs, shows a bar and writes a file.
STEP = r"""
import argparse, faulthandler, logging, os, sys
from pathlib import Path
from classification.runtime import cli, progress
from classification.runtime.atomic import replacing

def run():
    for _ in progress.track(range(3), total=3, unit="images"):
        logging.getLogger("step").info("caltech/\u732b.jpg \udce9")
        sys.stdout.write("caltech/\u732b.jpg \udce9\n")
    with replacing(Path(sys.argv[1])) as file:
        os.write(1, b"printed by a library")
        os.write(2, b"printed by a library")
        file.write(b"whole")

cli.parse(cli.Parser("step", "Does it."), argparse.Namespace(), [])
code = cli.exit_code(run)
faulthandler.enable()
sys.exit(code)
"""


def shell(line: str, folder: Path, **environment: str) -> int:
    """Runs a line of bash in a folder, where $STEP is the step; returns its exit code."""
    (folder / "step.py").write_text(STEP, encoding="utf-8")
    step = f"'{sys.executable}' step.py out"
    done = subprocess.run(
        ["bash", "-c", line.replace("$STEP", step)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )
    return done.returncode


@pytest.mark.parametrize(
    "streams",
    [
        "2>&-",
        ">&-",
        "<&-",
        "<&- >&- 2>&-",
        ">&- 2>&-",
        "2>/dev/full",
        "2> >(true)",
        "> >(true)",
        "2>&1 > >(true) | true",
    ],
)
def test_the_work_is_done_whatever_becomes_of_the_streams(
    tmp_path: Path, streams: str
) -> None:
    line = f"set -o pipefail; $STEP {streams}"
    assert shell(line, tmp_path) == 0
    assert (tmp_path / "out").read_bytes() == b"whole"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "step.py"}


def test_data_that_stdout_loses_is_one_line_and_exit_code_one(tmp_path: Path) -> None:
    assert shell("$STEP > /dev/full 2> err", tmp_path) == 1
    shown = (tmp_path / "err").read_text()
    assert "Traceback" not in shown
    assert shown.endswith("error: cannot write to stdout: No space left on device\n")


@pytest.mark.parametrize(
    ("environment", "cat"),
    [
        ({"PYTHONIOENCODING": "cp1252"}, rb"\u732b"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, rb"\u732b"),
        ({"PYTHONIOENCODING": "utf-8"}, "\u732b".encode()),
        ({"PYTHONIOENCODING": "ascii:strict"}, rb"\u732b"),
    ],
)
def test_letters_that_a_code_page_lacks_are_escapes(
    tmp_path: Path, environment: dict[str, str], cat: bytes
) -> None:
    assert shell("$STEP > shown 2> err", tmp_path, **environment) == 0
    for name in ("shown", "err"):
        line = b"caltech/" + cat + rb".jpg \udce9" + b"\n"
        assert (tmp_path / name).read_bytes().count(line) == 3


def test_usage_and_help_need_no_streams_either(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m classification.csv_to_json"
    assert shell(f"{command} --help >&- 2>&-", tmp_path) == 0
    assert shell(f"{command} >&- 2>&-", tmp_path) == 2
    assert shell(f"{command} absent.csv o.json >&- 2>&-", tmp_path) == 1


def test_a_name_that_the_system_has_no_letters_for_is_one_line(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from classification.runtime import cli; "
        "sys.exit(cli.exit_code(Path('\\u732b.jpg').read_bytes))"
    )
    line = f'"{sys.executable}" -c "{program}" 2> err'
    ascii_names = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert shell(line, tmp_path, **ascii_names) == 1
    shown = (tmp_path / "err").read_text()
    assert shown.startswith(
        "error: '\\u732b.jpg': file names of this system are in ascii"
    )
    assert shown.count("\n") == 1
    assert shell(line, tmp_path) == 3
