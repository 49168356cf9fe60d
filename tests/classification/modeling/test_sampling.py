from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.modeling import sampling
from classification.runtime.errors import ConfigurationError


@given(st.integers(0, 50), st.integers(1, 5), st.integers(0, 3))
def test_processes_together_see_what_one_would(
    count: int, world: int, epoch: int
) -> None:
    whole = sampling.epoch_order(count, seed=1, epoch=epoch)
    assert sorted(whole.tolist()) == list(range(count))
    parts = [
        sampling.epoch_order(count, seed=1, epoch=epoch, rank=rank, world=world)
        for rank in range(world)
    ]
    assert len({len(part) for part in parts}) == 1
    together = np.stack(parts, axis=1).ravel()
    assert together[:count].tolist() == whole.tolist()
    assert together[count:].tolist() == np.resize(whole, len(together))[count:].tolist()


def test_an_order_follows_from_seed_and_epoch() -> None:
    orders = {
        tuple(sampling.epoch_order(20, seed=seed, epoch=epoch).tolist())
        for seed in (0, 1)
        for epoch in (0, 1)
        for _ in range(2)
    }
    assert len(orders) == 4


def test_weights_draw_in_proportion() -> None:
    weights = np.array([0.0, 1.0, 3.0, 0.0] * 25_000)
    order = sampling.epoch_order(len(weights), weights, seed=0, epoch=0)
    assert len(order) == len(weights)
    shares = np.bincount(order % 4, minlength=4) / len(order)
    np.testing.assert_allclose(shares, [0, 0.25, 0.75, 0], atol=0.01)
    assert shares[0] == shares[3] == 0


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no example of train has a weight"):
        sampling.epoch_order(2, np.zeros(2), seed=0, epoch=0)


def test_numbers_of_a_place_do_not_depend_on_the_others() -> None:
    places = np.arange(100)
    whole = sampling.uniforms(places, 7, seed=3, epoch=2)
    some = places[[99, 4, 50]]
    assert (sampling.uniforms(some, 7, seed=3, epoch=2) == whole[some]).all()
    assert (sampling.uniforms(places, 7, seed=3, epoch=1) != whole).all()
    assert (sampling.uniforms(places, 7, seed=2, epoch=2) != whole).all()


def test_numbers_are_uniform_and_independent() -> None:
    numbers = sampling.uniforms(np.arange(100_000), 4, seed=0, epoch=0)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.stack([np.histogram(column, 20, (0, 1))[0] for column in numbers.T])
    chi_squared = ((counts - 5000) ** 2 / 5000).sum(axis=1)
    assert (chi_squared < 43.8).all()  # 19 degrees of freedom, 0.1 %
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.015
    assert np.abs(np.corrcoef(numbers[1:, 0], numbers[:-1, 3])[0, 1]) < 0.015
