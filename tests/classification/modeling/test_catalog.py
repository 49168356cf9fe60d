"""The networks by name."""

from __future__ import annotations

import subprocess
import sys

import pytest
from efficientnet_pytorch import EfficientNet

from classification.modeling import catalog
from classification.modeling.catalog import ARCHITECTURES, Normalisation
from classification.runtime.errors import ModelError


def test_sizes_are_those_of_the_package() -> None:
    for name, architecture in ARCHITECTURES.items():
        if architecture.family == "efficientnet":
            assert architecture.image_size == EfficientNet.get_image_size(name)


def test_every_original_name_is_there() -> None:
    names = {f"efficientnet-b{n}" for n in range(9)} | {"efficientnet-l2"}
    names |= {f"resnet{n}" for n in (18, 34, 50, 101, 152)}
    assert names <= set(ARCHITECTURES)


def test_find() -> None:
    assert catalog.find("efficientnet-b3").image_size == 300
    assert catalog.find("efficientnet-lite0").normalisation.mean == (127.0,) * 3


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(ModelError) as caught:
        catalog.find("vgg")
    assert str(caught.value) == (
        f"no architecture 'vgg'; there are {', '.join(ARCHITECTURES)}, "
        "torchvision/NAME and timm/NAME"
    )


def test_networks_of_the_libraries() -> None:
    found = catalog.find("torchvision/efficientnet_v2_s")
    assert (found.name, found.image_size) == ("torchvision/efficientnet_v2_s", 384)
    assert found.normalisation == catalog.IMAGENET
    assert catalog.library_name(found) == "efficientnet_v2_s"
    found = catalog.find("timm/tf_efficientnet_lite3")
    assert (found.family, found.image_size) == ("timm", 300)
    assert found.normalisation == Normalisation(
        divisor=255.0, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )


def test_a_tag_of_timms_weights_belongs_to_the_name() -> None:
    found = catalog.find("timm/convnext_tiny.fb_in22k")
    assert found.name == "timm/convnext_tiny.fb_in22k"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchvision/resnet17", "torchvision has no network 'resnet17'; near: "),
        ("timm/resnet17", "timm has no network 'resnet17'; near: "),
        ("timm/", "timm has no network ''"),
        ("timm/resnet18.nobody", "timm has no network 'resnet18.nobody'; near: "),
        # A detector, which torchvision lists beside its classifiers.
        ("torchvision/ssd300_vgg16", "torchvision has no network 'ssd300_vgg16'"),
        ("keras/resnet18", "no architecture 'keras/resnet18'; there are "),
    ],
)
def test_unknown_networks_of_the_libraries(name: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        catalog.find(name)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_ours_need_no_torch() -> None:
    program = (
        "import sys; from classification.modeling import catalog\n"
        "catalog.find('resnet50'); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
