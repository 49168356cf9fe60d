"""Tiny classifiers that tests make themselves: real files, a few hundred bytes."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch

from classification.modeling import catalog, manifest
from classification.modeling.manifest import (
    Calibration,
    LabelCalibration,
    Manifest,
    Threshold,
    Weights,
)
from classification.modeling.scaling import Temperature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SIDE = 16
LABELS = ("bear", "deer", "empty")


def tiny_network(outputs: int = 3) -> torch.nn.Module:
    """Makes a network of one layer, the same each time."""
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(48, outputs),
    )
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return network.eval()


def lively(
    network: torch.nn.Module, side: int, images: torch.Tensor | None = None
) -> torch.nn.Module:
    """Fits the batch norms of random weights to images, or noise; returns the network.

    Without this, values vanish on their way through a deep network of random weights,
    and every comparison of its outputs is one of zeros.
    """
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(torch.randn(8, 3, side, side) if images is None else images)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return network.eval()


def tiny_onnx(outputs: int = 3) -> bytes:
    """Returns an ONNX network that averages over the image, then weighs channels."""
    import onnx  # noqa: PLC0415 - heavy, and few tests need it
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - as above

    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["logits"]),
        ],
        "tiny",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.FLOAT, ["batch", 3, None, None]
            )
        ],
        [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT, ["batch", outputs]
            )
        ],
        [
            numpy_helper.from_array(
                rng.standard_normal((3, outputs)).astype(np.float32), "w"
            )
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def save_exported(
    path: Path, data: bytes | None = None, labels: Sequence[str] = LABELS
) -> Path:
    """Writes an ONNX classifier and its manifest; returns ``path``."""
    data = tiny_onnx(len(labels)) if data is None else data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    described = Manifest(
        architecture="resnet18",
        weights=Weights(file=path.name, sha256=hashlib.sha256(data).hexdigest()),
        labels=tuple(labels),
        image_size=SIDE,
        normalisation=catalog.IMAGENET,
        padding="tf",
    )
    manifest.write(manifest.path_beside(path), described)
    return path


def calibrate(
    path: Path,
    *,
    temperature: float,
    thresholds: Mapping[str, float | None] | None = None,
) -> None:
    """Writes a temperature into the manifest of an exported classifier."""
    least = thresholds or {}
    beside = manifest.path_beside(path)
    described = manifest.read(beside)
    calibration = Calibration(
        scaling=Temperature(temperature=temperature),
        outputs_sha256="0" * 64,
        crops=9,
        loss_before=0.75,
        loss_after=0.5,
        ece_before=0.25,
        ece_after=0.125,
        wanted_precision=0.9,
        labels=tuple(
            LabelCalibration(
                label=label,
                crops=3,
                ece_before=0.25,
                ece_after=0.125,
                threshold=_threshold(least.get(label)),
            )
            for label in described.labels
        ),
    )
    manifest.write(beside, msgspec.structs.replace(described, calibration=calibration))


def _threshold(probability: float | None) -> Threshold | None:
    if probability is None:
        return None
    return Threshold(probability=probability, crops=2, precision=1, low=0.16, high=1)


def torchscript_bytes(network: torch.nn.Module) -> bytes:
    """Scripts a network and returns the bytes of its TorchScript file."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    return buffer.getvalue()


def traced_bytes(network: torch.nn.Module, side: int) -> bytes:
    """Traces a network and returns the bytes of its TorchScript file."""
    buffer = io.BytesIO()
    traced = torch.jit.trace(network, torch.zeros(1, 3, side, side), check_trace=False)
    torch.jit.save(traced, buffer)
    return buffer.getvalue()
