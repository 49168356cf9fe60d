"""Which crops of an image a classifier learns from, and why others are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from classification.artifacts.crops_left_out import CROP, IMAGE
from classification.artifacts.dataset_csv import (
    UNKNOWN_LOCATION,
    CropRow,
    join_labels,
)
from classification.artifacts.layout import CropName
from classification.artifacts.left_out import LeftOut
from classification.runtime.errors import ArtifactError
from detection.boxes import Box
from detection.records import ANIMAL

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from classification.artifacts.queried_images import QueriedImage

NOT_DETECTED = "the detection cache does not have it"
DETECTOR_FAILED = "the detector failed"
NOT_CONFIDENT = "no animal is sure enough"
NOT_DRAWN = "people drew boxes, but of no animal"
NO_LABEL = "it has no label"
NO_CROP = "the crop is missing"
OTHER_CROP = "the crop is"  # cut from another box, say
AT_FEW_LOCATIONS = "its label is at fewer locations than --min-locs"
AT_TEST_LOCATION = "it is at a test location of the test set that is taken over"

# Position of a box in its image's list, its confidence, and where it is.
FoundBox: TypeAlias = tuple[int, float, Box]


@dataclass(frozen=True, slots=True)
class Taken:
    """What an image gives to a training set.

    Attributes:
        rows: its crops.
        left_out: what it does not give, and why.
    """

    rows: tuple[CropRow, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def drawn_boxes(image: QueriedImage) -> tuple[FoundBox, ...]:
    """Returns the animals that people drew, with the confidence 1."""
    boxes = enumerate(image.boxes or ())
    return tuple((i, 1.0, box.bbox) for i, box in boxes if box.category == ANIMAL)


def take(
    name: str,
    image: QueriedImage,
    found: tuple[FoundBox, ...] | str | None,
    *,
    suffix: str,
    misfit: Callable[[str, Box, bool], str | None],
) -> Taken:
    """Returns the crops of an image that are there, and are of its boxes.

    Args:
        name: of the image.
        image: what is known of it.
        found: animals that a detector is sure enough of; a text where it failed, which
            says why; None where it was not asked. Not used where people drew the boxes.
        suffix: end of the names of crops from a detector's boxes.
        misfit: is given the name of a crop, its box, and whether people drew that; says
            why the crop is of something else; None where there is none.

    Raises:
        ArtifactError: a label is empty, holds a comma, or is reserved.
    """
    drawn = image.boxes is not None
    boxes = drawn_boxes(image) if drawn else found
    if not image.labels or not boxes or isinstance(boxes, str):
        return Taken(left_out=(LeftOut(IMAGE, name, _why_not(image, found)),))
    label = _label_of(name, image)
    location = image.location or UNKNOWN_LOCATION
    rows, missing = [], []
    for index, confidence, box in boxes:
        crop = str(CropName(name, index, "" if drawn else suffix))
        reason = misfit(crop, box, drawn)
        if reason == "":
            rows.append(
                CropRow(
                    crop,
                    image.dataset,
                    location,
                    image.dataset_label,
                    confidence,
                    label,
                )
            )
        else:
            why = NO_CROP if reason is None else f"{OTHER_CROP} {reason}"
            missing.append(LeftOut(CROP, crop, why))
    return Taken(tuple(rows), tuple(missing))


def _why_not(image: QueriedImage, found: tuple[FoundBox, ...] | str | None) -> str:
    """Says why an image gives nothing."""
    if not image.labels:
        return NO_LABEL
    if image.boxes is not None:
        return NOT_DRAWN
    if found is None:
        return NOT_DETECTED
    return f"{DETECTOR_FAILED}: {found}" if isinstance(found, str) else NOT_CONFIDENT


def _label_of(name: str, image: QueriedImage) -> str:
    try:
        return join_labels(image.labels)
    except ArtifactError as error:
        raise ArtifactError(error.message, where=f"{name}.label") from error


def left_out(row: CropRow, reason: str) -> LeftOut:
    """Returns a row as something that is left out."""
    return LeftOut(CROP, row.path, reason)


def kind_of(item: LeftOut) -> str:
    """Returns the reason without what is particular to the item, to count it by."""
    return item.reason.partition(": ")[0]


def rare_labels(rows: Iterable[CropRow], min_locs: int) -> frozenset[str]:
    """Returns the labels with crops at fewer than so many locations."""
    places: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        for label in row.labels:
            places.setdefault(label, set()).add((row.dataset, row.location))
    return frozenset(label for label in places if len(places[label]) < min_locs)


def without_labels(row: CropRow, dropped: Container[str]) -> CropRow | None:
    """Returns the row without some labels; None if none is left."""
    kept = [label for label in row.labels if label not in dropped]
    return row._replace(label=join_labels(kept)) if kept else None
