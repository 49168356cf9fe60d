"""What a network starts from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from classification.modeling import (
    catalog,
    embedded,
    imagenet_weights,
    networks,
    torch_inference,
)
from classification.modeling.imagenet_weights import WebFile
from classification.modeling.pretrained import IMAGENET, start
from classification.runtime import registry
from classification.runtime.errors import ModelError
from tests import classifiers
from tests.web import Reply, serving

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from classification.modeling.networks import StateDict

LABELS = ("bear", "deer", "empty")
BODY = "layer1.0.conv1.weight"
STEM = "_conv_stem.weight"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def saved(path: Path, name: str, outputs: int, **entries: object) -> StateDict:
    """Writes a checkpoint of random weights; returns them."""
    state = networks.build(name, outputs).state_dict()
    torch.save({"epoch": 3, "model": state, **entries}, path)
    return dict(state)


def holds(network: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> list[str]:
    """Returns the names of tensors in which the network differs from the weights."""
    found = network.state_dict()
    return [k for k, v in state.items() if not torch.equal(found[k], v)]


def test_random_weights() -> None:
    begun = start("resnet18", LABELS)
    assert begun.said == "random weights"
    assert begun.head_is_new
    with torch.inference_mode():
        assert begun.network(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize("entries", [{}, {"labels": list(LABELS)}])
def test_a_checkpoint_of_the_same_labels_is_loaded_whole(
    tmp_path: Path, entries: dict[str, object]
) -> None:
    path = tmp_path / "ckpt_3.pt"
    state = saved(path, "resnet18", 3, **entries)
    begun = start("resnet18", LABELS, pretrained=path)
    assert holds(begun.network, state) == []
    assert not begun.head_is_new
    assert begun.said == f"all weights of {path}"


def test_a_checkpoint_of_another_number_of_labels_gives_its_body(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ckpt_3.pt"
    state = saved(path, "resnet18", 7)
    begun = start("resnet18", LABELS, pretrained=path)
    del state["fc.weight"], state["fc.bias"]
    assert holds(begun.network, state) == []
    assert begun.head_is_new
    assert begun.said == (
        f"{path} has 7 labels: its body is loaded; the last layer is new, for 3 labels"
    )


def test_as_many_labels_but_others_are_not_mistaken_for_ours(tmp_path: Path) -> None:
    path = tmp_path / "ckpt_3.pt"
    state = saved(path, "resnet18", 3, labels=["bear", "empty", "deer"])
    begun = start("resnet18", LABELS, pretrained=path)
    assert holds(begun.network, state) == ["fc.weight", "fc.bias"]
    assert begun.said == (
        f"{path} has other labels: its body is loaded; "
        "the last layer is new, for 3 labels"
    )


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-lite0"])
def test_a_new_last_layer_hardly_speaks(tmp_path: Path, name: str) -> None:
    """EfficientNet-Lite's own beginning is ten times as loud."""
    saved(tmp_path / "ckpt_3.pt", name, 7)
    network = start(name, LABELS, pretrained=tmp_path / "ckpt_3.pt").network
    (head,) = networks.head_names(network)
    weight = network.get_submodule(head).get_parameter("weight").detach()
    assert 0 < float(weight.abs().max()) <= weight.shape[1] ** -0.5


def test_a_body_without_a_last_layer(tmp_path: Path) -> None:
    path = tmp_path / "body.pt"
    state = networks.build("resnet18", 5).state_dict()
    del state["fc.weight"], state["fc.bias"]
    torch.save(state, path)
    begun = start("resnet18", LABELS, pretrained=path)
    assert holds(begun.network, state) == []
    assert begun.said.startswith(f"{path} has no last layer: its body is loaded")


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    saved(path, "resnet18", 3)
    with pytest.raises(ModelError) as caught:
        start("resnet34", LABELS, pretrained=path)
    assert str(caught.value).startswith(f"{path}: weights of another network: ")


