"""Reads a training set, its crops and its metadata into the numbers of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import splits
from classification.cropping import infrared, looks
from classification.dataset import (
    comparing,
    crop_columns,
    describing,
    near_duplicates,
    timing,
)
from classification.megadb import moments
from classification.megadb.reading import MetadataStore
from classification.reports.pictures import THUMBNAIL_SIDE_PX, InlinePicture, inlined
from classification.runtime import progress
from classification.runtime.errors import ConfigurationError, ItemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.dataset.comparing import Overlap
    from classification.dataset.crop_columns import CropColumns
    from classification.dataset.describing import Confidences, LabelAtLocations
    from classification.dataset.near_duplicates import NearDuplicates
    from classification.dataset.timing import ImageMoments, Timing
    from classification.storage import ImageStore
    from classification.storage.local import LocalStore

MOST_PAIRS = 60
_PAIR_SHARE = 4  # of the thumbnails at most one in four is for pairs


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a training set is.

    Attributes:
        dataset_dir: holds classification_ds.csv and splits.json.
        store: the crops.
        megadb: metadata store that knows sequences and times, or None.
        other_splits: another splits.json to compare with, or None.
        work_dir: a folder for what does not fit into memory.
    """

    dataset_dir: Path
    store: LocalStore
    megadb: Path | None = None
    other_splits: Path | None = None
    work_dir: Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to look at.

    Attributes:
        seed: of the crops that are shown, at least 0.
        crops_per_label: how many crops to show of each label.
        thumbnails: most pictures of the page.
        pixels: open every crop: hashes and colours; else only those shown.
        threads: that decode crops.
    """

    seed: int = 0
    crops_per_label: int = 5
    thumbnails: int = 2000
    pixels: bool = True
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What all crops look like; see ``cropping.looks``.

    Attributes:
        bits: perceptual hashes, uint64 [crops]; 0 where unreadable.
        contrast: float32 [crops]; NaN where unreadable.
        own_colour: float32 [crops]; NaN where unreadable.
    """

    bits: NDArray[np.uint64]
    contrast: NDArray[np.float32]
    own_colour: NDArray[np.float32]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Says of each crop whether it could be read."""
        return ~np.isnan(self.contrast)

    @property
    def flat(self) -> NDArray[np.bool_]:
        """Says which crops are too flat to be compared."""
        return self.contrast < looks.FLAT

    @property
    def grey(self) -> NDArray[np.bool_]:
        """Says which crops were taken by infrared, at night."""
        return self.own_colour < infrared.GREY


@dataclass(frozen=True, kw_only=True)
class Times:
    """When the images were taken.

    Attributes:
        moments: of each image.
        known: images that the metadata store has.
        by_label: of each label.
        by_split: of each split, by its name.
        torn: sequences with images in more than one split.
    """

    moments: ImageMoments
    known: int
    by_label: list[Timing]
    by_split: Mapping[str, Timing]
    torn: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All numbers and pictures of the page.

    Attributes:
        columns: the crops.
        crops: of each label in each split, int64 [labels, 3].
        locations: of each label in each split, int64 [labels, 3].
        where: crops of each label at each location.
        confidences: of each label.
        datasets: their names.
        by_dataset: crops of each label, dataset and split, int64 [labels, datasets, 3].
        looks: of all crops, or None where they were not opened.
        duplicates: what looks alike across splits, or None.
        times: None without a metadata store.
        overlap: with other splits, or None.
        samples: rows of the crops to show of each label.
        pictures: of the rows to show; a reason where one cannot be read.
        failures: crops that cannot be read, and why, in order.
        seed: of the samples.
    """

    columns: CropColumns
    crops: NDArray[np.int64]
    locations: NDArray[np.int64]
    where: LabelAtLocations
    confidences: list[Confidences]
    datasets: tuple[str, ...]
    by_dataset: NDArray[np.int64]
    looks: Looks | None
    duplicates: NearDuplicates | None
    times: Times | None
    overlap: Overlap | None
    samples: list[NDArray[np.int64]]
    pictures: Mapping[int, InlinePicture | str]
    failures: tuple[tuple[str, str], ...]
    seed: int


