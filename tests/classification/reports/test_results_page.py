"""The pure parts of the results page."""

from __future__ import annotations

import numpy as np
import pytest

from classification.measuring import by_label
from classification.reports import results_page

LABELS = ("bear", "deer", "other")
MATRIX = np.array([[198, 1, 1], [0, 3, 1], [0, 0, 0]])


def test_a_matrix_holds_only_what_is_there() -> None:
    matrix = results_page.view_matrix(MATRIX, LABELS, "s0", {(0, 0), (1, 2)})
    bear, deer, other = matrix.rows
    assert [cell.text for cell in bear.cells] == ["99", "<1", "<1"]
    assert [(cell.column, cell.gap) for cell in deer.cells] == [(1, 1), (2, 0)]
    assert [cell.link for cell in deer.cells] == ["", "s0-1-2"]
    assert (bear.link, deer.link, other.link) == ("s0-0", "s0-1", "")
    assert (other.recall, other.gap, bear.gap) == (-1.0, 3, 0)
    assert bear.recall == pytest.approx(0.99)
    assert matrix.crops == 204
    assert not matrix.is_dense


def test_every_row_is_as_wide_as_the_matrix() -> None:
    counts = np.random.default_rng(0).integers(0, 2, (40, 40))
    matrix = results_page.view_matrix(counts, [f"l{i}" for i in range(40)])
    assert matrix.is_dense
    for row in matrix.rows:
        assert sum(cell.gap + 1 for cell in row.cells) + row.gap == 40


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0"),
        (0.004, "<1"),
        (0.005, "<1"),
        (0.006, "1"),
        (0.5, "50"),
        (0.996, ">99"),
        (1, "100"),
    ],
)
def test_percents_say_neither_all_nor_none_falsely(share: float, text: str) -> None:
    assert results_page.percent_text(share) == text


def test_shades_grow_with_the_share() -> None:
    counts = np.array([[1, 9], [50, 50]])
    matrix = results_page.view_matrix(counts, ("a", "b"))
    assert [[cell.shade for cell in row.cells] for row in matrix.rows] == [
        [2, 10],
        [6, 6],
    ]


def test_labels_that_occur_nowhere_are_left_out() -> None:
    counts = np.zeros((4, 4), np.int64)
    counts[0, 2] = 5
    matrix, labels = results_page.occurring(counts, ("a", "b", "c", "d"))
    assert labels == ("a", "c")
    assert matrix.tolist() == [[0, 5], [0, 0]]


def test_a_row_names_what_a_label_is_mostly_mistaken_for() -> None:
    rows = results_page.label_rows(MATRIX, LABELS, by_label.figures(MATRIX))
    assert [(row.mistaken_for, row.mistaken) for row in rows] == [
        ("deer", 1),
        ("other", 1),
        ("", 0),
    ]


def test_the_mean_without_other_is_shown_where_other_has_crops() -> None:
    [only] = results_page.mean_rows(LABELS, by_label.figures(MATRIX))
    assert only.means.labels == 2
    matrix = MATRIX + np.diag([0, 0, 4])
    everything, without = results_page.mean_rows(LABELS, by_label.figures(matrix))
    assert (everything.means.labels, without.means.labels) == (3, 2)
