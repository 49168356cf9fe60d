"""Checkpoints: ours, the original's, and what is none."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
import torch

from classification.artifacts.run_params import RunParams
from classification.modeling import checkpoints, networks
from classification.modeling.checkpoints import Checkpoint
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("bear", "deer")
PARAMS = RunParams(dataset_dir="run", cropped_images_dir="crops", model_name="resnet18")


def resnet(outputs: int = 2) -> torch.nn.Module:
    torch.manual_seed(outputs)
    return networks.build("resnet18", outputs)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        return torch.equal(a(images), b(images))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    network = resnet()
    path = tmp_path / checkpoints.filename(3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    written = Checkpoint(
        model=network.state_dict(),
        epoch=3,
        val_accuracy=51.5,
        optimizer=optimizer.state_dict(),
        padding="tf",
        labels=LABELS,
        architecture="resnet18",
        image_size=32,
    )
    checkpoints.write(path, written)
    read = checkpoints.read(path)
    assert (read.epoch, read.val_accuracy, read.labels) == (3, 51.5, LABELS)
    assert read.padding == "tf"
    assert read.optimizer == optimizer.state_dict()
    assert same(checkpoints.open_network(path), network)
    assert path.name == "ckpt_3.pt"


def test_the_originals_keys_are_there(tmp_path: Path) -> None:
    path = tmp_path / "ckpt_0.pt"
    checkpoints.write(path, Checkpoint(model=resnet().state_dict(), epoch=0))
    document = torch.load(path, weights_only=True)
    assert {"epoch", "model", "val/acc", "optimizer"} <= set(document)


def test_the_originals_checkpoint_is_read(tmp_path: Path) -> None:
    network = resnet(5)
    state = {f"module.{k}": v for k, v in network.state_dict().items()}
    path = tmp_path / "ckpt_7.pt"
    torch.save({"epoch": 7, "model": state, "val/acc": 80.0, "optimizer": {}}, path)
    read = checkpoints.read(path)
    assert (read.padding, read.labels, read.epoch) == ("symmetric", None, 7)
    assert same(checkpoints.open_network(path, PARAMS), network)
    with pytest.raises(ModelError, match=r"ckpt_7\.pt does not say its architecture"):
        checkpoints.open_network(path)
    with pytest.raises(ModelError, match="weights of another network"):
        checkpoints.open_network(path, PARAMS, model_name="efficientnet-b0")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run while it was read",))


def test_d45_nothing_in_a_checkpoint_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ckpt_0.pt"
    torch.save({"model": Malicious()}, path)
    with pytest.raises(ModelError, match="not a file of weights alone"):
        checkpoints.read(path)
    path.write_bytes(pickle.dumps(Malicious(), protocol=2))
    with pytest.raises(ModelError, match=r"ckpt_0\.pt"):
        checkpoints.read(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", "3"),
        ("val/acc", "high"),
        ("labels", [1, 2]),
        ("labels", "ab"),
        ("padding", "same"),
        ("architecture", 3),
        ("image_size", 0),
        ("optimizer", 3),
    ],
)
def test_a_wrong_entry_is_named(key: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "ckpt_0.pt"
    torch.save({"model": {"weight": torch.zeros(1)}, key: value}, path)
    with pytest.raises(ModelError, match=key) as refusal:
        checkpoints.read(path)
    assert str(refusal.value).startswith(str(path))
