"""Runs checkpoints of the ultralytics package: YOLOv8, YOLO11 and their kin.

A checkpoint is a pickle of the network itself: loading it runs code, so the user has to
trust it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from classification.runtime.errors import MissingExtraError, ModelError
from detection.detectors import torch_engine

if TYPE_CHECKING:
    from pathlib import Path

# The package is to read a file, not to install packages or print.
_QUIET = {"YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}


def read(path: Path) -> torch_engine.Checkpoint:
    """Unpickles an ultralytics checkpoint; the caller has made sure that it is trusted.

    Raises:
        MissingExtraError: the package is not installed.
        ModelError: the checkpoint is damaged or no detector.
    """
    yolo = _open(path)
    if yolo.task != "detect":
        raise ModelError(f"{path}: made to {yolo.task}, not to detect")
    network = yolo.model.float()
    size = yolo.overrides.get("imgsz")
    return torch_engine.Checkpoint(
        network=torch_engine.settled(network.fuse(verbose=False)),
        names=dict(network.names),
        stride_px=int(max(network.stride)),
        image_size_px=size if isinstance(size, int) else None,
    )


def _open(path: Path) -> Any:  # noqa: ANN401 - the package may be absent, so has no types
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        from ultralytics import YOLO  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: an ultralytics checkpoint, read by the package ultralytics (licence AGPL-3.0), which",
            extra="ultralytics",
        ) from error
    try:
        return YOLO(path)
    except Exception as error:  # unpickling runs any code, which raises anything
        raise ModelError(f"{path}: cannot be unpickled ({error})") from error
