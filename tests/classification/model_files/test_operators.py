"""Shapes and settings of single operations; their numbers are compared in test_traced."""

from __future__ import annotations

import inspect
import typing

import numpy as np
import pytest

from classification.model_files import operators
from classification.model_files.networks import BATCH, Network, Tensor
from classification.model_files.operators import IN_PLACE, OPERATORS
from classification.model_files.pickles import NotDataError

IMAGES = (BATCH, 3, 12, 20)


@pytest.fixture
def net() -> Network:
    return Network("images", IMAGES)


def test_every_operator_states_the_types_of_its_arguments() -> None:
    for name, function in OPERATORS.items():
        hints = typing.get_type_hints(function)
        for parameter in inspect.signature(function).parameters.values():
            assert parameter.name in hints, (name, parameter)


def test_what_writes_in_place_is_in_the_table() -> None:
    assert set(OPERATORS) >= IN_PLACE


@pytest.mark.parametrize(
    ("settings", "sides"),
    [
        (([3, 3], [1, 1], [0, 0], [1, 1], False), (10, 18)),
        (([3, 3], [2, 2], [1, 1], [1, 1], False), (6, 10)),
        (([3, 3], [2, 2], [0, 0], [1, 1], True), (6, 10)),
        (([2, 2], [], [0], [1], False), (6, 10)),
        (([3, 3], [1, 1], [0, 0], [2, 2], False), (8, 16)),
    ],
)
def test_windows(
    net: Network,
    settings: tuple[list[int], list[int], list[int], list[int], bool],
    sides: tuple[int, int],
) -> None:
    assert operators.max_pool2d(net, net.input, *settings).shape == (BATCH, 3, *sides)


@pytest.mark.parametrize(
    ("one", "other", "mode", "expected"),
    [
        (7, 2, "trunc", 3),
        (-7, 2, "trunc", -3),
        (-7, 2, "floor", -4),
        (8, 2, None, 4),
        (7, 2, None, 3.5),
        (12 * BATCH, 4, "trunc", 3 * BATCH),
    ],
)
def test_numbers_are_divided_as_torch_does(
    net: Network, one: int, other: int, mode: str | None, expected: float
) -> None:
    assert operators.div(net, one, other, mode) == expected


def test_the_number_of_images_is_in_shapes_alone(net: Network) -> None:
    images = operators.size(net, net.input, 0)
    assert isinstance(images, int)
    with pytest.raises(NotDataError, match="a division of the number of images"):
        operators.floor_divide(net, images, 2)
    with pytest.raises(NotDataError, match="arithmetic with the number of images"):
        operators.mul(net, net.input, images)


def test_reshape(net: Network) -> None:
    assert operators.reshape(net, net.input, [-1, 720]).shape == (BATCH, 720)
    assert operators.reshape(net, net.input, [BATCH, 3, -1]).shape == (BATCH, 3, 240)
    assert operators.flatten(net, net.input, 0, 1).shape == (3 * BATCH, 12, 20)
    with pytest.raises(NotDataError, match="of a fixed number of images"):
        operators.reshape(net, net.input, [1, 720])


@pytest.mark.parametrize("axes", [[0], [0, 1], []])
def test_images_are_never_mixed(net: Network, axes: list[int]) -> None:
    with pytest.raises(NotDataError, match="mixes the images"):
        operators.mean(net, net.input, axes)


def test_a_linear_layer_of_another_size(net: Network) -> None:
    weight: Tensor = net.weight(np.ones((10, 7), np.float32))
    with pytest.raises(NotDataError, match=r"\[10, 7\] behind \[N, 3, 12, 20\]"):
        operators.linear(net, net.input, weight)
