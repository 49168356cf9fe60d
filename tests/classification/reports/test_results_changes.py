"""Two runs side by side on the page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from classification.artifacts import dataset_csv, predictions
from classification.reports import results_assembly
from classification.reports.results_assembly import Source
from classification.runtime.errors import ConfigurationError
from classification.storage.local import LocalStore
from tests import results_world
from tests.results_world import LABELS, Answered, World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return results_world.make(tmp_path)


def source(world: World, other: Path) -> Source:
    return Source(
        logdir=world.logdir(),
        other=other,
        store=LocalStore(world.crops),
        dataset_csv=world.dataset / dataset_csv.FILENAME,
        sample=0,
    )


def table(logdir: Path, split: str) -> pd.DataFrame:
    frame = pd.read_csv(logdir / predictions.outputs_name(split))
    names = [name for name in frame if name not in {"path", "label", "weight"}]
    frame["right"] = frame[names].idxmax(axis=1) == frame["label"]
    return frame.set_index("path")


def test_counts_are_those_of_a_join(world: World) -> None:
    other = results_world.evaluate(world, "other", seed=1)
    page = results_assembly.assemble(source(world, other))
    assert page.comparison is not None
    assert (page.comparison.before, page.comparison.now) == ("other", "20261122_204715")
    assert [one.name for one in page.comparison.splits] == ["test", "val", "train"]
    for one in page.comparison.splits:
        now, before = (table(where, one.name) for where in (world.logdir(), other))
        joined = now.merge(before, on="path", suffixes=("", "_before"))
        better = joined["right"] & ~joined["right_before"]
        worse = ~joined["right"] & joined["right_before"]
        assert (one.better, one.worse) == (better.sum(), worse.sum())
        assert one.overall["acc_top1"].difference == pytest.approx(
            joined["right"].mean() - joined["right_before"].mean()
        )
        assert one.overall["acc_top1"].interval is not None
        for label in one.labels:
            of_label = joined["label"] == label.label
            assert label.better == (better & of_label).sum()
            assert label.worse == (worse & of_label).sum()
        assert {thumb.name for thumb in one.better_thumbs} <= set(joined[better].index)
        for thumb in one.worse_thumbs:
            assert [said.is_right for said in thumb.said] == [True, False]
            assert thumb.picture is not None


def test_a_classifier_of_other_labels_is_compared(world: World) -> None:
    """As MegaClassifier's outputs, made by a target mapping, are: other columns."""
    found = results_world.answer(LABELS, "test", 60, seed=3)
    labels = (*LABELS[:4], "moose", "other")
    other = world.logdir("mega")
    other.mkdir()
    columns = pd.DataFrame(found.probabilities, columns=list(LABELS))
    columns["moose"] = 0.0
    mapped = columns[list(labels)].to_numpy("float32")
    true = [labels.index(LABELS[label]) for label in found.true]
    results_world.write_outputs(
        other,
        "test",
        labels,
        Answered(found.paths, pd.Series(true).to_numpy(), mapped),
    )
    (world.dataset / "label_index.json").unlink()
    page = results_assembly.assemble(source(world, other))
    assert page.comparison is not None
    [one] = page.comparison.splits
    assert one.crops == 60
    assert "moose" not in [label.label for label in one.labels]


def test_runs_without_a_common_split_are_refused(world: World) -> None:
    other = results_world.evaluate(world, "other", crops={"folds": 5})
    with pytest.raises(ConfigurationError, match="other of folds: nothing to compare"):
        results_assembly.assemble(source(world, other))


def test_runs_of_other_truth_are_refused(world: World) -> None:
    other = results_world.evaluate(world, "other", seed=1)
    found = results_world.answer(LABELS, "test", 60, seed=1)
    true = found.true.copy()
    true[5] = (true[5] + 1) % 4
    results_world.write_outputs(other, "test", LABELS, replace(found, true=true))
    with pytest.raises(ConfigurationError, match="do not agree on what is true: 'ds/"):
        results_assembly.assemble(source(world, other))