def collect(source: Source, options: Options) -> Figures:
    """Reads everything.

    Raises:
        ArtifactError: a file of the training set or the metadata store is missing or
            malformed.
        ConfigurationError: the training set is empty, or the metadata store has none
            of its images.
    """
    columns = crop_columns.read(source.dataset_dir)
    if not len(columns):
        raise ConfigurationError(
            f"{source.dataset_dir}: the training set has no crop; "
            "create_classification_dataset says why of each"
        )
    overlap = _compare(source)
    times = None if source.megadb is None else _times(columns, source.megadb, source)
    seen, failures = _look(columns, source.store, options)
    most_pairs, per_label = plan(options, len(columns.labels))
    duplicates = None if seen is None else find_duplicates(columns, seen, most_pairs)
    samples = describing.sample_rows(columns, per_label, seed=options.seed)
    pictures = _pictures(columns, source.store, samples, duplicates)
    if seen is None:
        failures = [
            (columns.paths[row], picture)
            for row, picture in sorted(pictures.items())
            if isinstance(picture, str)
        ]
    where = describing.label_at_locations(columns)
    datasets, by_dataset = describing.count_datasets(columns)
    return Figures(
        columns=columns,
        crops=describing.count_crops(columns),
        locations=describing.count_locations(columns, where),
        where=where,
        confidences=describing.describe_confidences(columns),
        datasets=datasets,
        by_dataset=by_dataset,
        looks=seen,
        duplicates=duplicates,
        times=times,
        overlap=overlap,
        samples=samples,
        pictures=pictures,
        failures=tuple(failures),
        seed=options.seed,
    )


def plan(options: Options, labels: int) -> tuple[int, int]:
    """Decides how many pairs, and how many crops of each label, the page shows.

    Together they are at most ``options.thumbnails`` pictures.
    """
    pairs = min(MOST_PAIRS, options.thumbnails // (2 * _PAIR_SHARE))
    if not options.pixels:
        pairs = 0
    left = options.thumbnails - 2 * pairs
    return pairs, min(options.crops_per_label, left // max(1, labels))


def find_duplicates(columns: CropColumns, seen: Looks, most: int) -> NearDuplicates:
    """Finds what looks alike across splits; flat crops are not compared."""
    return near_duplicates.find(
        seen.bits, columns.split, seen.readable & ~seen.flat, most=most
    )


def _compare(source: Source) -> Overlap | None:
    if source.other_splits is None:
        return None
    own = splits.read(source.dataset_dir / splits.FILENAME)
    return comparing.compare(own, splits.read(source.other_splits))


def _times(columns: CropColumns, megadb: Path, source: Source) -> Times:
    with MetadataStore.open(megadb, work_dir=source.work_dir) as store:
        found = moments.find(store, columns.images_in_order())
    if not found.known.any():
        raise ConfigurationError(
            f"{megadb} has none of the images of {source.dataset_dir}; --megadb wants "
            "the store that json_validator asked"
        )
    of_images = timing.ImageMoments(
        hour=found.hour, day=found.day, sequence=found.sequence
    )
    return Times(
        moments=of_images,
        known=int(found.known.sum()),
        by_label=timing.by_label(columns, of_images),
        by_split=timing.by_split(columns, of_images),
        torn=timing.torn_sequences(columns, of_images),
    )


def _look(
    columns: CropColumns, store: ImageStore, options: Options
) -> tuple[Looks | None, list[tuple[str, str]]]:
    """Opens every crop once; returns what is seen, and what cannot be."""
    if not options.pixels:
        return None, []
    crops = len(columns)
    bits = np.zeros(crops, np.uint64)
    numbers = np.full((2, crops), np.nan, np.float32)
    failures = []
    found = looks.looks(columns.paths, store, threads=options.threads)
    for row, look in enumerate(progress.track(found, total=crops, unit="crops")):
        if isinstance(look, ItemError):
            failures.append((columns.paths[row], str(look)))
        else:
            bits[row] = look.bits
            numbers[:, row] = look.contrast, look.own_colour
    return Looks(bits=bits, contrast=numbers[0], own_colour=numbers[1]), failures


def _pictures(
    columns: CropColumns,
    store: ImageStore,
    samples: Iterable[NDArray[np.int64]],
    duplicates: NearDuplicates | None,
) -> dict[int, InlinePicture | str]:
    """Makes the pictures of all rows that are shown, each once."""
    pairs = () if duplicates is None else duplicates.shown
    wanted = {row for rows in samples for row in rows.tolist()}
    wanted |= {row for pair in pairs for row in (pair.first, pair.second)}
    rows = sorted(wanted)
    made = inlined(
        (columns.paths[row] for row in rows), store, side_px=THUMBNAIL_SIDE_PX
    )
    return {
        row: str(picture) if isinstance(picture, ItemError) else picture
        for row, (_, picture) in zip(rows, made, strict=True)
    }
