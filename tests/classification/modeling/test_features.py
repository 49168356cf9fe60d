"""Features that are computed once, and batches of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from classification.dataset import training_set
from classification.modeling import catalog, features, networks, training_data
from classification.modeling.training_data import TrainLoader
from classification.runtime.errors import ConfigurationError, StorageError
from classification.storage.local import LocalStore
from tests import training_world
from tests.disk import largest_file

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 32


@pytest.fixture
def loader(tmp_path: Path) -> TrainLoader:
    rows = training_world.make(tmp_path)
    (tmp_path / "crops" / rows[1].path).write_bytes(b"no picture")
    read = training_set.read(tmp_path / "run")
    return TrainLoader(
        store=LocalStore(tmp_path / "crops"),
        rows=read.splits["train"],
        image_size=SIDE,
        batch_size=5,
        augmentation="none",
        seed=3,
    )


def network() -> nn.Module:
    torch.manual_seed(0)
    return networks.build("resnet18", 3)


def forward(built: nn.Module, images: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = built(training_data.normalise(images, catalog.IMAGENET))
    return logits


def test_batches_are_the_loaders_own(loader: TrainLoader, tmp_path: Path) -> None:
    built = network()
    head = features.head_of(built, networks.head_names(built))
    told: list[int] = []
    computed = features.compute(
        loader, head, lambda images: forward(built, images), tmp_path, told.append
    )
    assert told == [1, 2, 3, 4, 5]
    assert computed.steps == loader.steps
    for epoch in (0, 1):
        pairs = zip(
            computed.epoch(epoch, first_step=1),
            loader.epoch(epoch, first_step=1),
            strict=True,
        )
        for ours, theirs in pairs:
            assert np.array_equal(ours.places, theirs.places)
            assert torch.equal(ours.labels, theirs.labels)
            assert ours.failed.keys() == theirs.failed.keys()
            with torch.inference_mode():
                expected = forward(built, theirs.images)
                assert torch.allclose(head(ours.images), expected, atol=1e-4)


def test_a_head_that_is_not_alone_is_refused(
    loader: TrainLoader, tmp_path: Path
) -> None:
    built = networks.build("torchvision/squeezenet1_1", 3)
    with pytest.raises(ConfigurationError, match="no linear layer alone"):
        features.head_of(built, networks.head_names(built))
    behind = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3), nn.Softmax(1)
    )
    with pytest.raises(ConfigurationError, match="more than its last layer"):
        features.compute(
            loader,
            features.head_of(behind, ("2",)),
            lambda images: behind(images.float()),
            tmp_path,
            print,
        )


def test_no_room_for_features_is_one_line(tmp_path: Path) -> None:
    """A number set in a mapped file for which there is no room ends the process."""
    with largest_file(100), pytest.raises(StorageError) as refused:
        features._room_for((10, 10), tmp_path)
    assert str(refused.value) == f"cannot write {tmp_path}: File too large"
