"""Reads the files of a finished run into what the detections page shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import detections, predictions
from classification.artifacts.layout import CropName
from classification.reports.detections_page import (
    Failure,
    Guess,
    PictureView,
    Subject,
    Truth,
    Vocabulary,
    view_picture,
)
from classification.reports.pictures import inlined
from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from classification.artifacts.predictions import PredictionsFile
    from classification.storage import ImageStore
    from detection.records import ImageDetections

MOST_PICTURES = 200
GUESSES = 4
# Least probability of a further guess; of 1000 categories most are noise.
LEAST_GUESS = 0.02

_SIDE_PX = ((24, 1100), (80, 800))
_LEAST_SIDE_PX = 560


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a run's results are, and how to read them.

    Attributes:
        merged: detections JSON, with classifications where there are any.
        predictions: classifier output CSV, or None where nothing was classified.
        store: the images.
        broad_groups: which classification categories are broad groups.
        threshold: least probability of an answer, in [0, 1].
        box_threshold: least confidence of a box that is shown, in [0, 1].
        truth_by_image: what images are known to show.
    """

    merged: Path
    predictions: Path | None
    store: ImageStore
    broad_groups: frozenset[str]
    threshold: float
    box_threshold: float
    truth_by_image: Mapping[str, Truth] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What the page shows of a run.

    Attributes:
        pictures: in the order of the file, which is sorted by name.
        failures: images that could not be used, sorted by name.
        left_out: number of usable images beyond ``MOST_PICTURES``.
    """

    pictures: tuple[PictureView, ...]
    failures: tuple[Failure, ...]
    left_out: int


def collect(source: Source) -> Results:
    """Reads a run's results; a picture that cannot be opened now is a failure.

    Raises:
        ArtifactError: a file of the run is missing or malformed.
    """
    file = detections.open_file(source.merged)
    failures = [
        Failure(image.file, image.failure or "no detections")
        for image in file.images()
        if image.detections is None
    ]
    usable = sum(1 for image in file.images() if image.detections is not None)
    chosen = choose(file.images(), MOST_PICTURES, source.box_threshold)
    vocabulary = Vocabulary(
        name_by_category=file.header.classification_categories or {},
        broad_groups=source.broad_groups,
        threshold=source.threshold,
        box_threshold=source.box_threshold,
    )
    guesses = _guesses(source.predictions, chosen)
    pictures: list[PictureView] = []
    shown = [image for image in file.images() if image.file in chosen]
    opened = inlined(
        (image.file for image in shown), source.store, side_px=side_px(len(chosen))
    )
    for image, (_, picture) in zip(shown, opened, strict=True):
        if isinstance(picture, ItemError):
            failures.append(Failure(image.file, str(picture)))
            continue
        subject = Subject(
            image=image,
            picture=picture,
            guesses_by_index=guesses.get(image.file, {}),
            truth=source.truth_by_image.get(image.file),
        )
        pictures.append(view_picture(len(pictures) + 1, subject, vocabulary))
    return Results(
        pictures=tuple(pictures),
        failures=tuple(sorted(failures, key=lambda failure: failure.name)),
        left_out=usable - len(chosen),
    )


def choose(
    images: Iterable[ImageDetections], most: int, box_threshold: float
) -> frozenset[str]:
    """Picks the images to show: those with a box before those without, in file order.

    Args:
        images: failed ones are passed over.
        most: how many to pick.
        box_threshold: least confidence of a box that counts, in [0, 1].
    """
    with_box: list[str] = []
    without: list[str] = []
    for image in images:
        if image.detections is None:
            continue
        has_box = any(
            box.conf is None or box.conf >= box_threshold for box in image.detections
        )
        chosen = with_box if has_box else without
        if len(chosen) < most:
            chosen.append(image.file)
    return frozenset((with_box + without)[:most])


def side_px(pictures: int) -> int:
    """Returns how long the longer side of each picture may be, by their number."""
    return next((side for most, side in _SIDE_PX if pictures <= most), _LEAST_SIDE_PX)


def best_guesses(
    file: PredictionsFile, images: Collection[str]
) -> dict[str, dict[int, tuple[Guess, ...]]]:
    """Reads the classifier's best categories for the crops of some images.

    Returns:
        By image and place of the box: at most ``GUESSES`` categories, most probable
        first; beyond the first, only those of at least ``LEAST_GUESS``.
    """
    found: dict[str, dict[int, tuple[Guess, ...]]] = {}
    for batch in file.batches():
        for path, probabilities in zip(batch.paths, batch.probabilities, strict=True):
            crop = CropName.parse(path)
            if crop.image not in images:
                continue
            order = np.argsort(-probabilities, kind="stable")[:GUESSES]
            found.setdefault(crop.image, {})[crop.index] = tuple(
                Guess(file.categories[place], float(probabilities[place]))
                for rank, place in enumerate(order)
                if rank == 0 or probabilities[place] >= LEAST_GUESS
            )
    return found


def _guesses(
    path: Path | None, images: Collection[str]
) -> dict[str, dict[int, tuple[Guess, ...]]]:
    return {} if path is None else best_guesses(predictions.open_file(path), images)
