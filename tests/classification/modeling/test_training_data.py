from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from classification.dataset.training_set import SplitRows
from classification.modeling import augmentation, catalog, preprocessing, sampling
from classification.modeling.training_data import TrainLoader, normalise, open_cache
from classification.runtime.name_list import CodedList, NameList
from classification.storage.local import LocalStore
from tests.world import photograph, save_jpeg

if TYPE_CHECKING:
    from pathlib import Path

    from classification.modeling.training_data import Batch

COUNT = 11
NAMES = [f"d/{number}.jpg___crop00.jpg" for number in range(COUNT)]


@pytest.fixture
def loader(tmp_path: Path) -> TrainLoader:
    for number, name in enumerate(NAMES):
        save_jpeg(tmp_path / name, photograph(60, 40 + number, seed=number))
    return TrainLoader(
        store=LocalStore(tmp_path),
        rows=SplitRows(
            paths=NameList(NAMES),
            labels=np.arange(COUNT) % 3,
            weights=np.arange(COUNT) / 5,
            locations=CodedList(["d/1"] * COUNT),
            datasets=CodedList(["d"] * COUNT),
            confidences=np.ones(COUNT),
            numbers=np.arange(COUNT),
        ),
        image_size=32,
        batch_size=4,
        augmentation="standard",
        seed=7,
    )


def same(left: Batch, right: Batch) -> bool:
    return (
        torch.equal(left.images, right.images)
        and torch.equal(left.labels, right.labels)
        and torch.equal(left.weights, right.weights)
        and left.places.tolist() == right.places.tolist()
        and left.failed == right.failed
    )


def test_an_epoch_has_every_example_once(loader: TrainLoader) -> None:
    batches = list(loader.epoch(0))
    assert [len(batch.labels) for batch in batches] == [4, 4, 3]
    assert loader.steps == 3
    places = np.concatenate([batch.places for batch in batches])
    assert sorted(places.tolist()) == list(range(COUNT))
    assert places.tolist() != list(range(COUNT))
    for batch in batches:
        assert batch.images.shape[1:] == (3, 32, 32)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.labels.tolist() == (batch.places % 3).tolist()
        np.testing.assert_allclose(batch.weights.numpy(), batch.places / 5)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_d59_whatever_threads_and_wherever_taken_up_an_epoch_is_the_same(
    loader: TrainLoader, threads: int
) -> None:
    undisturbed = list(loader.epoch(2))
    resumed = list(replace(loader, threads=threads).epoch(2, first_step=1))
    assert len(resumed) == 2
    assert all(map(same, resumed, undisturbed[1:]))
    assert not same(next(iter(loader.epoch(1))), undisturbed[0])


def test_processes_together_see_what_one_sees(loader: TrainLoader) -> None:
    parts = [
        next(iter(replace(loader, batch_size=2, rank=rank, world=2).epoch(0)))
        for rank in range(2)
    ]
    whole = next(iter(loader.epoch(0)))
    together = torch.stack([part.images for part in parts], dim=1).flatten(0, 1)
    assert torch.equal(together, whole.images)


@pytest.mark.parametrize("in_order", [False, True])
def test_processes_have_equally_many_steps(
    loader: TrainLoader, *, in_order: bool
) -> None:
    made = replace(loader, batch_size=1, world=2, in_order=in_order)
    for rank in range(2):
        batches = list(replace(made, rank=rank).epoch(0))
        assert len(batches) == made.steps == 6


def test_in_order_is_unvaried_where_asked_to(
    loader: TrainLoader, tmp_path: Path
) -> None:
    plain = replace(loader, in_order=True, augmentation="none")
    batches = list(plain.epoch(3))
    assert np.concatenate([batch.places for batch in batches]).tolist() == list(
        range(COUNT)
    )
    with Image.open(tmp_path / NAMES[0]) as crop:
        expected = preprocessing.square(crop, 32)
    assert (batches[0].images[0].permute(1, 2, 0).numpy() == expected).all()


