"""What an evaluation left is read from its folder, whole or in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import (
    confusion_matrices,
    dataset_csv,
    label_index,
    location_stats,
    predictions,
    predictions_info,
)
from classification.artifacts.location_stats import LocationRow
from classification.artifacts.predictions_info import Applied, Origin
from classification.reports import evaluated
from classification.reports.evaluated import NOWHERE, Calibration, Locations
from classification.runtime import registry
from classification.runtime.errors import ArtifactError, ConfigurationError
from tests import results_world
from tests.results_world import LABELS, World

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def world(tmp_path: Path) -> World:
    return results_world.make(tmp_path, pictures=False)


def halved(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    return probabilities / 2


def calibration(labels: tuple[str, ...] = LABELS, sha256: str = "") -> Calibration:
    return Calibration(labels=labels, apply=halved, title="T", outputs_sha256=sha256)


def test_reads_all_splits_the_most_telling_first(world: World) -> None:
    run = evaluated.read(world.logdir())
    assert run.name == "20261122_204715"
    assert run.splits == ("test", "val", "train")
    assert run.labels == LABELS
    assert [len(run.answers[split]) for split in run.splits] == [60, 40, 80]
    assert (run.metrics, run.notes) == (None, ())


def test_shows_the_splits_that_are_wanted(world: World) -> None:
    assert evaluated.read(world.logdir(), wanted=["train", "test", "train"]).splits == (
        "train",
        "test",
    )
    with pytest.raises(ConfigurationError, match="knows of test, val, train, not of"):
        evaluated.read(world.logdir(), wanted=["folds"])


def test_a_split_may_have_its_matrix_alone(world: World) -> None:
    outputs = world.logdir() / predictions.outputs_name("test")
    before = evaluated.read(world.logdir()).matrices["test"]
    outputs.unlink()
    run = evaluated.read(world.logdir())
    assert "test" not in run.answers
    assert (run.matrices["test"] == before).all()
    assert run.notes[0].startswith("test: outputs_test.csv.gz is missing")


def test_labels_are_those_of_the_folder_before_those_above(world: World) -> None:
    (world.dataset / label_index.FILENAME).unlink()
    assert evaluated.read(world.logdir()).labels == LABELS
    label_index.write(world.logdir() / label_index.FILENAME, LABELS[::-1])
    with pytest.raises(ConfigurationError, match="'bear' stands where 'other' is"):
        evaluated.read(world.logdir())


def test_a_matrix_of_other_labels_is_refused(world: World) -> None:
    for path in world.logdir().glob("outputs_*"):
        path.unlink()
    label_index.write(world.dataset / label_index.FILENAME, LABELS[:3])
    with pytest.raises(ArtifactError, match=r"test: 5 labels, but label_index\.json"):
        evaluated.read(world.logdir())
    (world.dataset / label_index.FILENAME).unlink()
    with pytest.raises(ArtifactError, match=r"label_index\.json: missing, here"):
        evaluated.read(world.logdir())


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="evaluate_model writes them"):
        evaluated.read(tmp_path)


def test_a_matrix_of_another_run_is_told(world: World) -> None:
    path = world.logdir() / confusion_matrices.FILENAME
    matrices = confusion_matrices.read(path)
    matrices["val"][0, 0] += 1
    confusion_matrices.write(path, matrices)
    run = evaluated.read(world.logdir())
    assert run.notes == ("val: confusion_matrices.npz tells of another run",)
    assert run.matrices["val"][0, 0] == matrices["val"][0, 0] - 1


def test_calibration_is_done_once(world: World) -> None:
    path = world.logdir() / predictions.outputs_name("val")
    applied = Applied(
        method="temperature", temperature=2, crops=9, ece_before=0.1, ece_after=0.05
    )
    predictions_info.tell(path, Origin(applied))
    run = evaluated.read(world.logdir(), calibration=calibration())
    assert run.answers["val"].calibrated is None
    assert run.notes == ("val: probabilities are calibrated already",)
    test = run.answers["test"]
    assert test.calibrated is not None
    np.testing.assert_allclose(test.calibrated.confidence, test.guesses.confidence / 2)


def test_the_split_it_was_fitted_to_is_told(world: World) -> None:
    digest = registry.sha256_of(world.logdir() / predictions.outputs_name("val"))
    run = evaluated.read(world.logdir(), calibration=calibration(sha256=digest))
    assert run.notes == (
        "val: calibration was fitted to these crops; see it on another split",
    )


def test_a_calibration_of_another_model_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match="'elk' stands where 'deer' is"):
        evaluated.read(
            world.logdir(),
            calibration=calibration(("bear", "elk", "deer", "fox", "other")),
        )


def test_locations_of_crops_whatever_their_order(world: World) -> None:
    where = Locations(world.dataset / dataset_csv.FILENAME)
    paths = [path for path, _ in results_world.truth(LABELS, "val", 40)]
    places, lacking = where.of([paths[7], "ds/none.jpg", paths[2], paths[1]])
    assert [places.names[code] for code in places.codes] == [
        "ds/place val 2",
        NOWHERE,
        "ds/place val 2",
        "ds/place val 1",
    ]
    assert len(places.names) == 3
    assert lacking == 1


def test_locations_as_they_were_written(tmp_path: Path) -> None:
    assert evaluated.location_groups(tmp_path, "test") == ()
    rows = [
        LocationRow("test", "ds/a", 8, 0.25),
        LocationRow("val", "ds/b", 3, 1 / 3),
    ]
    location_stats.write(tmp_path / location_stats.FILENAME, rows)
    [group] = evaluated.location_groups(tmp_path, "test")
    assert (group.name, group.crops, group.right) == ("ds/a", 8, 2)
