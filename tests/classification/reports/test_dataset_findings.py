from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.reports.dataset_findings import MOST_NAMES, Finding, findings
from tests.classification.reports import dataset_world

if TYPE_CHECKING:
    from pathlib import Path

    from classification.reports.dataset_figures import Figures


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return dataset_world.figures(dataset_world.make(tmp_path_factory.mktemp("world")))


def said(figures: Figures, text: str) -> Finding:
    [found] = [one for one in findings(figures) if text in one.text]
    return found


def test_what_makes_figures_wrong_comes_first(figures: Figures) -> None:
    weights = [finding.weight for finding in findings(figures)]
    assert weights == sorted(weights, key=["bad", "warn", "note"].index)
    assert weights[0] == "bad"


def test_leaks_and_unreadable_crops(figures: Figures) -> None:
    assert said(figures, "2 crops cannot be read").anchor == "unreadable"
    assert (
        said(figures, "Sequences with images in more than one split: 1;").weight
        == "bad"
    )
    assert (
        said(
            figures, "Crops of val that look nearly the same as one of train: 1 of 2;"
        ).anchor
        == "duplicates"
    )


def test_labels_that_a_split_lacks(figures: Figures) -> None:
    assert said(figures, "train has no crop of 1 label:").names == ("owl",)
    assert said(figures, "test has no crop of 1 label:").names == ("elk",)


def test_labels_with_little_in_a_split(figures: Figures) -> None:
    few = said(figures, "test has few locations of 2 labels")
    assert few.names == ("fox", "owl")
    assert "fewer than 5, or less than 10% of" in few.text
    crops = figures.crops.copy()
    crops[0] = [96, 2, 2]
    changed = replace(figures, crops=crops)
    few = said(changed, "val has few crops of 1 label ")
    assert few.names == ("elk",)
    assert "fewer than 300, and less than 9% of" in few.text


def test_an_empty_split_is_told_once(figures: Figures) -> None:
    crops = figures.crops.copy()
    crops[:, 1] = 0
    found = findings(replace(figures, crops=crops))
    assert [one.text for one in found if one.text.startswith("val has no crop")] == [
        "val has no crop at all."
    ]


def test_one_location_with_most_crops(figures: Figures) -> None:
    where = replace(
        figures.where, crops=np.array([9, 1, 1, 9, 3, 3, 1])[: len(figures.where.crops)]
    )
    assert said(replace(figures, where=where), "One location has more").names[:1] == (
        "elk",
    )


def test_crops_without_a_split_and_of_several_labels(figures: Figures) -> None:
    columns = replace(
        figures.columns,
        split=np.full(len(figures.columns), -1, np.int8),
        row=np.append(figures.columns.row, 7),
        label=np.append(figures.columns.label, np.int32(0)),
    )
    changed = replace(figures, columns=columns)
    assert said(changed, "8 crops of locations that splits.json").weight == "bad"
    assert said(changed, "1 crop with several labels").weight == "note"


def test_long_lists_of_names_are_cut(figures: Figures) -> None:
    labels = tuple(f"label {number:03d}" for number in range(169))
    crops = np.tile(np.array([[9, 0, 9]]), (169, 1))
    crops[0] = 9
    changed = replace(
        figures,
        columns=replace(figures.columns, labels=labels),
        crops=crops,
        locations=crops,
    )
    finding = said(changed, "val has no crop of 168 labels:")
    assert finding.names == labels[1 : 1 + MOST_NAMES]
    assert finding.more == 168 - MOST_NAMES


def test_nothing_to_know(figures: Figures) -> None:
    labels = len(figures.columns.labels)
    plenty = np.tile(np.array([[6000, 2000, 2000]]), (labels, 1))
    quiet = replace(
        figures,
        crops=plenty,
        locations=plenty,
        failures=(),
        times=None,
        duplicates=None,
        where=replace(figures.where, crops=np.ones_like(figures.where.crops)),
    )
    assert findings(quiet) == ()


def test_has_all_in_any_folder(tmp_path: Path) -> None:
    figures = dataset_world.figures(dataset_world.make(tmp_path), megadb=False)
    assert not [one for one in findings(figures) if "Sequences" in one.text]