@pytest.mark.parametrize(
    ("entries", "chosen", "padding"),
    [
        ({}, None, "symmetric"),
        ({}, "tf", "tf"),
        ({"padding": "tf"}, None, "tf"),
        ({"padding": "symmetric"}, None, "symmetric"),
    ],
)
def test_padding_is_that_of_the_checkpoint(
    tmp_path: Path,
    entries: dict[str, object],
    chosen: catalog.Padding | None,
    padding: catalog.Padding,
) -> None:
    path = tmp_path / "ckpt.pt"
    state = saved(path, "efficientnet-b0", 3, **entries)
    begun = start("efficientnet-b0", LABELS, pretrained=path, padding=chosen)
    assert begun.padding == padding
    expected = networks.build("efficientnet-b0", 3, padding=padding)
    networks.load_weights(expected, state)
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(
            begun.network.get_submodule("_conv_stem")(images),
            expected.get_submodule("_conv_stem")(images),
        )


def test_new_networks_and_bare_weights_pad_as_tensorflow_does(tmp_path: Path) -> None:
    assert start("efficientnet-b0", LABELS).padding == "tf"
    path = tmp_path / "efficientnet-b0-355c32eb.pth"
    torch.save(networks.build("efficientnet-b0", 1000).state_dict(), path)
    assert start("efficientnet-b0", LABELS, pretrained=path).padding == "tf"


def from_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, suffix: str = ".pth"
) -> tuple[torch.nn.Module, StateDict]:
    """Starts from weights that a server gives as ImageNet's; returns both."""
    torch.manual_seed(1)
    state = dict(networks.build(name, 1000).state_dict())
    local = tmp_path / f"made{suffix}"
    if suffix == ".safetensors":
        save_file(state, local)
    else:
        torch.save(state, local)
    data = local.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    with serving(Reply(data)) as web:
        file = WebFile(url=f"{web.url}/w", name=f"w{suffix}", sha256=sha256[:8])
        monkeypatch.setattr(imagenet_weights, "source", lambda _: file)
        begun = start(name, LABELS, pretrained=IMAGENET)
    assert begun.head_is_new
    assert begun.padding == "tf"
    assert begun.said == (
        f"ImageNet weights (w{suffix}); the last layer is new, for 3 labels"
    )
    return begun.network, state


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("resnet18", ".pth"),
        ("efficientnet-b0", ".pth"),
        ("torchvision/mobilenet_v3_small", ".pth"),
        ("torchvision/mnasnet0_5", ".pth"),
        ("timm/mobilenetv3_small_050", ".pth"),
        ("timm/mobilenetv3_small_050", ".safetensors"),
        ("timm/deit_tiny_distilled_patch16_224", ".safetensors"),
    ],
)
def test_imagenet_weights_fill_the_body(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, suffix: str
) -> None:
    network, state = from_server(monkeypatch, tmp_path, name, suffix)
    heads = networks.head_names(network)
    body = {k: v for k, v in state.items() if not k.startswith(heads)}
    assert len(state) - len(body) == 2 * len(heads)
    assert holds(network, body) == []
    assert all(network.get_parameter(f"{head}.weight").shape[0] == 3 for head in heads)


def test_old_names_of_densenet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "torchvision/densenet121"
    made = networks.build(name, 1000).state_dict()
    old = {
        k.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): v
        for k, v in made.items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "w.pth")
    file = WebFile(url="", name="w.pth", sha256="")
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(imagenet_weights, "source", lambda _: file)
    network = start(name, LABELS, pretrained=IMAGENET).network
    key = "features.denseblock1.denselayer1.norm1.weight"
    assert torch.equal(network.state_dict()[key], made[key])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_imagenet_weights(
    monkeypatch: pytest.MonkeyPatch, cache: Path, suffix: str
) -> None:
    cache.mkdir()
    (cache / f"w{suffix}").write_bytes(b"no weights")
    file = WebFile(url="", name=f"w{suffix}", sha256="")
    monkeypatch.setattr(imagenet_weights, "source", lambda _: file)
    name = "timm/mobilenetv3_small_050"
    with pytest.raises(ModelError) as caught:
        start(name, LABELS, pretrained=IMAGENET)
    assert str(caught.value).startswith(
        f"ImageNet weights of {name}: {cache}/w{suffix}"
    )
    assert "\n" not in str(caught.value)


