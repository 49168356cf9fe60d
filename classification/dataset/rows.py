"""Which crops of an image a classifier learns from, and why others are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from classification.artifacts.dataset_csv import (
    UNKNOWN_LOCATION,
    CropRow,
    join_labels,
)
from classification.artifacts.layout import CropName
from detection.records import ANIMAL

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from classification.artifacts.queried_images import QueriedImage

NOT_DETECTED = "the detection cache does not have it"
DETECTOR_FAILED = "the detector failed"
NOT_CONFIDENT = "no animal is sure enough"
NOT_DRAWN = "people drew boxes, but of no animal"
NO_CROP = "the crop is missing"

# Position of a box in its image's list, and its confidence.
Box: TypeAlias = tuple[int, float]


class Names(Protocol):
    """Says of a name whether it is there."""

    def __contains__(self, name: str, /) -> bool:
        """Says whether ``name`` is there."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """What an image gives to a training set.

    Attributes:
        rows: its crops.
        left_out: (image or crop, reason) of what it does not give.
    """

    rows: tuple[CropRow, ...]
    left_out: tuple[tuple[str, str], ...]


def drawn_boxes(image: QueriedImage) -> list[Box]:
    """Returns the animals that people drew, with the confidence 1."""
    boxes = image.boxes or ()
    return [(i, 1.0) for i, box in enumerate(boxes) if box.category == ANIMAL]


def take(
    name: str,
    image: QueriedImage,
    found: Sequence[Box] | None,
    *,
    suffix: str,
    crops: Names,
) -> Taken:
    """Returns the crops of an image that are there.

    Args:
        name: of the image.
        image: what is known of it.
        found: animals that a detector is sure enough of; None where it was not asked.
            Not used where people drew the boxes.
        suffix: end of the names of crops from a detector's boxes.
        crops: names of the crops that exist.

    Raises:
        ArtifactError: a label holds a comma.
    """
    drawn = image.boxes is not None
    if not drawn and found is None:
        return Taken((), ((name, NOT_DETECTED),))
    boxes = drawn_boxes(image) if drawn else found or ()
    if not boxes:
        return Taken((), ((name, NOT_DRAWN if drawn else NOT_CONFIDENT),))
    named = [
        (str(CropName(name, index, "" if drawn else suffix)), confidence)
        for index, confidence in boxes
    ]
    label = join_labels(image.labels)
    location = image.location or UNKNOWN_LOCATION
    rows = tuple(
        CropRow(crop, image.dataset, location, image.dataset_label, confidence, label)
        for crop, confidence in named
        if crop in crops
    )
    missing = tuple((crop, NO_CROP) for crop, _ in named if crop not in crops)
    return Taken(rows, missing)


def labels_at(rows: Iterable[CropRow]) -> dict[str, set[tuple[str, str]]]:
    """Returns the (dataset, location) pairs of each label."""
    places: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        for label in row.labels:
            places.setdefault(label, set()).add((row.dataset, row.location))
    return places


def without_labels(row: CropRow, dropped: Container[str]) -> CropRow | None:
    """Returns the row without some labels; None if none is left."""
    kept = [label for label in row.labels if label not in dropped]
    return row._replace(label=join_labels(kept)) if kept else None
