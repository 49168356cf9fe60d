"""New images become JSON where torch is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import classifiers
from tests.commands import ROOT
from tests.test_pipeline import STEPS, write_new_images

if TYPE_CHECKING:
    from pathlib import Path

ABSENT = ("torch", "torchvision", "timm", "efficientnet_pytorch")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Returns the variables of an environment in which these packages cannot be imported."""
    folder = tmp_path / "absent"
    folder.mkdir()
    for name in ABSENT:
        (folder / f"{name}.py").write_text(
            f"raise ModuleNotFoundError({name!r}, name={name!r})\n",
            encoding="utf-8",
        )
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def without_torch(environment: dict[str, str], folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


RUN = """
import sys
from tests.commands import command
for line in sys.argv[1].splitlines():
    name, *arguments = line.split()
    assert command(name).main(arguments) == 0, line
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("torch is there")
"""


def test_detect_crop_classify_merge(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    write_new_images(tmp_path)
    (tmp_path / "classifier.pt").write_bytes(
        classifiers.traced_bytes(classifiers.tiny_network(4), 32)
    )
    steps = "\n".join(STEPS).replace(
        "classifier.onnx crops",
        "classifier.pt crops --image-size 32 --classifier-categories index_to_name.json",
    )
    without_torch(environment, tmp_path, "-c", RUN, steps)
    document = json.loads((tmp_path / "merged.json").read_bytes())
    boxes = [box for image in document["images"] for box in image["detections"] or []]
    assert sum("classifications" in box for box in boxes) == 10


@pytest.mark.network
@pytest.mark.slow
def test_the_networks_that_go_by_a_name(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    environment["CAMERATRAPS_CACHE"] = str(tmp_path / "cache")
    quickstart = ("-m", "classification.quickstart", "--output", "out")
    without_torch(environment, tmp_path, *quickstart)
    merged = tmp_path / "out/detections_with_classifications.json"
    document = json.loads(merged.read_bytes())
    boxes = [box for image in document["images"] for box in image["detections"] or []]
    assert any("classifications" in box for box in boxes)
