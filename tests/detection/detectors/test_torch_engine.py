from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from classification.runtime.errors import ModelError
from detection.boxes import Box
from detection.detectors import Options, onnx
from detection.detectors.heads import Head
from detection.detectors.torch_engine import (
    Checkpoint,
    build,
    export,
    pick_device,
    settled,
)
from detection.models import ModelFile, find
from detection.records import Detection

if TYPE_CHECKING:
    from detection.detectors.network import NetworkDetector

FILE = ModelFile(path=Path("m.pt"), name="m.pt")


class OneBox(torch.nn.Module):
    """A network of the YOLOv8 family that sees a box at the frame's middle."""

    def __init__(self, classes: int = 2, rows: int | None = None) -> None:
        super().__init__()
        self.rows = 4 + classes if rows is None else rows

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        height, width = x.shape[2:]
        cells = sum((height // side) * (width // side) for side in (8, 16, 32))
        out = torch.zeros(len(x), self.rows, cells)
        box = torch.tensor([width / 2, height / 2, width / 4, height / 4])
        out[:, :4, 0] = box[: self.rows]
        out[:, -1, 0] = 0.75
        return out, []


def detector(options: Options = Options(), **facts: int) -> NetworkDetector:  # noqa: B008 - frozen
    return build(checkpoint(**facts), FILE, options)


def checkpoint(**facts: int) -> Checkpoint:
    names = {0: "fox", 1: "hen"}
    return Checkpoint(network=OneBox(), names=names, stride_px=32, **facts)


def test_a_network_becomes_a_detector() -> None:
    made = detector(image_size_px=128)
    assert made.head is Head.YOLOV8
    assert made.categories == {"1": "fox", "2": "hen"}
    prepared = made.prepare(np.zeros((96, 128, 3), dtype=np.uint8))
    assert prepared.pixels.shape == (3, 96, 128)
    assert (
        made.detect([prepared, prepared], threshold=0.5)
        == [(Detection("2", Box(0.375, 0.375, 0.25, 0.25), 0.75),)] * 2
    )


def test_who_says_the_size() -> None:
    assert detector().letterbox.width_px == 640
    assert detector(image_size_px=960).letterbox.width_px == 960
    known = replace(FILE, known=find("MDV5A"))
    table = build(checkpoint(image_size_px=960), known, Options())
    assert table.letterbox.width_px == 1280
    asked = build(checkpoint(), known, Options(image_size_px=320))
    assert asked.letterbox.width_px == 320


def test_threads_are_torch_s_own() -> None:
    before = torch.get_num_threads()
    try:
        detector(Options(threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_an_output_of_no_yolo() -> None:
    found = Checkpoint(network=OneBox(rows=3), names={}, stride_px=32)
    with pytest.raises(ModelError) as error:
        build(found, FILE, Options())
    assert str(error.value) == (
        "m.pt: its output [3, 336] is not that of a YOLO detector"
    )


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ModelError) as error:
        pick_device("cuda:99")
    assert str(error.value) == (
        f"device cuda:99 was asked for, but torch finds {torch.cuda.device_count()} CUDA devices here"
    )


def test_settled_weights_need_no_gradients() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    network[0].weight = torch.nn.Parameter(torch.ones(2, 2))
    assert not settled(network).training
    assert not any(one.requires_grad for one in network.parameters())


@pytest.mark.slow
def test_the_exported_network_is_the_network(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export(checkpoint(), FILE, Options(image_size_px=128), path)
    exported = onnx.load(ModelFile(path=path, name="m.pt"), Options())
    assert (exported.head, exported.categories) == (
        Head.YOLOV8,
        {"1": "fox", "2": "hen"},
    )
    image = np.zeros((128, 128, 3), dtype=np.uint8)
    found = [
        one.detect([one.prepare(image)], threshold=0.5)
        for one in (exported, detector(image_size_px=128))
    ]
    assert found[0] == found[1] != [()]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_takes_a_batch_at_once() -> None:
    made = detector(Options(device="cuda:0"), image_size_px=128)
    assert made.batched
