from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from classification.runtime.errors import ModelError
from classification.runtime.registry import CACHE_VARIABLE
from detection import detectors, models
from detection.detectors import Options, lite
from detection.models import ModelFile
from tests.detection.detectors.yolox_reference import random_network
from tests.world import photograph, pixels

if TYPE_CHECKING:
    from pathlib import Path

LITE = models.MODELS[0]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def checkpoint(path: Path) -> ModelFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": random_network().state_dict()}, path)
    return ModelFile(path=path, name=LITE.name, version=LITE.version, known=LITE)


def test_it_is_converted_once_and_its_checkpoint_removed(cache: Path) -> None:
    model = checkpoint(cache / "zamba-2.7.2" / LITE.file)
    detector = lite.load(model, Options())
    converted = cache / "megadetector_lite-20220528.onnx"
    assert not model.path.exists()
    assert detector.categories == {"1": "animal"}
    assert models.resolve("default").path == converted
    again = detectors.load(models.resolve("default"))
    prepared = again.prepare(pixels(photograph(320, 240)))
    assert prepared.pixels.shape == (3, 480, 640)
    found = [one.detect([prepared], threshold=0.01) for one in (detector, again)]
    assert found[0] == found[1]


def test_a_second_run_needs_no_torch(cache: Path) -> None:
    lite.load(checkpoint(cache / LITE.file), Options())
    script = (
        "import sys; from detection import detectors, models;"
        "detectors.load(models.resolve('default'));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_a_checkpoint_of_the_users_own_stays(cache: Path, tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "mine" / LITE.file)
    lite.load(model, Options())
    assert model.path.exists()
    assert (cache / LITE.converted_file).exists()


def test_another_checkpoint_of_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"model": {"w": torch.zeros(1)}}, path)
    with pytest.raises(ModelError) as error:
        detectors.load(models.resolve(str(path)))
    assert str(error.value) == (
        f"{path}: no YOLOX checkpoint but MegadetectorLite's is read; export yours to ONNX"
    )


@pytest.mark.slow
@pytest.mark.network
def test_the_published_weights_find_nothing_on_a_blank(cache: Path) -> None:
    model = models.resolve("MegadetectorLite")
    assert model.path == cache / "zamba-2.7.2" / LITE.file
    assert model.path.stat().st_size == LITE.size_bytes
    detector = detectors.load(replace(model))
    blank = np.full((480, 640, 3), 90, dtype=np.uint8)
    assert detector.detect([detector.prepare(blank)], threshold=0.1) == [()]
    assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == [
        "megadetector_lite-20220528.onnx"
    ]
