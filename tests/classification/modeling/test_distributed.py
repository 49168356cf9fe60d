"""A single process as a group; groups of two are tested with the command."""

from __future__ import annotations

import pytest
import torch

from classification.modeling import distributed
from classification.modeling.distributed import Group
from classification.runtime.errors import ConfigurationError


def test_a_single_process_talks_to_itself() -> None:
    with distributed.joined("cpu") as group:
        assert group == Group(device="cpu")
        assert group.is_first
        assert group.total(torch.tensor([2, 3])).tolist() == [2, 3]
        assert group.of_first("x") == "x"
        assert group.gathered("x") == ["x"]
        network = torch.nn.Linear(1, 1)
        assert group.wrap(network) is network
        group.share_buffers(network)


def test_torchrun_with_one_process_makes_no_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not distributed.is_started_by_torchrun()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert distributed.is_started_by_torchrun()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "64")
    monkeypatch.setenv("LOCAL_RANK", "63")
    with (
        pytest.raises(ConfigurationError, match="more processes than"),
        distributed.joined("cuda:0"),
    ):
        pytest.fail("joined")
