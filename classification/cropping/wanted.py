"""Which crops a detections file asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from classification.artifacts.layout import CropName
from classification.runtime.errors import ConfigurationError
from detection.records import ANIMAL

UNKNOWN_DETECTOR = "unknown"

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classification.artifacts.detections import Header
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


class Source(NamedTuple):
    """What a box is of, as far as it is known; what a crop of it has to be cut from.

    Attributes:
        image: name of the image.
        box: where, in fractions of it.
        annotated: a person drew it.
        image_digest: of the image in which it was found, or None.
        detector_digest: of the model that found it, or None.
    """

    image: str
    box: Box
    annotated: bool = False
    image_digest: str | None = None
    detector_digest: str | None = None


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


def detector_of(header: Header, named: str | None) -> str | None:
    """Return the detector's name, of which crops have their ends; None where none is told.

    Args:
        header: of the file of boxes.
        named: --detector-version, or None.

    Raises:
        ConfigurationError: both are told, and differ.
    """
    detector = header.info.get("detector")
    if detector is None:
        return named
    if named not in {None, detector}:
        raise ConfigurationError(
            f"--detector-version {named} is not info.detector, {detector}; "
            "leave the flag out to use the file's"
        )
    return str(detector)
