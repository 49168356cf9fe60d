"""The results page says what scikit-learn says of the same files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from classification.artifacts import dataset_csv, evaluation, predictions
from classification.artifacts.evaluation import (
    Bootstrap,
    Estimate,
    Evaluation,
    SplitMetrics,
)
from classification.reports import results_assembly
from classification.reports.evaluated import Calibration
from classification.reports.results_assembly import Source
from classification.storage.local import LocalStore
from tests import results_world
from tests.results_world import LABELS, World

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.reports.results_page import SplitView

SPLITS = ("test", "val", "train")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("world")
    return results_world.make(folder)


def squared(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Makes a classifier surer than it is: a temperature of one half."""
    raised = probabilities.astype(np.float64) ** 2
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def source(world: World) -> Source:
    return Source(
        logdir=world.logdir(),
        store=LocalStore(world.crops),
        dataset_csv=world.dataset / dataset_csv.FILENAME,
        calibration=Calibration(
            labels=LABELS, apply=squared, title="T", outputs_sha256=""
        ),
    )


@pytest.fixture(scope="module")
def views(source: Source) -> dict[str, SplitView]:
    return {one.name: one for one in results_assembly.assemble(source).splits}


def table(world: World, split: str) -> pd.DataFrame:
    """Reads a split as any other program would."""
    frame = pd.read_csv(world.logdir() / predictions.outputs_name(split))
    frame["predicted"] = frame[list(LABELS)].idxmax(axis=1)
    frame["confidence"] = frame[list(LABELS)].max(axis=1)
    frame["right"] = frame["label"] == frame["predicted"]
    places = pd.read_csv(world.dataset / dataset_csv.FILENAME)
    return frame.merge(places[["path", "location"]], on="path")


def error_of(frame: pd.DataFrame, bins: int = 15) -> float:
    """Computes the expected calibration error from scikit-learn's curve."""
    right, sure = calibration_curve(
        frame["right"], frame["confidence"], n_bins=bins, strategy="uniform"
    )
    places = np.searchsorted(
        np.linspace(0, 1, bins + 1)[1:-1], frame["confidence"], side="left"
    )
    counts = np.bincount(places, minlength=bins)
    return float(np.average(np.abs(right - sure), weights=counts[counts > 0]))


@pytest.mark.parametrize("split", SPLITS)
def test_the_head_is_that_of_scikit_learn(
    world: World, views: dict[str, SplitView], split: str
) -> None:
    frame, found = table(world, split), views[split].estimates
    true, predicted = frame["label"], frame["predicted"]
    present = sorted(set(true))
    expected = {
        "acc_top1": oracle.accuracy_score(true, predicted),
        "acc_top3": oracle.top_k_accuracy_score(
            true, frame[list(LABELS)].to_numpy(), k=3, labels=LABELS
        ),
        "balanced_accuracy": oracle.recall_score(
            true, predicted, labels=present, average="macro"
        ),
        "macro_f1": oracle.f1_score(true, predicted, labels=present, average="macro"),
        "location_accuracy": frame.groupby("location")["right"].mean().mean(),
        "calibration_error": error_of(frame),
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)


@pytest.mark.parametrize("split", SPLITS)
def test_the_matrix_is_that_of_scikit_learn(
    world: World, views: dict[str, SplitView], split: str
) -> None:
    frame, view = table(world, split), views[split]
    expected = oracle.confusion_matrix(
        frame["label"], frame["predicted"], labels=LABELS
    )
    found = np.zeros_like(expected)
    for i, row in enumerate(view.matrix.rows):
        for cell in row.cells:
            found[i, cell.column] = cell.crops
    assert (found == expected).all()
    assert [row.crops for row in view.matrix.rows] == expected.sum(axis=1).tolist()
    sure = frame[frame["confidence"] >= 0.99]
    assert view.sure is not None
    assert view.sure.crops == len(sure)
    assert set(view.sure.labels) == set(sure["label"]) | set(sure["predicted"])


@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_those_of_scikit_learn(
    world: World, views: dict[str, SplitView], split: str
) -> None:
    frame, view = table(world, split), views[split]
    precision, recall, f1, support = oracle.precision_recall_fscore_support(
        frame["label"], frame["predicted"], labels=LABELS, zero_division=0
    )
    for i, row in enumerate(view.labels):
        figures = row.figures
        assert figures.crops == support[i]
        assert figures.precision.value == pytest.approx(precision[i])
        assert figures.recall.value == (
            pytest.approx(recall[i]) if support[i] else None
        )
        assert figures.f1.value == (pytest.approx(f1[i]) if support[i] else None)
        of_label = frame[frame["label"] == row.label]
        assert figures.locations == of_label["location"].nunique()
        taken = frame[frame["predicted"] == row.label]
        assert row.reliability is not None
        assert row.reliability.error == pytest.approx(error_of(taken))
    means = view.means[0].means
    assert means.precision == pytest.approx(precision[support > 0].mean())
    assert means.recall == pytest.approx(recall[support > 0].mean())
    assert means.f1 == pytest.approx(f1[support > 0].mean())
    if split != "test":
        without = view.means[1].means
        kept = (support > 0) & (np.array(LABELS) != "other")
        assert without.f1 == pytest.approx(f1[kept].mean())


