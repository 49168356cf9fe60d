"""The loop of training, on crops of one colour per label."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch

from classification.artifacts.run_params import RunParams
from classification.dataset import training_set
from classification.modeling import (
    board,
    catalog,
    checkpoints,
    networks,
    resuming,
    training,
)
from classification.modeling.distributed import Group
from classification.modeling.pace import Pace
from classification.modeling.resuming import Saved
from classification.modeling.training import Setup, Training
from classification.runtime.errors import ConfigurationError, TooManyFailuresError
from classification.storage.local import LocalStore
from tests import training_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

SIDE = 32
NETWORK = "timm/test_resnet"


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    training_world.make(tmp_path)
    (tmp_path / "logs").mkdir()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def network() -> nn.Module:
    torch.manual_seed(0)
    return networks.build(NETWORK, 3, image_size=SIDE)


def make_setup(base: Path, *, lr: float = 0.02, **told: Any) -> Setup:  # noqa: ANN401 - of RunParams
    params = RunParams(
        dataset_dir="run",
        cropped_images_dir="crops",
        model_name=NETWORK,
        **{"epochs": 2, "batch_size": 8, "augmentation": "none", "seed": 1, **told},
    )
    read = training_set.read(base / "run", label_weighted=params.label_weighted)
    return Setup(
        params=params,
        labels=read.labels,
        splits=read.splits,
        store=LocalStore(base / "crops"),
        folder=base / "logs",
        optimizer="sgd",
        lr=lr,
        image_size=SIDE,
        normalisation=catalog.IMAGENET,
        padding="tf",
        threads=0,
    )


def train(setup: Setup, saved: Saved | None = None) -> tuple[nn.Module, Saved]:
    built = network()
    running = Training(setup, Group(), built, None, saved or Saved())
    return built, running.run()


def kept(setup: Setup) -> checkpoints.Checkpoint:
    [path] = setup.folder.glob("ckpt_*.pt")
    return checkpoints.read(path)


def test_it_learns_colours(base: Path) -> None:
    setup = make_setup(base, epochs=8, label_weighted=True)
    _, ended = train(setup)
    assert ended.best_accuracy > 90
    assert ended.is_trained
    assert set(ended.measured) == {"train", "val", "test"}
    read = kept(setup)
    assert read.epoch == ended.best_epoch
    assert read.val_accuracy == ended.best_accuracy


def test_d56_only_the_best_checkpoint_is_kept(base: Path) -> None:
    setup = make_setup(base, epochs=5)
    _, ended = train(setup)
    names = [path.name for path in setup.folder.glob("ckpt_*.pt")]
    assert names == [f"ckpt_{ended.best_epoch}.pt"]


def test_d59_the_same_seed_gives_the_same_bits(base: Path) -> None:
    setup = make_setup(base, augmentation="standard")
    hashes = {train(setup)[1].weights_sha256 for _ in range(2)}
    hashes |= {
        train(make_setup(base, augmentation="standard", seed=2))[1].weights_sha256
    }
    assert len(hashes) == 2


def test_only_the_last_layer_learns_while_it_is_told_to(base: Path) -> None:
    setup = make_setup(base, epochs=1, finetune=1)
    before = {k: v.clone() for k, v in network().state_dict().items()}
    after = train(setup)[0].state_dict()
    changed = {k for k, v in after.items() if not torch.equal(v, before[k])}
    assert changed == {"fc.weight", "fc.bias"}


def test_everything_learns_afterwards(base: Path) -> None:
    setup = make_setup(base, epochs=2, finetune=1)
    before = {k: v.clone() for k, v in network().state_dict().items()}
    after = train(setup)[0].state_dict()
    assert all(not torch.equal(v, before[k]) for k, v in after.items())


def test_cached_features_give_what_uncached_ones_do(base: Path) -> None:
    uncached = train(make_setup(base, epochs=3, finetune=3))
    cached = train(make_setup(base, epochs=3, finetune=3, cache_features=True))
    for (name, one), other in zip(
        uncached[0].state_dict().items(), cached[0].state_dict().values(), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5), name
    assert uncached[1].best_epoch == cached[1].best_epoch


@pytest.mark.parametrize("cached", [False, True])
def test_that_cached_crops_are_not_varied_is_said(
    base: Path, caplog: pytest.LogCaptureFixture, *, cached: bool
) -> None:
    caplog.set_level(logging.INFO)
    told = {"epochs": 1, "finetune": 1, "augmentation": "standard"}
    train(make_setup(base, cache_features=cached, **told))
    said = caplog.text.count("crops are not varied while their features are kept")
    assert said == cached


def test_the_time_left_is_said_while_features_are_computed(
    base: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(Pace, "is_time_to_tell", lambda _: True)
    train(make_setup(base, epochs=2, finetune=1, cache_features=True))
    lines = [line for line in caplog.messages if "features, step" in line]
    assert [line.partition(";")[0] for line in lines] == [
        *(f"train: features, step {step} of 3" for step in (1, 2, 3)),
        *(f"val: features, step {step} of 2" for step in (1, 2)),
        *(f"test: features, step {step} of 2" for step in (1, 2)),
    ]
    assert all(line.endswith(" s left") for line in lines)


def test_it_ends_after_eight_epochs_without_a_better_one(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    setup = make_setup(base, epochs=30, finetune=30, cache_features=True, lr=1e-9)
    _, ended = train(setup)
    assert ended.best_epoch == 0
    assert ended.epoch == 1 + training.PATIENCE
    assert "no better epoch than 0 in 8" in caplog.text


def test_the_last_layer_alone_does_not_end_a_run(base: Path) -> None:
    setup = make_setup(base, epochs=12, finetune=11, cache_features=True, lr=1e-9)
    assert train(setup)[1].epoch == 12


def test_the_last_network_is_kept_if_told(base: Path) -> None:
    told = {"epochs": 11, "finetune": 11, "cache_features": True, "keep": "last"}
    setup = make_setup(base, lr=1e-9, **told)
    built, ended = train(setup)
    assert ended.best_epoch == 10
    assert kept(setup).epoch == 10
    assert torch.equal(kept(setup).model["fc.weight"], built.state_dict()["fc.weight"])


def test_averaged_weights_are_what_is_kept(base: Path) -> None:
    setup = make_setup(base, epochs=1, average_weights=2.0)
    built, _ = train(setup)
    before, last, mean = (
        one["fc.weight"]
        for one in (network().state_dict(), built.state_dict(), kept(setup).model)
    )
    assert not torch.equal(mean, last)
    assert (mean - last).abs().sum() < (mean - before).abs().sum()


def test_smoothed_labels_are_for_learning_alone(base: Path) -> None:
    plain, smooth = (
        train(make_setup(base, epochs=1, lr=1e-9, label_smoothing=share))[1].measured
        for share in (0.0, 0.5)
    )
    assert torch.allclose(plain["val"], smooth["val"], rtol=1e-4)
    assert not torch.allclose(plain["train"], smooth["train"], rtol=1e-4)


@pytest.mark.parametrize("frozen", [False, True])
def test_batch_normalisation_keeps_its_means_if_told(
    base: Path, *, frozen: bool
) -> None:
    before = network().state_dict()
    after = train(make_setup(base, epochs=1, freeze_batch_norm=frozen))[0].state_dict()
    kept_means = {
        torch.equal(after[name], before[name]) for name in before if "running" in name
    }
    assert kept_means == {frozen}
    assert not torch.equal(after["fc.weight"], before["fc.weight"])


def test_d25_an_accuracy_of_nothing_is_the_best_so_far(base: Path) -> None:
    """Where no val crop is recognised in any epoch, the first epoch is kept."""
    rows = training_world.make(base)
    turned = [
        row._replace(
            label={"bear": "deer", "deer": "empty", "empty": "bear"}[row.label]
        )
        if row.location == "2"
        else row
        for row in rows
    ]
    training_world.write_set(base, turned, training_world.LABELS[:3])
    setup = make_setup(base, epochs=1, lr=0.003)
    train(setup)
    assert kept(setup).epoch == 0


def test_d25_unreadable_crops_are_listed_and_left_out(base: Path) -> None:
    setup = make_setup(base)
    names = {split: rows.paths[1] for split, rows in setup.splits.items()}
    for name in names.values():
        (base / "crops" / name).write_bytes(b"no picture")
    _, ended = train(setup)
    assert set(ended.failed) == set(names.values())
    assert all(ended.failed.values())


def test_a_batch_of_one_teaches_batch_normalisation_nothing_wrong(base: Path) -> None:
    setup = make_setup(base, batch_size=23)  # 24 crops in train
    _, ended = train(setup)
    assert ended.steps_trained == 4


def test_no_crop_that_can_be_read_ends_the_run(base: Path) -> None:
    setup = make_setup(base)
    for name in setup.splits["train"].paths:
        (base / "crops" / name).unlink()
    with pytest.raises(TooManyFailuresError, match="no crop of train"):
        train(setup)


def test_a_loss_that_is_no_number_ends_the_run(base: Path) -> None:
    setup = make_setup(base, lr=1e30, epochs=3)
    with pytest.raises(ConfigurationError, match=r"smaller --lr than 1e\+30"):
        train(setup)


def test_without_val_the_last_epoch_is_kept(base: Path) -> None:
    rows = [row for row in training_world.make(base) if row.location != "2"]
    training_world.write_set(base, rows, training_world.LABELS[:3])
    setup = make_setup(base, epochs=2)
    train(setup)
    assert kept(setup).epoch == 1


@pytest.mark.parametrize(("finetune", "cached"), [(0, False), (1, False), (1, True)])
def test_where_a_run_is_is_noted_every_few_steps(
    base: Path, monkeypatch: pytest.MonkeyPatch, finetune: int, *, cached: bool
) -> None:
    """Each state that was noted leads to the same end."""
    setup = make_setup(
        base,
        epochs=2,
        finetune=finetune,
        cache_features=cached,
        augmentation="standard",
        average_weights=1.0,
        lr_schedule="cosine",
    )
    setup = training.replace(setup, save_steps=2)
    noted: list[Saved] = []
    write = resuming.write

    def note(folder: Path, saved: Saved) -> None:
        write(folder, saved)
        read = resuming.read(folder)
        assert read is not None
        noted.append(read)

    monkeypatch.setattr(resuming, "write", note)
    _, ended = train(setup)
    monkeypatch.undo()
    places = [(saved.epoch, saved.step) for saved in noted]
    assert places == [(0, 2), (1, 0), (1, 2), (2, 0), (2, 0)]
    for saved in noted[:-1]:
        assert train(setup, saved)[1].weights_sha256 == ended.weights_sha256


def test_the_board_is_told(base: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415
        EventAccumulator,
    )

    setup = make_setup(base, epochs=2, log_extreme_examples=1)
    with board.Board(setup.folder) as written:
        Training(setup, Group(), network(), written, Saved()).run()
    read = EventAccumulator(str(setup.folder))
    read.Reload()
    tags = read.Tags()
    assert {"lr", "train/loss", "val/acc_top1", "test/acc_top3"} <= set(tags["scalars"])
    assert {"val/label_recall/deer", "images_per_second"} <= set(tags["scalars"])
    assert {f"confusion_matrix/{s}" for s in ("train", "val", "test")} <= set(
        tags["images"]
    )
    assert [event.step for event in read.Scalars("lr")] == [0, 1]
    assert any(tag.endswith(("/tp", "/fp")) for tag in tags["images"])
