"""Runs YOLOv5 checkpoints, such as MegaDetector v5, through the package that reads them.

A checkpoint is a pickle of the network itself: loading it runs code, so the user has to
trust it. Its classes are named ``models.yolo…`` after the folder they were trained in;
the package ``yolov5`` holds the same classes under its own name.
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from classification.runtime.errors import MissingExtraError, ModelError
from detection.detectors import torch_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MODULES = ("models", "models.common", "models.experimental", "models.yolo", "utils")


def read(path: Path) -> torch_engine.Checkpoint:
    """Unpickles a YOLOv5 checkpoint; the caller has made sure that it is trusted.

    Raises:
        MissingExtraError: the package is not installed.
        ModelError: the checkpoint is damaged or holds no network.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package is older than what it stands on
        with _historic_names(path):
            network = torch_engine.settled(_modernised(_read(path)))
    names = getattr(network, "names", {})
    return torch_engine.Checkpoint(
        network=network,
        names=dict(enumerate(names)) if isinstance(names, list) else names,
        stride_px=int(max(getattr(network, "stride", [32]))),
    )


@contextmanager
def _historic_names(path: Path) -> Iterator[None]:
    """Lets the package's modules be found under the names in checkpoints."""
    shadowed = {name: sys.modules.get(name) for name in _MODULES}
    try:
        for name in _MODULES:
            sys.modules[name] = importlib.import_module(f"yolov5.{name}")
        logging.getLogger("yolov5").setLevel(logging.WARNING)
        yield
    except ImportError as error:
        if error.name == "pkg_resources":
            raise ModelError(
                f"{path}: the package yolov5 needs an older setuptools: pip install 'setuptools<81'"
            ) from error
        raise MissingExtraError(
            f"{path}: a YOLOv5 checkpoint, read by the package yolov5 "
            "(licence GPL-3.0; it installs ultralytics, AGPL-3.0), which",
            extra="yolov5",
        ) from error
    finally:
        for name, module in shadowed.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _read(path: Path) -> torch.nn.Module:
    try:
        checkpoint: Any = torch.load(
            path, map_location="cpu", weights_only=False
        )  # --trust-model was given
    except ImportError:
        raise
    except Exception as error:  # unpickling runs any code, which raises anything
        raise ModelError(f"{path}: cannot be unpickled ({error})") from error
    if isinstance(checkpoint, dict):
        checkpoint = checkpoint.get("ema") or checkpoint.get("model")
    if not isinstance(checkpoint, torch.nn.Module):
        raise ModelError(f"{path}: holds no network")
    return checkpoint


def _modernised(network: torch.nn.Module) -> torch.nn.Module:
    """Gives a network of an older release the attributes that newer code looks for."""
    network = network.float()
    for module in network.modules():
        if isinstance(module, torch.nn.Upsample):
            module.__dict__.setdefault("recompute_scale_factor", None)
        _renew_anchor_grid(module)
    fuse = getattr(network, "fuse", None)
    return fuse() if callable(fuse) else network


def _renew_anchor_grid(head: Any) -> None:  # noqa: ANN401 - the package may be absent, so has no types
    """Replaces the tensor of early releases by the list that is filled when it runs."""
    if isinstance(getattr(head, "anchor_grid", None), torch.Tensor):
        del head.anchor_grid
        head.anchor_grid = [torch.zeros(1)] * len(head.anchors)
