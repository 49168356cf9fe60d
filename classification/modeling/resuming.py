"""``resume.pt``: a training run as it was after a step, from which it goes on.

Written into the run folder every few minutes and after each epoch, whole or not at all;
read by ``train_classifier --resume``. What is random follows from the seed, the epoch and
the step, and the learning rate from the epoch, so neither is here: a run that goes on from
this file ends with the bits of one that was never disturbed. A file of torch that holds
plain data alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from classification.modeling import networks
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from classification.modeling.networks import StateDict

FILENAME = "resume.pt"
_FORMAT = "cameratraps-classifier resume 2"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Where a run is.

    Attributes:
        epoch: number of the epoch to go on with, from 0.
        step: number of its steps that are done.
        is_trained: no epoch is left; only the evaluation is.
        is_finished: nothing is left.
        model: the weights; empty once the run is trained.
        optimizer: its state.
        scaler: state of the scaling of float16 gradients.
        average: mean of the weights, where it is wanted; empty once the run is trained.
        best_epoch: with the best val accuracy so far; None before the first.
        best_accuracy: that accuracy, in percent.
        measured: of the best epoch, sums by split (see ``epoch_sums``).
        sums: of the steps that are done (see ``epoch_sums``).
        steps_trained: by all runs together, without those done anew.
        failed: why a crop could not be read, by its path.
        weights_sha256: of a trained run, its last weights (``checkpoints.fingerprint``).
    """

    epoch: int = 0
    step: int = 0
    is_trained: bool = False
    is_finished: bool = False
    model: StateDict = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    average: StateDict = field(default_factory=dict)
    best_epoch: int | None = None
    best_accuracy: float = -1.0
    measured: dict[str, torch.Tensor] = field(default_factory=dict)
    sums: torch.Tensor | None = None
    steps_trained: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    weights_sha256: str = ""


def write(folder: Path, saved: Saved) -> None:
    """Writes where a run is into its folder."""
    fields = {name: getattr(saved, name) for name in Saved.__dataclass_fields__}
    networks.write_document(folder / FILENAME, {"format": _FORMAT, **fields})


def read(folder: Path) -> Saved | None:
    """Reads where a run is; None where it was stopped before it said so.

    Raises:
        ModelError: the file is damaged, or of another version.
    """
    path = folder / FILENAME
    if not path.exists():
        return None
    document = networks.read_document(path)
    if not isinstance(document, dict) or document.pop("format", None) != _FORMAT:
        raise ModelError(f"{path}: of another version of this toolkit, or damaged")
    known = set(Saved.__dataclass_fields__)
    if set(document) != known:
        raise ModelError(f"{path}: of another version of this toolkit, or damaged")
    return Saved(**document)
