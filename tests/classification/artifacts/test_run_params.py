"""params.json: ours and the original's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import run_params
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

ORIGINAL: dict[str, Any] = {
    "dataset_dir": "/ssd/run_idfg",
    "cropped_images_dir": "/ssd/crops",
    "multilabel": False,
    "model_name": "efficientnet-b3",
    "pretrained": True,
    "finetune": 0,
    "label_weighted": True,
    "weight_by_detection_conf": "/ssd/isotonic.npz",
    "epochs": 50,
    "batch_size": 80,
    "lr": 3e-05,
    "weight_decay": 1e-05,
    "num_workers": 8,
    "logdir": "run_idfg",
    "log_extreme_examples": 3,
    "seed": 123,
}


def write(folder: Path, document: object) -> Path:
    path = folder / run_params.FILENAME
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_the_originals_file_means_symmetric_padding(tmp_path: Path) -> None:
    params = run_params.read(write(tmp_path, ORIGINAL))
    assert params.padding == "symmetric"
    assert params.augmentation == "original"
    assert params.image_size is None
    assert list(run_params.to_dict(params))[: len(ORIGINAL)] == list(ORIGINAL)


def test_d63_paths_stay_as_they_were_given(tmp_path: Path) -> None:
    document = {**ORIGINAL, "dataset_dir": "run", "cropped_images_dir": "../crops"}
    read = run_params.read(write(tmp_path, document))
    assert (read.dataset_dir, read.cropped_images_dir) == ("run", "../crops")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("multilabel", True, "multilabel"),
        ("finetune", -1, "finetune"),
        ("pretrained", 3, "pretrained"),
        ("lr", 0, "lr"),
        ("batch_size", "80", "batch_size"),
        ("padding", "same", "padding"),
    ],
)
def test_a_wrong_value_is_named(
    key: str, value: object, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, {**ORIGINAL, key: value})
    with pytest.raises(ArtifactError, match=message) as refusal:
        run_params.read(path)
    assert str(refusal.value).startswith(str(path))