def test_a_transformer_of_timm_is_fitted_to_another_size(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    name = "timm/vit_tiny_patch16_224"
    cache.mkdir()
    save_file(networks.build(name, 1000).state_dict(), cache / "w.safetensors")
    file = WebFile(url="", name="w.safetensors", sha256="")
    monkeypatch.setattr(imagenet_weights, "source", lambda _: file)
    network = start(name, LABELS, pretrained=IMAGENET, image_size=64).network
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_weights_of_lite_come_from_the_registry(number: int) -> None:
    name = f"efficientnet-lite{number}"
    begun = start(name, embedded.imagenet_labels(), pretrained=IMAGENET)
    file = registry.cached(embedded.MODELS[f"{name}-imagenet"].source)
    state = networks.read_state_dict(file)
    weights = [v for k, v in state.items() if not k.endswith("num_batches_tracked")]
    found = [
        v
        for k, v in begun.network.state_dict().items()
        if not k.endswith("num_batches_tracked")
    ]
    assert all(torch.equal(a, b) for a, b in zip(found[:-2], weights[:-2], strict=True))
    assert not torch.equal(found[-2], weights[-2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side"),
    [("efficientnet-b0", 224), ("efficientnet-b2", 260), ("efficientnet-b3", 300)],
)
def test_files_of_the_original_give_its_logits(
    tmp_path: Path, name: str, side: int
) -> None:
    """Its own network, its running statistics fitted to noise, as its commands save it."""
    original = pytest.importorskip("megadetector.classification.efficientnet")
    torch.manual_seed(2)
    network = classifiers.lively(
        original.EfficientNet.from_name(name, num_classes=3), side
    )
    state = network.state_dict()
    variances = [v for k, v in state.items() if k.endswith("running_var")]
    assert all((v - 1).abs().max() > 0.01 for v in variances)
    network.set_swish(memory_efficient=False)
    path = tmp_path / "ckpt_14.pt"
    optimizer = torch.optim.RMSprop(network.parameters(), 0.016)
    torch.save(
        {
            "epoch": 14,
            "model": network.state_dict(),
            "val/acc": 81.0,
            "optimizer": optimizer.state_dict(),
        },
        path,
    )
    images = torch.randn(4, 3, side, side)
    with torch.inference_mode():
        expected = network(images)
        ours = start(name, LABELS, pretrained=path).network(images)
        script = classifiers.traced_bytes(network, side)
        compiled = torch_inference.load_torchscript(script)(images)
        padded = start(name, LABELS, pretrained=path, padding="tf").network(images)
    assert expected.std() > 0.01
    assert torch.allclose(ours, expected, rtol=0, atol=1e-4)
    assert torch.allclose(compiled, expected, rtol=0, atol=1e-4)
    # So the test would notice the other padding.
    assert not torch.allclose(padded, expected, rtol=0, atol=1e-3)


def test_the_weights_of_a_torchscript_file_are_loaded_where_they_fit(
    tmp_path: Path,
) -> None:
    network = networks.build("resnet18", len(LABELS))
    path = tmp_path / "m_compiled.pt"
    path.write_bytes(classifiers.traced_bytes(network, 64))
    begun = start("resnet18", LABELS, pretrained=path)
    assert holds(begun.network, network.state_dict()) == []
    assert begun.said == f"all weights of {path}"
    assert begun.padding == "symmetric"


def test_a_torchscript_file_of_another_network_is_said_to_be_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "m_compiled.pt"
    path.write_bytes(
        classifiers.traced_bytes(classifiers.tiny_network(), classifiers.SIDE)
    )
    with pytest.raises(ModelError) as caught:
        start("resnet18", LABELS, pretrained=path)
    assert str(caught.value) == (
        f"{path}: a TorchScript archive, weights of another network: conv1.weight is "
        "missing (and 101 more); give the checkpoint that it was made from"
    )
