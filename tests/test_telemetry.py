"""What runs looks for no server of its own accord, and keeps no account of its use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import classifiers
from tests.commands import ROOT
from tests.detection.detectors.graphs import red_detector

if TYPE_CHECKING:
    from pathlib import Path

_IDLE_S = 40
# Each library that the commands load, then nothing for so long that reports would go out.
_PROGRAM = f"""
import sys, time
from pathlib import Path

import numpy as np

from classification.megadb import database
from classification.modeling import loading
from classification.modeling.inference import Resources
from detection import detectors, models

folder = Path(sys.argv[1])
classifier = loading.open_classifier(folder / "c.onnx", Resources(device="cpu"))
classifier.predict(np.zeros((1, 16, 16, 3), np.uint8))
detector = detectors.load(models.resolve(str(folder / "d.onnx")))
image = detector.prepare(np.zeros((64, 64, 3), np.uint8))
detector.detect([image], threshold=0.1)
with database.connect(folder / "spill") as connection:
    connection.execute("SELECT 1")
for package in ("torch", "timm", "tensorboard", "ultralytics", "ray", "tensorflow"):
    try:
        __import__(package)
    except ImportError:
        continue
time.sleep({_IDLE_S})
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_nobody_is_asked_and_nothing_is_kept(tmp_path: Path) -> None:
    classifiers.save_exported(tmp_path / "c.onnx")
    red_detector(tmp_path / "d.onnx")
    home = tmp_path / "home"
    home.mkdir()
    trace = tmp_path / "trace"
    cut = {name for name in os.environ if name.startswith("XDG_")}
    environment = {name: os.environ[name] for name in os.environ.keys() - cut}
    subprocess.run(
        [
            *("strace", "-f", "-qq", "-s", "200", "-o", trace),
            *("-e", "trace=connect,sendto,sendmsg,sendmmsg"),
            *(sys.executable, "-c", _PROGRAM, tmp_path),
        ],
        cwd=ROOT,
        env={**environment, "HOME": str(home)},
        check=True,
        timeout=_IDLE_S + 200,
    )
    lines = trace.read_text(errors="replace").splitlines()
    asked = [line for line in lines if "AF_INET" in line or "microsoft" in line]
    assert asked == []
    kept = [str(path) for path in home.rglob("*") if path.is_file()]
    assert [path for path in kept if "icrosoft" in path or "onnx" in path] == []