@pytest.mark.parametrize("split", SPLITS)
def test_probabilities_before_and_after_calibration(
    world: World, views: dict[str, SplitView], split: str
) -> None:
    frame = table(world, split)
    before, after = views[split].confidence
    assert before.reliability.error == pytest.approx(error_of(frame))
    for kept in before.kept:
        sure = frame[frame["confidence"] >= kept.least]
        assert kept.crops == len(sure)
        assert kept.coverage == len(sure) / len(frame)
        assert kept.right == (
            pytest.approx(sure["right"].mean()) if len(sure) else None
        )
    found = squared(frame[list(LABELS)].to_numpy(np.float32))
    frame["confidence"] = found.max(axis=1)
    assert after.reliability.error == pytest.approx(error_of(frame))
    assert after.title == "after calibration: T"


def test_locations_and_slices(world: World, views: dict[str, SplitView]) -> None:
    frame, view = table(world, "test"), views["test"]
    means = frame.groupby("location")["right"].agg(["sum", "count"])
    for group in view.worst:
        row = means.loc[group.name.removeprefix("ds/")]
        assert (group.right, group.crops) == (row["sum"], row["count"])
    assert len(view.worst) == view.locations == 5
    light, size = view.slices
    number = frame["path"].str.extract(r"(\d+)\.jpg___")[0].astype(int) % 6
    grey = frame[number % 3 == 0]
    assert [one.name for one in light.groups] == ["in colour", "grey: by infrared"]
    assert (light.groups[1].crops, light.groups[1].right) == (
        len(grey),
        grey["right"].sum(),
    )
    assert [one.name for one in size.groups] == ["under 64", "64 to 127", "128 to 255"]
    assert sum(one.crops for one in size.groups) == len(frame)
    assert "drawn from" not in light.note


def test_a_sample_is_named_as_one(source: Source) -> None:
    page = results_assembly.assemble(replace(source, sample=9, splits=["test"]))
    light, _ = page.splits[0].slices
    assert sum(group.crops for group in light.groups) == 9
    assert "9 crops drawn from 60" in light.note
    none = results_assembly.assemble(replace(source, sample=0, splits=["test"]))
    assert none.splits[0].slices == ()


def test_errors_are_the_surest(world: World, views: dict[str, SplitView]) -> None:
    frame = table(world, "test")
    wrong = frame[~frame["right"]].sort_values("confidence", ascending=False)
    found = views["test"].errors
    assert [one.name for one in found] == wrong["path"].tolist()[: len(found)]
    assert [one.said[0].label for one in found] == (
        wrong["predicted"].tolist()[: len(found)]
    )
    assert found[0].location.startswith("ds/place test ")


def test_every_link_of_a_matrix_leads_to_its_crops(views: dict[str, SplitView]) -> None:
    for view in views.values():
        sections = {
            cell.id: (group.label, cell)
            for group in view.crops_by_label
            for cell in group.cells
        }
        linked = 0
        for row in view.matrix.rows:
            for cell in row.cells:
                if cell.link:
                    label, section = sections[cell.link]
                    assert label == row.label
                    assert section.predicted == view.matrix.labels[cell.column]
                    assert section.count == cell.crops >= len(section.thumbs) > 0
                    linked += 1
        assert linked == len(sections)
        assert view.not_shown == 0


def test_missing_crops_are_counted(source: Source, tmp_path: Path) -> None:
    page = results_assembly.assemble(
        replace(source, store=LocalStore(tmp_path), splits=["test"])
    )
    assert page.gone > 0
    assert all(one.picture is None for one in page.splits[0].errors)
    assert page.splits[0].notes[-1] == "60 of the 60 crops looked at cannot be read"
    assert page.splits[0].slices[0].groups == ()


def test_without_pictures_and_locations_numbers_remain(source: Source) -> None:
    bare = results_assembly.assemble(replace(source, store=None, dataset_csv=None))
    view = bare.splits[0]
    assert (bare.thumbnails, view.errors, view.slices) == (0, (), ())
    assert (view.locations, view.worst) == (None, ())
    assert "location_accuracy" not in view.estimates
    assert view.labels[0].figures.f1.interval is None


def estimates(crops: int) -> SplitMetrics:
    one = Estimate(value=0.5, low=0.25, high=0.75)
    return SplitMetrics(
        crops=crops,
        failed=3,
        locations=5,
        loss=one,
        acc_top1=one,
        acc_top3=one,
        balanced_accuracy=one,
        macro_f1=one,
        calibration_error=one,
        location_accuracy=one,
    )


def test_intervals_are_those_of_metrics_json(tmp_path: Path) -> None:
    world = results_world.make(tmp_path, pictures=False)
    evaluation.write(
        world.logdir() / evaluation.FILENAME,
        Evaluation(
            model_sha256="0" * 64,
            bootstrap=Bootstrap(),
            splits={"test": estimates(60), "val": estimates(7)},
        ),
    )
    page = results_assembly.assemble(Source(logdir=world.logdir()))
    test, val, train = page.splits
    assert test.estimates["macro_f1"] == Estimate(value=0.5, low=0.25, high=0.75)
    assert (test.failed, test.notes) == (3, ())
    assert val.estimates["macro_f1"].low is None
    [note] = val.notes
    assert note.startswith("metrics.json is of 7 crops, not of these 40: it is passed")
    assert train.notes == ("metrics.json lacks this split: numbers have no intervals",)


def test_a_split_without_outputs_has_its_matrix(world: World, tmp_path: Path) -> None:
    whole = results_assembly.assemble(Source(logdir=world.logdir())).splits[0]
    other = results_world.make(tmp_path, pictures=False)
    for path in other.logdir().glob("outputs_*"):
        path.unlink()
    view = results_assembly.assemble(Source(logdir=other.logdir())).splits[0]
    assert view.sure is None
    assert view.confidence == ()
    assert view.estimates["macro_f1"] == whole.estimates["macro_f1"]
    assert [row.figures for row in view.labels] == [row.figures for row in whole.labels]
