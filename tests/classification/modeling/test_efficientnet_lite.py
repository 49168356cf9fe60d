"""EfficientNet-Lite written down, against timm's."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch

from classification.modeling import efficientnet_lite, networks
from classification.runtime.errors import ModelError
from tests import classifiers
from tests import hostile_archives as hostile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# The published names of what timm names otherwise, in a block with and without expansion.
NAMES = {
    "conv_dw": "_depthwise_conv",
    "bn1": "_bn1",
    "conv_pw": "_project_conv",
    "bn2": "_bn2",
}
WIDE_NAMES = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
OUTER_NAMES = {
    "conv_stem": "_conv_stem",
    "bn1": "_bn0",
    "conv_head": "_conv_head",
    "bn2": "_bn1",
    "classifier": "_fc",
}


def published(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Returns weights under the names that the published files have."""
    blocks: list[str] = []
    found = {}
    for name, value in network.state_dict().items():
        block, _, rest = name.partition(".")
        if match := re.match(r"(blocks\.\d+\.\d+)\.(\w+)\.(\w+)", name):
            if match[1] not in blocks:
                blocks.append(match[1])
            names = NAMES if len(blocks) == 1 else WIDE_NAMES
            key = f"_blocks.{len(blocks) - 1}.{names[match[2]]}.{match[3]}"
        else:
            key = f"{OUTER_NAMES[block]}.{rest}"
        found[key] = value
    return found


def lively(name: str, side: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return classifiers.lively(networks.build(name, 10, image_size=side), side)


def saved(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> dict[str, NDArray[np.float32]]:
    path = tmp_path / "lite.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)  # as published
    return efficientnet_lite.read_weights(path)


@pytest.mark.parametrize("side", [64, 75])
@pytest.mark.parametrize("number", [0, 2])
def test_the_graph_is_the_network(tmp_path: Path, number: int, side: int) -> None:
    network = lively(f"efficientnet-lite{number}", side)
    data = efficientnet_lite.to_onnx(saved(tmp_path, published(network)), side)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    images = torch.randn(3, 3, side, side)
    with torch.inference_mode():
        expected = network(images).numpy()
    (found,) = session.run(None, {"images": images.numpy()})
    assert expected.std() > 0.1
    # Random weights multiply the rounding of float32; with the published ones the logits
    # differ by 7e-6.
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=3e-5 * np.abs(expected).max()
    )


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    weights = saved(tmp_path, published(lively("efficientnet-lite0", 64)))
    one, other = (efficientnet_lite.to_onnx(weights, 64) for _ in range(2))
    assert one == other


def test_weights_of_another_network(tmp_path: Path) -> None:
    state = published(lively("efficientnet-lite0", 64))
    weights = saved(tmp_path, state)
    weights["extra"] = weights.pop("_blocks.3._bn1.bias")
    with pytest.raises(ModelError, match=r"there is no _blocks\.3\._bn1\.bias"):
        efficientnet_lite.to_onnx(weights, 64)
    with pytest.raises(ModelError, match="extra has no place"):
        efficientnet_lite.to_onnx(
            {**saved(tmp_path, state), "extra": np.ones(1, np.float32)}, 64
        )


@pytest.mark.parametrize("data", [b"", hostile.legacy(hostile.named("os", "system"))])
def test_a_file_of_no_weights(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lite.pth"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"lite\.pth: "):
        efficientnet_lite.read_weights(path)


def test_a_document_that_is_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "lite.pth"
    buffer = io.BytesIO()
    torch.save([1], buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ModelError, match="holds no weights"):
        efficientnet_lite.read_weights(path)
