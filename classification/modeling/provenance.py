"""Where exported weights come from: what manifests tell of it."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from classification.artifacts import run_params
from classification.runtime import registry

if TYPE_CHECKING:
    from pathlib import Path

    from classification.artifacts.run_params import RunParams
    from classification.modeling.checkpoints import Checkpoint

CHECKPOINT_SHA256 = "checkpoint_sha256"


def of_checkpoint(
    path: Path, saved: Checkpoint, params: RunParams | None
) -> dict[str, str]:
    """Returns where the weights of a checkpoint come from, as text by name.

    Args:
        path: of the checkpoint.
        saved: what is in it.
        params: what its run was told, if that is known.
    """
    known = {
        "checkpoint": path.name,
        CHECKPOINT_SHA256: registry.sha256_of(path),
        "version": version("cameratraps-classifier"),
    }
    if saved.epoch is not None:
        known["epoch"] = str(saved.epoch)
    if saved.val_accuracy is not None:
        known["val_accuracy_percent"] = f"{saved.val_accuracy:.6g}"
    if params is None:
        return known
    told = run_params.to_dict(params)
    files: dict[str, str] = told.pop("data_sha256")
    known |= {f"params.{key}": _to_text(value) for key, value in told.items()}
    return known | {f"sha256.{name}": sha256 for name, sha256 in files.items()}


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
