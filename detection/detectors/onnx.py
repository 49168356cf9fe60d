"""Runs ONNX files through onnxruntime; needs no torch.

The file's metadata says what its output means (see ``manifest``); where it is silent, the
shape of the output does, and ``Options.head`` where both leave it open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.runtime import onnx_files, onnx_runtime
from classification.runtime.errors import ModelError
from classification.runtime.parallel import cores
from detection.detectors import manifest as manifests
from detection.detectors.heads import Head, class_count, infer
from detection.detectors.network import (
    Forward,
    NetworkDetector,
    categories_of,
    letterbox_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.runtime.onnx_runtime import Provider
    from detection.detectors import Options
    from detection.detectors.manifest import Manifest
    from detection.models import ModelFile

# Any multiple of it is one of every smaller stride, too.
_COARSEST_STRIDE_PX = 64
_DTYPE_BY_NAME: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
_IMAGE_DIMENSIONS = 4  # N, channels, height, width
_OUTPUT_DIMENSIONS = 3  # N, rows, columns


@dataclass(frozen=True, slots=True)
class _Input:
    """What the graph says of its input; None for a side that may have any length."""

    name: str
    dtype: type[np.floating[Any]]
    batch: int | None
    height_px: int | None
    width_px: int | None


def load(model: ModelFile, options: Options) -> NetworkDetector:
    """Loads an ONNX detector.

    Raises:
        ModelError: the file is damaged, not a detector whose layout is known, has
            operators of others and is not trusted, or the device is not there.
    """
    session = _open_session(model.path, options)
    try:
        return _build(session, model, options)
    except ModelError as error:
        raise ModelError(f"{model.path}: {error}") from error


def _open_session(path: Path, options: Options) -> Any:  # noqa: ANN401 - onnxruntime has no types
    onnx_files.check(path, trust=options.trust_model)
    try:
        return onnx_runtime.open_session(
            path, _providers(options.device), threads=options.threads or cores()
        )
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelError(
            f"{path}: not an ONNX model that onnxruntime runs ({_first_line(error)})"
        ) from error


def _providers(device: str) -> list[Provider]:
    offered = onnx_runtime.load().get_available_providers()
    cuda = "CUDAExecutionProvider"
    if device == "cpu" or (device == "auto" and cuda not in offered):
        return ["CPUExecutionProvider"]
    if cuda not in offered:
        raise ModelError(
            f"device {device} was asked for, but onnxruntime offers no CUDA here (pip install onnxruntime-gpu)"
        )
    number = int(device.partition(":")[2] or 0)
    return [(cuda, {"device_id": number}), "CPUExecutionProvider"]


def _build(session: Any, model: ModelFile, options: Options) -> NetworkDetector:  # noqa: ANN401 - onnxruntime has no types
    told = manifests.read(session.get_modelmeta().custom_metadata_map)
    if options.head is not None:
        told = replace(told, head=Head.parse(options.head))
    takes = _read_input(session)
    width_px, height_px, stride_px = _frame(takes, told, model, options)
    forward = _forward(session, takes)
    head, classes = _layout(forward, told, _probe_size(width_px, height_px, takes))
    named = told.categories or (model.known.categories if model.known else None)
    on_processor = session.get_providers()[0] == "CPUExecutionProvider"
    return NetworkDetector(
        forward=forward,
        head=head,
        letterbox=letterbox_of(
            head,
            width_px=width_px,
            height_px=height_px,
            stride_px=stride_px,
            told=told,
        ),
        categories=categories_of(named, classes),
        batched=takes.batch is None and not on_processor,
    )


def _read_input(session: Any) -> _Input:  # noqa: ANN401 - onnxruntime has no types
    inputs = session.get_inputs()
    first = inputs[0]
    shape = [side if isinstance(side, int) else None for side in first.shape]
    dtype = _DTYPE_BY_NAME.get(first.type)
    if (
        len(inputs) != 1
        or dtype is None
        or len(shape) != _IMAGE_DIMENSIONS
        or shape[1] not in {3, None}
    ):
        raise ModelError(
            "its input is not one float image [N, 3, height, width]; "
            "detectors whose graph takes something else are not read"
        )
    batch, _, height_px, width_px = shape
    return _Input(first.name, dtype, batch, height_px, width_px)


def _frame(
    takes: _Input, told: Manifest, model: ModelFile, options: Options
) -> tuple[int, int, int | None]:
    """Returns width and height of the frame, and the stride if it may shrink."""
    wanted = options.image_size_px
    if takes.width_px is not None and takes.height_px is not None:
        fixed = (takes.width_px, takes.height_px)
        if wanted not in {None, max(fixed)}:
            raise ModelError(
                f"its input is {fixed[0]} x {fixed[1]} px for good; image size {wanted} needs another export"
            )
        return *fixed, None
    size = wanted or told.image_size_px
    if size is None and model.known:
        size = model.known.image_size_px
    if size is None:
        raise ModelError(
            "it takes images of any size and does not say which is best; give --image-size"
        )
    stride = told.stride_px or _COARSEST_STRIDE_PX
    return size, size, stride


def _probe_size(width_px: int, height_px: int, takes: _Input) -> tuple[int, int]:
    """Returns width and height to try the network with: small ones if it takes them."""
    if takes.width_px is None or takes.height_px is None:
        return 4 * _COARSEST_STRIDE_PX, 4 * _COARSEST_STRIDE_PX
    return width_px, height_px


def _forward(session: Any, takes: _Input) -> Forward:  # noqa: ANN401 - onnxruntime has no types
    outputs = [session.get_outputs()[0].name]  # what follows is for training

    def forward(frames: NDArray[np.float32]) -> NDArray[np.float32]:
        found = session.run(outputs, {takes.name: frames.astype(takes.dtype)})[0]
        return np.asarray(found, dtype=np.float32)

    return forward


def _layout(
    forward: Forward, told: Manifest, size: tuple[int, int]
) -> tuple[Head, int | None]:
    """Runs a black image to learn the layout and the number of classes."""
    width_px, height_px = size
    try:
        output = forward(np.zeros((1, 3, height_px, width_px), dtype=np.float32))
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelError(f"it does not run ({_first_line(error)})") from error
    shape = output.shape[1:]
    if output.ndim != _OUTPUT_DIMENSIONS:
        raise ModelError(f"its output {list(output.shape)} is not that of a YOLO")
    head = told.head or infer(shape, height_px=height_px, width_px=width_px)
    if head is None:
        raise ModelError(
            f"the layout of its output {list(output.shape)} cannot be told; give --head"
        )
    if told.head is None and head is Head.YOLOX and _is_raw(output, size):
        head = Head.YOLOX_RAW
    classes = class_count(head, shape)
    if classes is not None and classes < 1:
        raise ModelError(
            f"its output {list(output.shape)} is not laid out as {head.value}"
        )
    return head, classes


def _is_raw(output: NDArray[np.float32], size: tuple[int, int]) -> bool:
    """Tells offsets in cells from centres in pixels, which span the frame."""
    return float(np.abs(output[..., :2]).max()) < max(size) / 4


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