def test_weights_draw_with_replacement(loader: TrainLoader) -> None:
    weighted = replace(loader, weighted=True)
    places = np.concatenate([batch.places for batch in weighted.epoch(0)])
    order = sampling.epoch_order(COUNT, loader.rows.weights, seed=7, epoch=0)
    assert places.tolist() == order.tolist()
    assert 0 not in places.tolist()


def test_a_crop_that_cannot_be_read_is_left_out_and_changes_nothing_else(
    loader: TrainLoader, tmp_path: Path
) -> None:
    whole = list(loader.epoch(0))
    (tmp_path / NAMES[3]).unlink()
    (tmp_path / NAMES[5]).write_bytes(b"no image")
    damaged = list(loader.epoch(0))
    failed = {row: why for batch in damaged for row, why in batch.failed.items()}
    assert failed == {3: "no such file", 5: "not an image file"}
    for before, after in zip(whole, damaged, strict=True):
        kept = [i for i, row in enumerate(before.places.tolist()) if row not in failed]
        assert torch.equal(after.images, before.images[kept])
        assert after.places.tolist() == before.places[kept].tolist()
        assert torch.equal(after.labels, before.labels[kept])


def test_a_batch_may_be_left_with_nothing(loader: TrainLoader, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).unlink()
    batch = next(iter(loader.epoch(0)))
    assert batch.images.shape == (0, 3, 32, 32)
    assert len(batch.failed) == 4


def test_an_epoch_may_be_given_up(loader: TrainLoader) -> None:
    assert len(list(islice(replace(loader, threads=2).epoch(0), 1))) == 1


def test_normalises_as_inference_does(loader: TrainLoader) -> None:
    images = next(iter(loader.epoch(0))).images
    squares = images.permute(0, 2, 3, 1).contiguous().numpy()
    expected = preprocessing.normalise(squares, catalog.IMAGENET)
    found = normalise(images, catalog.IMAGENET)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_each_example_of_an_epoch_is_varied_by_its_own_numbers(
    loader: TrainLoader,
) -> None:
    twice = replace(loader.rows, paths=NameList([NAMES[0]] * COUNT))
    batch = next(iter(replace(loader, rows=twice).epoch(0)))
    assert not torch.equal(batch.images[0], batch.images[1])
    assert loader.augmentation == augmentation.DEFAULT


@pytest.mark.parametrize("name", augmentation.NAMES)
def test_what_a_cache_holds_changes_no_pixel(
    loader: TrainLoader, tmp_path: Path, name: str
) -> None:
    varied = replace(loader, augmentation=name, image_size=24)
    with open_cache(tmp_path / "caches", varied) as cache:
        cached = replace(varied, cache=cache, threads=2)
        first = [batch for epoch in range(3) for batch in cached.epoch(epoch)]
        assert len(cache) == COUNT
    with open_cache(tmp_path / "caches", varied) as cache:
        assert len(cache) == COUNT
        again = replace(varied, cache=cache)
        second = [batch for epoch in range(3) for batch in again.epoch(epoch)]
    assert all(map(same, first, second))
    if name == "none":
        plain = [batch for epoch in range(3) for batch in varied.epoch(epoch)]
        assert all(map(same, first, plain))


def test_a_cached_crop_that_is_gone_or_new_is_noticed(
    loader: TrainLoader, tmp_path: Path
) -> None:
    plain = replace(loader, in_order=True, augmentation="none", batch_size=COUNT)
    with open_cache(tmp_path / "caches", plain) as cache:
        cached = replace(plain, cache=cache)
        list(cached.epoch(0))
        (tmp_path / NAMES[0]).unlink()
        save_jpeg(tmp_path / NAMES[1], photograph(50, 50, seed=99))
        (batch,) = cached.epoch(1)
        (expected,) = plain.epoch(1)
    assert batch.failed == {0: "no such file"}
    assert same(batch, expected)


@pytest.mark.parametrize(
    ("size", "prepared"),
    [((200, 100), (46, 23)), ((20, 400), (5, 92)), ((30, 22), (30, 22))],
)
def test_what_a_cache_keeps_is_bounded(
    size: tuple[int, int], prepared: tuple[int, int]
) -> None:
    made = augmentation.prepare("original", photograph(*size), 20)
    assert made.shape == (*prepared[::-1], 3)
