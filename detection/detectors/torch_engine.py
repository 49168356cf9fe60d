"""Runs an unpickled PyTorch network as a detector: what YOLOv5 and ultralytics share."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from classification.runtime.atomic import replacing
from classification.runtime.errors import ModelError
from classification.runtime.parallel import cores
from detection.detectors.heads import Head, class_count, infer
from detection.detectors.manifest import Manifest
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
    from detection.models import ModelFile

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


def settled(network: torch.nn.Module) -> torch.nn.Module:
    """Returns the network ready for inference; its weights need no gradients."""
    for parameter in network.parameters():
        parameter.detach_()
        parameter.requires_grad = False
    return network.eval()


def build(found: Checkpoint, model: ModelFile, options: Options) -> NetworkDetector:
    """Makes a detector of a checkpoint.

    Raises:
        ModelError: the device is not there, or the output is not that of a YOLO.
    """
    device = pick_device(options.device)
    torch.set_num_threads(options.threads or cores())
    forward = _forward(found.network.to(device), device)
    head, categories = _layout(found, forward, model.path)
    size_px = _size_px(found, model, options)
    return NetworkDetector(
        forward=forward,
        head=head,
        letterbox=letterbox_of(
            head, width_px=size_px, height_px=size_px, stride_px=found.stride_px
        ),
        categories=categories,
        batched=device.type == "cuda",
    )


def export(found: Checkpoint, model: ModelFile, options: Options, target: Path) -> None:
    """Writes a checkpoint's network as ONNX, for square input of one size.

    Raises:
        ModelError: its output is not that of a YOLO, or it cannot be exported.
    """
    side = _size_px(found, model, options)
    example = torch.zeros(1, 3, side, side)
    forward = _forward(found.network, torch.device("cpu"))
    head, categories = _layout(found, forward, model.path)
    forward(example.numpy())  # fills the grids that depend on the size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            _FirstOutput(found.network),
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["output"],
            verbose=False,
        )
    if program is None:
        raise ModelError(f"{model.path}: its network cannot be exported")
    says = Manifest(head=head, categories=categories, image_size_px=side)
    program.model.metadata_props.update(says.to_properties())
    with replacing(target) as file:
        file.write(program.model_proto.SerializeToString())


class _FirstOutput(torch.nn.Module):
    """Gives the boxes of a network that gives features, too."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return _boxes(self.network(frames))


def _size_px(found: Checkpoint, model: ModelFile, options: Options) -> int:
    """Returns what the user, the table, the checkpoint or custom says, in this order."""
    in_table = model.known.image_size_px if model.known else None
    return options.image_size_px or in_table or found.image_size_px or _DEFAULT_SIZE_PX


def _layout(
    found: Checkpoint, forward: Forward, path: Path
) -> tuple[Head, dict[str, str]]:
    """Runs a small black image to learn the layout of the output."""
    side = _PROBE_STRIDES * found.stride_px
    shape = forward(np.zeros((1, 3, side, side), dtype=np.float32)).shape[1:]
    head = infer(shape, height_px=side, width_px=side) if len(shape) == 2 else None  # noqa: PLR2004 - rows, columns
    if head is None:
        raise ModelError(
            f"{path}: its output {list(shape)} is not that of a YOLO detector"
        )
    named = {str(at + 1): name for at, name in sorted(found.names.items())}
    return head, categories_of(named, class_count(head, shape))


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
            boxes = _boxes(network(torch.from_numpy(frames).to(device)))
        return np.asarray(boxes.float().cpu().numpy(), dtype=np.float32)

    return forward


def _boxes(output: Any) -> torch.Tensor:  # noqa: ANN401 - each family gives another shape of it
    """Leaves out the features that these networks give beside the boxes."""
    boxes: torch.Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return boxes
