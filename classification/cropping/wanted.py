"""Which crops a detections file asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from classification.artifacts.layout import CropName
from detection.records import ANIMAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detection.boxes import Box
    from detection.records import Detection, ImageDetections


@dataclass(frozen=True, slots=True)
class WantedCrop:
    """A crop to be cut.

    Attributes:
        name: its file, relative to the crops folder.
        box: fractions of the upright image.
    """

    name: str
    box: Box


class Detector(NamedTuple):
    """Whose boxes are cropped.

    Attributes:
        name: as it stands in the names of crops.
        digest: of its model's files; empty where it is not known.
    """

    name: str
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which boxes are cropped, and what the crops are called.

    Attributes:
        categories: ids of the categories that are cropped.
        threshold: least confidence, in [0, 1]; a box without confidence, which a
            person drew, is always cropped.
        suffix: end of the names of crops from a detector's boxes.
    """

    categories: frozenset[str]
    threshold: float
    suffix: str

    def takes(self, detection: Detection) -> bool:
        """Says whether this box is cropped."""
        sure = detection.conf is None or detection.conf >= self.threshold
        return sure and detection.category in self.categories

    def crops_of(self, image: ImageDetections) -> list[WantedCrop]:
        """Returns the crops of one image; none if the detector failed on it."""
        suffix = "" if image.is_ground_truth else self.suffix
        return [
            WantedCrop(str(CropName(image.file, index, suffix)), detection.bbox)
            for index, detection in enumerate(image.detections or ())
            if self.takes(detection)
        ]


def animal_categories(names_by_id: Mapping[str, str]) -> frozenset[str]:
    """Returns the ids of the category ``animal``, the only one that is cropped."""
    return frozenset(id_ for id_, name in names_by_id.items() if name == ANIMAL)
