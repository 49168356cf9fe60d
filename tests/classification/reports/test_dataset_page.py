from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts.splits import Location
from classification.dataset.comparing import Overlap
from classification.reports import dataset_page
from classification.reports.dataset_page import (
    MOST_FAILURES,
    MOST_MOVED,
    Page,
    colour_chart,
    label_rows,
    mix_rows,
    overlap_view,
    shades,
)
from tests.classification.reports import dataset_world
from tests.classification.reports.dataset_world import BROKEN, CROPS, GONE, path_of

if TYPE_CHECKING:
    from classification.reports.dataset_figures import Figures


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return dataset_world.figures(dataset_world.make(tmp_path_factory.mktemp("world")))


def laid_out(figures: Figures) -> Page:
    return dataset_page.page(figures, name="run", per_label=5, wanted_per_label=5)


def test_the_head_counts_what_there_is(figures: Figures) -> None:
    page = laid_out(figures)
    assert [(one.number, one.what) for one in page.counts] == [
        (8, "crops"),
        (8, "images"),
        (3, "labels"),
        (4, "locations"),
        (1, "dataset"),
        (2, "crops that cannot be read"),
    ]
    assert page.split_counts == (("train", 4, 2), ("val", 2, 1), ("test", 2, 1))


def test_each_label_in_each_split() -> None:
    crops = np.array([[60, 25, 15], [600, 395, 5], [0, 0, 0]])
    locations = np.array([[20, 5, 5], [10, 5, 1], [0, 0, 0]])
    one, other, none = label_rows(["a", "b", "c"], crops, locations)
    assert [cell.count for cell in one.crops] == [60, 25, 15]
    assert [cell.share for cell in one.crops] == [0.6, 0.25, 0.15]
    assert [cell.is_extreme for cell in other.crops] == [False, False, True]
    assert [cell.is_extreme for cell in one.locations] == [False, False, False]
    assert [cell.is_extreme for cell in other.locations] == [False, False, True]
    assert (one.total_crops, one.total_locations) == (100, 30)
    assert one.weight == pytest.approx(1100 / (100 * 2))
    assert none.weight is None
    assert sum(part.width for part in other.bar) == pytest.approx(100)
    assert [part.x for part in one.bar] == [0, 6, 8.5]


def test_the_mix_of_a_split_is_whole() -> None:
    rows = mix_rows(["a", "b"], np.array([[3, 1, 0], [1, 1, 0]]))
    assert [row.shares for row in rows] == [(0.75, 0.5, 0), (0.25, 0.5, 0)]
    assert [dot.x for dot in rows[0].dots] == [200, 133.33, 0]


def test_samples_name_split_and_location(figures: Figures) -> None:
    shots = [shot for group in laid_out(figures).samples for shot in group.shots]
    by_path = {shot.path: shot for shot in shots}
    assert len(by_path) == len(CROPS)
    shot = by_path[path_of(5)]
    assert (shot.split, shot.location, shot.labels) == (
        "val",
        Location("d", "3"),
        ("elk",),
    )
    assert by_path[path_of(GONE)].picture is None
    assert by_path[path_of(BROKEN)].reason == "not an image file"


def test_pairs_tell_where_labels_differ(figures: Figures) -> None:
    found = laid_out(figures).duplicates
    assert found is not None
    [pair] = found.shown
    assert (pair.first.path, pair.second.path) == (path_of(0), path_of(5))
    assert pair.labels_differ
    assert found.crops == (("train", "val", 1, 4), ("val", "train", 1, 2))


def test_day_and_night_of_each_split(figures: Figures) -> None:
    night = laid_out(figures).night
    assert night is not None
    assert [(row.name, row.night, row.day) for row in night.splits] == [
        ("train", 2, 2),
        ("val", 1, 0),
        ("test", 0, 1),
    ]
    assert night.splits[0].share == 0.5
    assert sum(row.night + row.day for row in night.labels) == 6
    assert (night.crops.night, night.crops.day, night.crops.is_mixed) == (3, 3, True)


