"""Which subjects a page has, with which pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import dataset_csv
from classification.artifacts.dataset_csv import CropRow
from classification.reports import render, review_layout
from classification.reports.review_layout import (
    MOST_VIEWS,
    Layout,
    fit,
    lay_out,
    look_up,
)
from classification.reports.review_page import (
    ANY_DATASET,
    LABELS,
    SCRIPTS,
    TEMPLATE,
    Page,
    Queue,
    Sighting,
    Subject,
)
from classification.storage.local import LocalStore
from tests.world import photograph, save_jpeg

if TYPE_CHECKING:
    from pathlib import Path


def subject(number: int, *, crops: int = 1, name: str = "") -> Subject:
    image = f"ds/{name}{number}.jpg"
    return Subject(
        image=image,
        dataset="ds",
        label=name or "elk",
        sightings=tuple(
            Sighting(name=f"ds/{number}.jpg___crop{n:02d}.jpg", predicted=name or "cow")
            for n in range(crops)
        ),
        suggestion="cow",
    )


def queue(subjects: list[Subject], *, count: int | None = None) -> Queue:
    return Queue(
        wording=LABELS,
        subjects=subjects,
        count=count or len(subjects),
        classes=("cow", "elk"),
    )


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    for number in range(6):
        scene = photograph(64, 48, seed=number)
        save_jpeg(tmp_path / f"ds/{number}.jpg___crop00.jpg", scene)
    return LocalStore(tmp_path)


def test_some_are_skipped_and_the_rest_is_left_out(store: LocalStore) -> None:
    subjects = [subject(number) for number in range(6)]
    layout = Layout(side_px=32, skip=1, most=2)
    page = lay_out(queue(subjects, count=100), store, layout)
    assert [entry.subject.image for entry in page.entries] == ["ds/1.jpg", "ds/2.jpg"]
    assert (page.skipped, page.left_out_count) == (1, 97)
    assert page.left_out == ("ds/3.jpg", "ds/4.jpg", "ds/5.jpg")
    assert page.classes_by_dataset == {ANY_DATASET: ("cow", "elk")}
    (view,) = page.entries[0].views
    assert view.picture
    assert view.picture.width == 32


def test_nothing_is_left_after_more_than_all(store: LocalStore) -> None:
    page = lay_out(queue([subject(0)]), store, Layout(side_px=32, skip=9))
    assert (page.entries, page.skipped, page.left_out_count) == ((), 1, 0)


def test_a_missing_picture_says_why(store: LocalStore) -> None:
    page = lay_out(queue([subject(0), subject(7)]), store, Layout(side_px=32))
    assert [view.fault for view in page.faults] == ["no such file"]
    assert page.entries[1].views[0].picture is None


def test_a_herd_shows_some_of_its_crops(store: LocalStore) -> None:
    (entry,) = look_up([subject(0, crops=9)], store, side_px=32)
    assert len(entry.views) == MOST_VIEWS
    assert entry.unseen == 9 - MOST_VIEWS


@pytest.mark.parametrize("name", ["", '<"&\u202e' * 60, "é/" * 90])
def test_a_page_is_no_larger_than_it_may_be(store: LocalStore, name: str) -> None:
    subjects = [
        subject(number % 6, crops=number % 3 + 1, name=name) for number in range(99)
    ]
    seen = look_up(subjects, store, side_px=64)
    entries = fit(seen, page_bytes=400_000)
    page = Page(
        wording=LABELS,
        entries=tuple(entries),
        classes_by_dataset={"ds": ("cow", "elk")},
    )
    size = len(render.render(TEMPLATE, page, scripts=SCRIPTS))
    assert 0 < len(entries) < 99
    assert size < 400_000
    # Of ordinary names it does not think too much.
    assert name or size > 150_000


def test_without_a_number_as_many_as_fit_are_shown(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_layout, "PAGE_BYTES", 115_000)
    page = lay_out(queue([subject(n) for n in range(6)]), store, Layout(side_px=64))
    assert 0 < len(page.entries) < 6
    assert len(page.entries) + page.left_out_count == 6


def test_the_training_set_tells_the_classes(store: LocalStore, tmp_path: Path) -> None:
    path = tmp_path / dataset_csv.FILENAME
    row = CropRow("ds/0.jpg___crop00.jpg", "ds", "13", "heifer", 1.0, "cow")
    dataset_csv.write(path, [row])
    layout = Layout(side_px=32, dataset_csv=path)
    page = lay_out(queue([subject(0)]), store, layout)
    assert page.classes_by_dataset == {"ds": ("heifer",)}
    (entry,) = page.entries
    assert (entry.subject.suggestion, entry.subject.location) == ("heifer", "13")
