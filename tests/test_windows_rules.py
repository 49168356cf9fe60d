"""Windows' rules: that they hold where tests ask for them, and that no output changes."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands import ROOT

if TYPE_CHECKING:
    from pathlib import Path


RULES = ROOT / "tests/windows_rules"
# What holds the clock: logs, when files were written, a run folder's first name.
TIMED = r"_log_|tfevents|\.sqlite$|images\.jsonl\.gz$|model_card\.md$"


def run(
    code: str, folder: Path, *words: str, ruled: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a folder, under the rules or not."""
    paths = [*([RULES] if ruled else []), ROOT]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


_MAPPED = """
import mmap, shutil
file = open("d/c", "rb")
mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
file.close()
shutil.rmtree("d")
"""

_LOCKED = """
from pathlib import Path
from classification.runtime import locking
first = locking.open_locked(Path("lock"), busy="busy")
locking.open_locked(Path("lock"), busy="busy")
"""


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import os; f = open('a', 'rb'); os.unlink('a')", "PermissionError"),
        ("import os; f = open('a', 'rb'); os.replace('b', 'a')", "PermissionError"),
        ("import os; f = open('b', 'rb'); os.replace('b', 'a')", "PermissionError"),
        ("import os; os.rename('b', 'a')", "FileExistsError"),
        (
            "from pathlib import Path; f = open('a'); Path('a').unlink()",
            "PermissionErr",
        ),
        (_MAPPED, "PermissionError"),
        ("import os; os.open('d', os.O_RDONLY)", "PermissionError"),
        ("import os; os.mkdir('a?')", "Invalid argument"),
        ("import fcntl", "ModuleNotFoundError"),
        ("from classification.runtime import atomic as a; a.os.fork", "AttributeError"),
        (
            "from classification.runtime import streams as s; s.os.O_NOFOLLOW",
            "no O_NOF",
        ),
        (_LOCKED, "HeldError: busy"),
    ],
)
def test_what_windows_refuses_is_refused(code: str, error: str, tmp_path: Path) -> None:
    for name in ("a", "b", "d/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    done = run(code, tmp_path)
    assert done.returncode == 1
    assert error in done.stderr.splitlines()[-1]


# Runs what is named in a module of tests, with what the test says of the disk.
_CHAINS = """
import os, sys
from pathlib import Path
from tests import test_pipeline as pipeline

base, separator = Path.cwd() / "training", sys.argv[1]

def run_all(steps):
    pipeline.run_all([step.replace("/", separator) for step in steps])

for folder in (Path("new"), base):
    folder.mkdir()
os.chdir("new")
pipeline.write_new_images(Path.cwd())
run_all(pipeline.STEPS)
os.chdir(base)
pipeline.write_labelled_images(base)
run_all(pipeline.TRAINING_STEPS)
pipeline.run_all([pipeline.TRAIN])
[folder] = (base / "logdir").glob("2*")
folder.rename(base / "logdir/run")
steps = pipeline.AFTER_TRAINING.replace("RUN", "logdir/run").strip().splitlines()
run_all(steps)
"""

_QUICKSTART = """
import sys
from pathlib import Path
from classification import quickstart
from tests.classification import test_quickstart as tests
from tests.detection.detectors import graphs

base = Path.cwd()
quickstart.DETECTOR = str(graphs.red_detector(base / "md_red_v9.0.onnx"))
classifier = tests.save_classifier(base / "same.onnx", tests.ANSWERS[0][0])
quickstart.CLASSIFIER = str(classifier)
images = tests.photographs(base / "images", a=tests.DARK, b=tests.RED)
output = base / "out"
sys.exit(quickstart.main(["--images", str(images), "--output", str(output)]))
"""


def digests(folder: Path) -> dict[str, str]:
    """Returns the digest of every file but those that hold the clock."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not re.search(TIMED, path.name)
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "least"), [(_CHAINS, 120), (_QUICKSTART, 12)], ids=["chains", "quickstart"]
)
def test_under_windows_rules_all_ends_with_the_same_bytes(
    code: str, least: int, tmp_path: Path
) -> None:
    found = []
    for ruled in (False, True):
        folder = tmp_path / "base"
        folder.mkdir()
        done = run(code, folder, "\\" if ruled else "/", ruled=ruled)
        assert done.returncode == 0, done.stderr
        found.append(digests(folder))
        folder.rename(tmp_path / f"base_{ruled}")
    assert found[0] == found[1]
    assert len(found[0]) >= least