@pytest.mark.parametrize(("colour", "day", "night"), [(9, 6, 0), (0, 0, 6)])
def test_by_one_light_only_nothing_is_mixed(
    figures: Figures, colour: float, day: int, night: int
) -> None:
    assert figures.looks is not None
    own_colour = np.where(figures.looks.readable, np.float32(colour), np.float32("nan"))
    view = laid_out(
        replace(figures, looks=replace(figures.looks, own_colour=own_colour))
    ).night
    assert view is not None
    assert (view.crops.day, view.crops.night) == (day, night)
    assert not view.crops.is_mixed


def test_hours_are_drawn_by_colour(figures: Figures) -> None:
    times = laid_out(figures).times
    assert times is not None
    assert times.chart is not None
    drawn = {column.what for column in times.chart.columns}
    assert "02:00 to 02:59: 1 grey crops (night)" in drawn
    assert "12:00 to 12:59: 1 coloured crops (day)" in drawn
    assert times.splits[0].per_sequence == 4
    plain = laid_out(replace(figures, looks=None)).times
    assert plain is not None
    assert plain.chart is not None
    assert plain.chart.series == ("images",)


def test_without_a_sequence_there_is_no_mean(figures: Figures) -> None:
    assert figures.times is not None
    timing = replace(figures.times.by_label[0], sequences=0)
    assert math.isnan(dataset_page.TimeRow("a", timing, ()).per_sequence)


def test_crops_per_location(figures: Figures) -> None:
    places = laid_out(figures).places
    fox = next(row for row in places.labels if row.label == "fox")
    assert (fox.locations, fox.median, fox.most, fox.most_share) == (3, 1, 2, 0.5)
    assert places.top[0].location == Location("d", "1")
    assert places.top[0].labels == (("fox", 2), ("elk", 1))
    assert places.bins == (1, 2)
    assert sum(int(column.what.split()[2]) for column in places.chart.columns) == 4


def test_bins_hold_from_a_power_of_two_to_the_next() -> None:
    assert dataset_page._bins(1) == (1,)
    assert dataset_page._bins(4) == (1, 2, 4)
    assert [dataset_page._bin_name((1, 2, 1024), n) for n in range(3)] == [
        *("1", "2\N{EN DASH}3", "1,024\N{EN DASH}2,047")
    ]


def test_one_dataset_needs_no_table(figures: Figures) -> None:
    page = laid_out(figures)
    assert page.datasets == ()
    assert page.label_datasets == ()
    two = replace(
        figures,
        datasets=("d", "e"),
        by_dataset=np.stack(
            [figures.by_dataset[:, 0], 2 * figures.by_dataset[:, 0]], 1
        ),
    )
    page = laid_out(two)
    assert [row.crops for row in page.datasets] == [(4, 2, 2), (8, 4, 4)]
    fox = next(row for row in page.label_datasets if row.label == "fox")
    assert fox.splits[0] == ((("e", 4), ("d", 2)), 0)
    assert fox.datasets == 2


def test_the_threshold_parts_the_colours() -> None:
    chart = colour_chart(np.array([0, 1.9, 2, 300], np.float32))
    assert [column.what for column in chart.columns] == [
        "0.0 to 0.5: 1 grey crops (night)",
        "1.5 to 2.0: 1 grey crops (night)",
        "2.0 to 2.5: 1 coloured crops (day)",
        "23.5 or more: 1 coloured crops (day)",
    ]
    assert chart.marks == tuple(tick.at for tick in chart.x_ticks if tick.text == "2")


def test_shades_go_from_none_to_full() -> None:
    assert shades(np.array([0, 1, 4])) == (0, 0.25, 1)
    assert shades(np.array([0, 0])) == (0, 0)


def test_long_lists_are_cut_and_counted(figures: Figures) -> None:
    failures = tuple((f"{number}.jpg", "gone") for number in range(MOST_FAILURES + 3))
    page = laid_out(replace(figures, failures=failures))
    assert len(page.failures) == MOST_FAILURES
    assert page.all_failures == MOST_FAILURES + 3
    moved = tuple(
        (Location("d", str(number)), "train", "test")
        for number in range(MOST_MOVED + 2)
    )
    counts = {
        (a, b): 0
        for a in ("train", "val", "test", "in none")
        for b in ("train", "val", "test", "in none")
    }
    view = overlap_view(Overlap(counts, moved))
    assert (len(view.moved), view.more) == (MOST_MOVED, 2)
