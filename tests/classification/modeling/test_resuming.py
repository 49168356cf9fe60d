"""Where a run is, on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from classification.modeling import resuming
from classification.modeling.resuming import Saved
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.RMSprop(network.parameters(), momentum=0.9)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    saved = Saved(
        epoch=3,
        step=7,
        model=network.state_dict(),
        optimizer=optimizer.state_dict(),
        best_epoch=1,
        best_accuracy=71.5,
        measured={"val": torch.arange(8.0)},
        sums=torch.arange(4.0),
        steps_trained=107,
        failed={"d/a.jpg": "truncated"},
    )
    resuming.write(tmp_path, saved)
    read = resuming.read(tmp_path)
    assert read is not None
    assert (read.epoch, read.step, read.best_accuracy) == (3, 7, 71.5)
    assert read.failed == {"d/a.jpg": "truncated"}
    assert torch.equal(read.model["weight"], network.weight)
    momentum = optimizer.state_dict()["state"][0]["momentum_buffer"]
    assert torch.equal(read.optimizer["state"][0]["momentum_buffer"], momentum)


def test_a_run_that_never_said_where_it_is_begins_anew(tmp_path: Path) -> None:
    assert resuming.read(tmp_path) is None


@pytest.mark.parametrize(
    "document",
    [{}, [], {"format": "other"}, {"format": "cameratraps-classifier resume 1"}],
)
def test_another_file_is_refused(document: object, tmp_path: Path) -> None:
    torch.save(document, tmp_path / resuming.FILENAME)
    with pytest.raises(ModelError, match=r"resume\.pt: of another version"):
        resuming.read(tmp_path)


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    resuming.write(tmp_path, Saved(epoch=1))
    path = tmp_path / resuming.FILENAME
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ModelError, match=r"resume\.pt: damaged"):
        resuming.read(tmp_path)
