"""What accuracy leaves out, as it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import evaluation
from classification.artifacts.evaluation import (
    Bootstrap,
    Estimate,
    Evaluation,
    SplitMetrics,
)
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def empty() -> SplitMetrics:
    nothing = Estimate(value=None)
    return SplitMetrics(
        crops=0,
        failed=2,
        locations=0,
        loss=nothing,
        acc_top1=nothing,
        acc_top3=nothing,
        balanced_accuracy=nothing,
        macro_f1=nothing,
        calibration_error=nothing,
        location_accuracy=nothing,
    )


def test_a_split_without_crops_has_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / evaluation.FILENAME
    written = Evaluation(
        model_sha256="0" * 64, bootstrap=Bootstrap(), splits={"test": empty()}
    )
    evaluation.write(path, written)
    assert evaluation.read(path) == written


def test_a_fault_has_its_address(tmp_path: Path) -> None:
    path = tmp_path / evaluation.FILENAME
    written = Evaluation(model_sha256="0" * 64, bootstrap=Bootstrap(), splits={})
    evaluation.write(path, written)
    path.write_text(path.read_text().replace('"replicates": 1000', '"replicates": -1'))
    with pytest.raises(ArtifactError, match=r"metrics\.json: bootstrap\.replicates"):
        evaluation.read(path)
