"""Pictures of how a classifier does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.modeling import figures

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 999]])
LABELS = ("bear", "deer", "empty")


def texts(counts: np.ndarray, labels: Sequence[str]) -> list[str]:
    (axes,) = figures.confusion_figure(counts, labels, "title").axes
    return [text.get_text() for text in axes.texts]


def test_d19_cells_show_counts_and_percent() -> None:
    assert texts(COUNTS, LABELS) == ["3\n75%", "1\n25%", "1\n<1%", "999\n100%"]


def test_many_labels_show_percent_alone_and_more_none() -> None:
    counts = np.diag(np.full(81, 4))
    counts[0, 1] = 12
    assert texts(counts, [str(n) for n in range(81)])[:3] == ["25", "75", "100"]
    assert texts(np.eye(251, dtype=np.int64), [str(n) for n in range(251)]) == []


def test_names_stand_at_their_rows_and_columns() -> None:
    (axes,) = figures.confusion_figure(COUNTS, LABELS, "t").axes
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        "bear (4)",
        "deer (0)",
        "empty (1000)",
    ]
    assert [t.get_text() for t in axes.get_xticklabels()] == list(LABELS)


def cell_colour(true: int, predicted: int) -> list[int]:
    """Returns the colour of a cell near its corner, where no text is."""
    figure = figures.confusion_figure(COUNTS, LABELS, "t")
    (axes,) = figure.axes
    pixels = figures.confusion(COUNTS, LABELS, "t")
    x, y = axes.transData.transform((predicted - 0.4, true - 0.4))
    colour: list[int] = pixels[pixels.shape[0] - round(y), round(x)].tolist()
    return colour


def test_colours_are_shares_of_rows_and_grey_where_there_is_no_example() -> None:
    assert cell_colour(1, 0) == cell_colour(1, 2) == [211, 211, 211]
    assert sum(cell_colour(0, 0)) < sum(cell_colour(0, 1)) < sum(cell_colour(0, 2))
    assert cell_colour(2, 2) == [8, 48, 107]  # the darkest blue


@pytest.mark.parametrize("count", [1, 2, 60])
def test_nothing_is_cut_off_at_the_margins(count: int) -> None:
    labels = [f"species: odocoileus virginianus {n}" for n in range(count)]
    pixels = figures.confusion(np.eye(count, dtype=np.int64), labels, "a title " * 5)
    for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]):
        assert (edge == 255).all()
    assert pixels.dtype == np.uint8
    assert pixels.min() < 50


@pytest.mark.parametrize("label", ["$x_$", "a$b$c", "\\frac{", "红狐", "x" * 500, ""])
def test_a_label_is_text_whatever_it_holds(label: str) -> None:
    pixels = figures.confusion(np.eye(2, dtype=np.int64), [label, "b"], "$t_$")
    assert pixels.shape[1] < 700
    row = figures.row([np.zeros((4, 5, 3), np.uint8)], [label])
    assert row.shape == (300, 250, 3)


def test_the_same_input_gives_the_same_pixels() -> None:
    first, second = (figures.confusion(COUNTS, LABELS) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_row_of_crops_shows_each_with_its_colours() -> None:
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 0] = 200
    blue = np.zeros((300, 20, 3), np.uint8)
    blue[..., 2] = 200
    pixels = figures.row([red, blue], ["bear 0.9", "deer 0.8\nempty 0.1"])
    assert pixels.shape == (300, 500, 3)
    assert pixels[180, 125].tolist() == [200, 0, 0]
    assert pixels[180, 375].tolist() == [0, 0, 200]
    assert (pixels[:60] < 100).all(axis=2).any()  # the letters


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (9_999, "9999"),
        (10_000, "10.0k"),
        (99_949, "99.9k"),
        (99_960, "100k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (12_345_678, "12.3M"),
    ],
)
def test_compact(count: int, text: str) -> None:
    assert figures.compact(count) == text
    assert len(text) <= 5
