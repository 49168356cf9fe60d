from __future__ import annotations

import numpy as np
import pytest

from classification.model_files.networks import BATCH, Network, shown
from classification.model_files.pickles import NotDataError

IMAGES = (BATCH, 3, 64, 64)


def test_shapes_for_people() -> None:
    assert shown((BATCH, 3, 64)) == "[N, 3, 64]"
    assert shown((12 * BATCH, 3)) == "[12N, 3]"


def test_a_view_shares_the_memory_of_what_it_shows() -> None:
    network = Network("images", IMAGES)
    view = network.view("Transpose", [network.input], (BATCH, 3, 64, 64))
    made = network.node("Relu", [view], IMAGES)
    assert view.memory is network.input.memory
    assert made.memory is not view.memory


def test_what_is_written_over_is_out_of_date() -> None:
    network = Network("images", IMAGES)
    made = network.node("Relu", [network.input], IMAGES)
    again = network.overwritten(made, network.node("Exp", [made], IMAGES))
    assert again.memory is made.memory
    assert again.version == made.memory.version
    assert made.version != made.memory.version


def test_weights_are_never_written_over() -> None:
    network = Network("images", IMAGES)
    weight = network.weight(np.ones(3, np.float32))
    with pytest.raises(NotDataError, match="changes the network's weights"):
        network.overwritten(weight, network.node("Exp", [weight], (3,)))


def layers(count: int, *, at_once: bool) -> Network:
    """Makes layers of 64 MiB an image, one after the other or all from the first."""
    network = Network("images", IMAGES)
    shape = (BATCH, 4096, 64, 64)
    last = network.node("Conv", [network.input], shape)
    made = [last]
    for _ in range(count):
        last = network.node("Relu", [made[0] if at_once else last], shape)
        made.append(last)
    sum_ = network.node("Sum", made if at_once else [last], (BATCH, 10))
    network.check_memory(sum_)
    return network


def test_memory_is_counted_while_it_is_needed() -> None:
    layers(20, at_once=False)
    with pytest.raises(NotDataError, match="layers that take 384 MiB for one image"):
        layers(5, at_once=True)


@pytest.mark.parametrize("shape", [(BATCH, 0), (BATCH, -1), (1,) * 9])
def test_shapes_that_no_network_has(shape: tuple[int, ...]) -> None:
    network = Network("images", IMAGES)
    with pytest.raises(NotDataError, match="a tensor of the shape"):
        network.node("Relu", [network.input], shape)
