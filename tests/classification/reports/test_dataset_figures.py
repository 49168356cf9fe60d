from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import dataset_csv
from classification.cropping import looks
from classification.cropping.images import open_image
from classification.reports.dataset_figures import MOST_PAIRS, Options, plan
from classification.reports.pictures import InlinePicture
from classification.runtime.errors import ConfigurationError
from tests.classification.reports import dataset_world
from tests.classification.reports.dataset_world import BROKEN, CROPS, GONE, path_of
from tests.world import write_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset_world.make(tmp_path_factory.mktemp("world"))


def test_every_crop_is_looked_at(base: Path) -> None:
    seen = dataset_world.figures(base).looks
    assert seen is not None
    for row in range(len(CROPS)):
        assert seen.readable[row] == (row not in {GONE, BROKEN})
    data = (base / "crops" / path_of(3)).read_bytes()
    own = looks.look_at(open_image(data, least_side_px=64).image)
    assert int(seen.bits[3]) == own.bits
    assert seen.own_colour[3] == np.float32(own.own_colour)
    assert seen.grey.tolist() == [row in {0, 1, 5} for row in range(len(CROPS))]


def test_what_cannot_be_read_is_listed_with_its_reason(base: Path) -> None:
    assert dataset_world.figures(base).failures == (
        (path_of(GONE), "no such file"),
        (path_of(BROKEN), "not an image file"),
    )


def test_the_same_picture_in_two_splits_is_found(base: Path) -> None:
    found = dataset_world.figures(base).duplicates
    assert found is not None
    assert found.total == 1
    assert [(pair.first, pair.second) for pair in found.shown] == [(0, 5)]


def test_flat_crops_are_not_compared(base: Path) -> None:
    figures = dataset_world.figures(base)
    assert figures.looks is not None
    assert not figures.looks.flat[GONE]
    assert not figures.looks.flat.any()


def test_without_pixels_only_what_is_shown_is_opened(base: Path) -> None:
    figures = dataset_world.figures(base, pixels=False, crops_per_label=1)
    assert figures.looks is None
    assert figures.duplicates is None
    assert len(figures.pictures) == 3
    assert len(figures.failures) == sum(
        isinstance(picture, str) for picture in figures.pictures.values()
    )


def test_pictures_are_small_or_a_reason(base: Path) -> None:
    pictures = dataset_world.figures(base).pictures
    assert pictures[GONE] == "no such file"
    made = [one for one in pictures.values() if isinstance(one, InlinePicture)]
    assert len(made) == len(CROPS) - 2


def test_times_come_from_the_store(base: Path) -> None:
    times = dataset_world.figures(base).times
    assert times is not None
    assert times.moments.hour.tolist() == [hour for _, _, hour, _ in CROPS]
    assert times.known == len(CROPS)
    assert times.torn == 1
    assert dataset_world.figures(base, megadb=False).times is None


def test_another_store_is_refused(tmp_path: Path) -> None:
    dataset_world.make(tmp_path)
    write_store(tmp_path / "megadb", {"d": [{"file": "other.jpg"}]})
    with pytest.raises(ConfigurationError, match="has none of the images"):
        dataset_world.figures(tmp_path)


def test_an_empty_training_set_is_refused(tmp_path: Path) -> None:
    dataset_world.make(tmp_path)
    dataset_csv.write(tmp_path / "run" / dataset_csv.FILENAME, [])
    with pytest.raises(ConfigurationError, match="has no crop"):
        dataset_world.figures(tmp_path)


@pytest.mark.parametrize("thumbnails", [0, 1, 7, 8, 100, 2000, 5000])
@pytest.mark.parametrize("labels", [1, 5, 169])
@pytest.mark.parametrize("pixels", [True, False])
def test_the_page_has_no_more_pictures_than_allowed(
    thumbnails: int, labels: int, *, pixels: bool
) -> None:
    options = Options(thumbnails=thumbnails, pixels=pixels)
    pairs, per_label = plan(options, labels)
    assert 2 * pairs + per_label * labels <= thumbnails
    assert pairs <= (MOST_PAIRS if pixels else 0)
    assert per_label <= options.crops_per_label


def test_there_is_room_for_all_of_the_default_at_169_labels() -> None:
    assert plan(Options(), 169) == (MOST_PAIRS, Options.crops_per_label)
