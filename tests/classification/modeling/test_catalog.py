"""The networks by name."""

from __future__ import annotations

import pytest
from efficientnet_pytorch import EfficientNet

from classification.modeling import catalog
from classification.modeling.catalog import ARCHITECTURES
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
        f"no architecture 'vgg'; there are {', '.join(ARCHITECTURES)}"
    )
