"""A page holds no more pictures than it may, and its sections get their share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.measuring import changes
from classification.reports import evaluated, results_plan
from tests import results_world

if TYPE_CHECKING:
    from pathlib import Path

    from classification.measuring.answers import Answers
    from classification.measuring.changes import Paired


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Answers], dict[str, Paired]]:
    folder: Path = tmp_path_factory.mktemp("runs")
    world = results_world.make(folder, pictures=False)
    now = evaluated.read(world.logdir()).answers
    other = evaluated.read(results_world.evaluate(world, "other", seed=1)).answers
    pairs = {split: changes.pair(other[split], now[split]) for split in now}
    return dict(now), pairs


@pytest.mark.parametrize("thumbnails", [0, 1, 10, 47, 100, 2000])
def test_no_more_pictures_than_asked(
    runs: tuple[dict[str, Answers], dict[str, Paired]], thumbnails: int
) -> None:
    answers, pairs = runs
    plan = results_plan.plan(answers, pairs, thumbnails=thumbnails, seed=0)
    assert plan.size <= thumbnails
    names = results_plan.names_of(plan, answers, pairs)
    assert len(names) == plan.size


def test_cells_show_crops_of_the_cell(
    runs: tuple[dict[str, Answers], dict[str, Paired]],
) -> None:
    answers, _ = runs
    plan = results_plan.plan(answers, {}, thumbnails=500, seed=0)
    for split, one in answers.items():
        cells = plan.splits[split].cells
        assert set(cells) == {
            (i, j) for i, j in zip(*one.matrix.nonzero(), strict=True)
        }
        for (true, predicted), places in cells.items():
            assert set(one.true[places]) == {true}
            assert set(one.guesses.predicted[places]) == {predicted}
            assert len(places) == min(
                one.matrix[true, predicted], 6 if true == predicted else 12
            )
            sure = one.guesses.confidence[places].tolist()
            assert sure == sorted(sure, reverse=True)


def test_errors_go_before_the_diagonal(
    runs: tuple[dict[str, Answers], dict[str, Paired]],
) -> None:
    answers, _ = runs
    test = {"test": answers["test"]}
    wrong = int((~answers["test"].right).sum())
    plan = results_plan.plan(test, {}, thumbnails=wrong, seed=0).splits["test"]
    assert all(true != predicted for true, predicted in plan.cells)


def test_changes_are_the_surest_first(
    runs: tuple[dict[str, Answers], dict[str, Paired]],
) -> None:
    answers, pairs = runs
    plan = results_plan.plan(answers, pairs, thumbnails=2000, seed=0)
    pair, found = pairs["test"], plan.changes["test"]
    assert pair.worse[found.worse].all()
    assert pair.better[found.better].all()
    sure = pair.now.guesses.confidence[found.worse].tolist()
    assert sure == sorted(sure, reverse=True)


def test_another_seed_shows_others(
    runs: tuple[dict[str, Answers], dict[str, Paired]],
) -> None:
    answers, _ = runs
    one, same, other = (
        results_plan.names_of(
            results_plan.plan(answers, {}, thumbnails=60, seed=seed), answers, {}
        )
        for seed in (1, 1, 2)
    )
    assert one == same != other
