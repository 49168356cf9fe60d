from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from classification.runtime.errors import ModelError
from detection import detectors, models
from detection.detectors import Options
from detection.detectors.heads import Head
from tests.detection.detectors.test_checkpoint import archive, names
from tests.world import photograph, pixels

if TYPE_CHECKING:
    from pathlib import Path

TRUSTED = Options(trust_model=True)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    pytest.importorskip("ultralytics", reason="extra [ultralytics] is not installed")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    from ultralytics.nn.tasks import DetectionModel  # noqa: PLC0415 - an extra

    torch.manual_seed(0)
    network = DetectionModel("yolo11n.yaml", nc=3, verbose=False)
    network.names = {0: "animal", 1: "person", 2: "vehicle"}
    network.args = {"imgsz": 960, "task": "detect"}
    path = tmp_path / "md_v1000.0.0-sorrel.pt"
    content = {"model": network.half(), "ema": None, "train_args": network.args}
    torch.save(content, path)
    return path


def test_a_checkpoint_runs(checkpoint: Path) -> None:
    model = models.resolve(str(checkpoint))
    assert model.name == "md_v1000.0.0-sorrel.pt"
    detector = detectors.load(model, TRUSTED)
    assert detector.categories == {"1": "animal", "2": "person", "3": "vehicle"}
    assert detector.head is Head.YOLOV8  # type: ignore[attr-defined]  # that of NetworkDetector
    prepared = detector.prepare(pixels(photograph(320, 200)))
    assert prepared.pixels.shape == (3, 608, 960)
    (found,) = detector.detect([prepared], threshold=0.0001)
    assert all(0 <= one.bbox.left <= one.bbox.right <= 1 for one in found)


def test_a_checkpoint_that_cannot_be_unpickled(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", names(("ultralytics.nn.tasks", "Nothing")))
    with pytest.raises(ModelError, match=r"m\.pt: cannot be unpickled"):
        detectors.load(models.resolve(str(path)), TRUSTED)
