"""Where weights come from, as manifests tell it."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from classification.artifacts.run_params import RunParams
from classification.modeling import provenance
from classification.modeling.checkpoints import Checkpoint
from classification.runtime import registry

if TYPE_CHECKING:
    from pathlib import Path

PARAMS = RunParams(
    dataset_dir="run",
    cropped_images_dir="crops",
    model_name="resnet18",
    label_weighted=True,
    data_sha256={"splits.json": "00ff"},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ckpt_3.pt"
    path.write_bytes(b"weights")
    return path


def test_a_checkpoint_alone_tells_its_hash(path: Path) -> None:
    assert provenance.of_checkpoint(path, Checkpoint(model={}), None) == {
        "checkpoint": "ckpt_3.pt",
        "checkpoint_sha256": registry.sha256_of(path),
        "version": version("cameratraps-classifier"),
    }


def test_its_run_tells_the_rest(path: Path) -> None:
    saved = Checkpoint(model={}, epoch=3, val_accuracy=81.25)
    found = provenance.of_checkpoint(path, saved, PARAMS)
    assert (found["epoch"], found["val_accuracy_percent"]) == ("3", "81.25")
    assert found["params.model_name"] == "resnet18"
    assert found["params.label_weighted"] == "true"
    assert found["sha256.splits.json"] == "00ff"
    assert all(isinstance(value, str) for value in found.values())
