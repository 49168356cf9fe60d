"""Runs an unpickled PyTorch network as a detector: what YOLOv5 and ultralytics share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from classification.runtime.errors import ModelError
from classification.runtime.parallel import cores
from detection.detectors.heads import class_count, infer
from detection.detectors.network import (
    Forward,
    NetworkDetector,
    categories_of,
    letterbox_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from detection.detectors import Options

_DEFAULT_SIZE_PX = 640  # what both families train at, unless told otherwise
_PROBE_STRIDES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What an engine found in a checkpoint.

    Attributes:
        network: takes float32 [N, 3, height, width] in [0, 1].
        names: name of each class, by its index from 0.
        stride_px: sides of the input are multiples of this.
        image_size_px: longer side of the input it was trained at, where it says so.
    """

    network: torch.nn.Module
    names: Mapping[int, str]
    stride_px: int
    image_size_px: int | None = None


def build(
    found: Checkpoint, path: Path, options: Options, *, table_size_px: int | None
) -> NetworkDetector:
    """Makes a detector of a checkpoint.

    Args:
        found: the checkpoint.
        path: its file, for messages.
        options: how to run it.
        table_size_px: size of the input that the model table states, if it does.

    Raises:
        ModelError: the device is not there, or the output is not that of a YOLO.
    """
    device = pick_device(options.device)
    torch.set_num_threads(options.threads or cores())
    forward = _forward(found.network.to(device).eval(), device)
    side = _PROBE_STRIDES * found.stride_px
    shape = forward(np.zeros((1, 3, side, side), dtype=np.float32)).shape[1:]
    head = infer(shape, height_px=side, width_px=side) if len(shape) == 2 else None  # noqa: PLR2004 - rows, columns
    if head is None:
        raise ModelError(
            f"{path}: its output {list(shape)} is not that of a YOLO detector"
        )
    size = (
        options.image_size_px
        or table_size_px
        or found.image_size_px
        or _DEFAULT_SIZE_PX
    )
    named = {str(at + 1): name for at, name in sorted(found.names.items())}
    return NetworkDetector(
        forward=forward,
        head=head,
        letterbox=letterbox_of(
            head, width_px=size, height_px=size, stride_px=found.stride_px
        ),
        categories=categories_of(named, class_count(head, shape)),
        batched=device.type == "cuda",
    )


def pick_device(text: str) -> torch.device:
    """Returns the device for ``auto``, ``cpu`` or ``cuda:N``.

    Raises:
        ModelError: there is no such device here.
    """
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(text)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device {text} was asked for, but torch finds {torch.cuda.device_count()} CUDA devices here"
        )
    return device


def _forward(network: torch.nn.Module, device: torch.device) -> Forward:
    def forward(frames: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            output = network(torch.from_numpy(frames).to(device))
        # Beside the boxes, these networks give the features they were made from.
        boxes = output[0] if isinstance(output, (tuple, list)) else output
        return np.asarray(boxes.float().cpu().numpy(), dtype=np.float32)

    return forward
