"""Building networks, and reading weights that are data alone."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
import torch

from classification.modeling import networks
from classification.runtime.errors import ModelError, StorageError
from tests import classifiers
from tests.disk import largest_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "parameters", "keys"),
    [
        ("efficientnet-b0", 5_288_548, 360),
        ("efficientnet-b3", 12_233_232, 574),
        ("resnet18", 11_689_512, 122),
    ],
)
def test_sizes_of_networks(name: str, parameters: int, keys: int) -> None:
    network = networks.build(name, 1000)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == keys
    assert not network.training


def test_an_efficientnet_has_the_originals_names() -> None:
    names = set(networks.build("efficientnet-b0", 4).state_dict())
    assert {
        "_conv_stem.weight",
        "_blocks.0._depthwise_conv.weight",
        "_blocks.1._expand_conv.weight",
        "_blocks.15._bn2.running_var",
        "_conv_head.weight",
        "_fc.bias",
    } <= names


def test_lite_takes_batches() -> None:
    network = networks.build("efficientnet-lite0", 5)
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 224, 224)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("torchvision/mobilenet_v3_small", ("classifier.3",)),
        ("torchvision/squeezenet1_1", ("classifier.1",)),
        ("torchvision/googlenet", ("fc",)),
        ("timm/mobilenetv3_small_050", ("classifier",)),
        ("timm/deit_tiny_distilled_patch16_224", ("head", "head_dist")),
        ("efficientnet-b0", ("_fc",)),
        ("efficientnet-lite0", ("classifier",)),
        ("resnet18", ("fc",)),
    ],
)
def test_networks_of_every_library_give_logits(
    name: str, heads: tuple[str, ...]
) -> None:
    network = networks.build(name, 5)
    assert not network.training
    assert networks.head_names(network) == heads
    for head in heads:
        assert network.get_parameter(f"{head}.weight").shape[0] == 5
    for training in (False, True):
        network.train(training)
        with torch.no_grad():
            assert network(torch.zeros(2, 3, 224, 224)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("torchvision/vit_b_32", 64),
        ("timm/vit_tiny_patch16_224", 64),
        ("timm/mobilenetv3_small_050", 64),
    ],
)
def test_another_size(name: str, size: int) -> None:
    network = networks.build(name, 3, image_size=size)
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, size, size)).shape == (1, 3)


def test_a_size_that_a_network_cannot_have() -> None:
    with pytest.raises(
        ModelError, match=r"^torchvision/vit_b_32 cannot be built for 65 px"
    ):
        networks.build("torchvision/vit_b_32", 3, image_size=65)


def test_a_network_without_a_last_layer() -> None:
    with pytest.raises(ModelError, match="no layer that could give its logits"):
        networks.head_names(torch.nn.ReLU())


def test_padding_changes_results_but_not_weights() -> None:
    symmetric = networks.build("efficientnet-b0", 3, padding="symmetric")
    same = networks.build("efficientnet-b0", 3, padding="tf")
    networks.load_weights(same, symmetric.state_dict())
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        stem = symmetric.get_submodule("_conv_stem")(images)
        expected = torch.nn.functional.conv2d(
            images, symmetric.state_dict()["_conv_stem.weight"], stride=2, padding=1
        )
        assert torch.equal(stem, expected)
        other = same.get_submodule("_conv_stem")(images)
    assert other.shape == stem.shape
    assert not torch.equal(stem, other)


@pytest.mark.parametrize("wrap", ["", "model", "state_dict"])
def test_read_state_dict(tmp_path: Path, wrap: str) -> None:
    state = {
        f"module.{k}": v for k, v in classifiers.tiny_network().state_dict().items()
    }
    path = tmp_path / "ckpt_3.pt"
    torch.save({"epoch": 3, wrap: state} if wrap else state, path)
    network = classifiers.tiny_network()
    networks.load_weights(network, networks.read_state_dict(path))


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_d45_a_pickle_is_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "ckpt.pt", tmp_path / "trace"
    torch.save({"model": Payload(trace)}, path)
    with pytest.raises(ModelError) as caught:
        networks.read_state_dict(path)
    assert str(caught.value) == (
        f"{path}: not a file of weights alone: it holds {os.mkdir.__module__}.mkdir, "
        "which is no data; nothing of it was run"
    )
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04"])
def test_damaged_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ckpt.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"ckpt\.pt: (damaged|not a file of weights)"):
        networks.read_state_dict(path)


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read: No such file"):
        networks.read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "holds no weights"),
        ([1], "holds no weights"),
        ({"epoch": 1}, "holds more than named tensors, so no state dict"),
    ],
)
def test_files_without_weights(document: object, reason: str) -> None:
    buffer = io.BytesIO()
    torch.save(document, buffer)
    buffer.seek(0)
    with pytest.raises(ModelError) as caught:
        networks.read_state_dict(buffer)
    assert str(caught.value) == f"weights: {reason}"


def test_weights_of_another_network() -> None:
    state = classifiers.tiny_network(5).state_dict()
    with pytest.raises(ModelError) as caught:
        networks.load_weights(classifiers.tiny_network(3), state)
    assert str(caught.value) == (
        "weights of another network: 2.weight has the shape [5, 48], [3, 48] is needed"
        " (and 1 more)"
    )
    with pytest.raises(ModelError, match=r"2\.bias is missing \(and 1 more\)"):
        networks.load_weights(
            classifiers.tiny_network(), {"2.weight": state["2.weight"]}
        )


def test_rename_in_order() -> None:
    source = classifiers.tiny_network()
    weight, bias = source.state_dict().values()
    network = classifiers.tiny_network()
    renamed = networks.rename_in_order(network, {"a": weight, "b": bias})
    assert list(renamed) == ["2.weight", "2.bias"]
    with pytest.raises(ModelError, match="1 tensors, 2 are needed"):
        networks.rename_in_order(network, {"a": weight})


@pytest.mark.parametrize("size", [50, 5000, 300_000])
def test_weights_on_a_full_disk_are_one_line(tmp_path: Path, size: int) -> None:
    document = {"w": torch.zeros(50_000), "v": torch.zeros(50_000)}
    path = tmp_path / "w.pt"
    with largest_file(size), pytest.raises(StorageError) as refused:
        networks.write_document(path, document)
    assert str(refused.value) == f"cannot write {path}: File too large"
    assert list(tmp_path.iterdir()) == []
    networks.write_document(path, document)
    assert networks.read_document(path).keys() == document.keys()  # type: ignore[attr-defined]
