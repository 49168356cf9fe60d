"""What a detector says of an image: values, without files.

The types are msgspec structs, so that a file of a million images is read straight into
them; keys of a detections JSON that they do not name are ignored on the way in.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from detection.boxes import Box

ANIMAL, PERSON, VEHICLE = "animal", "person", "vehicle"
MEGADETECTOR_CATEGORIES = {"1": ANIMAL, "2": PERSON, "3": VEHICLE}

TagValue: TypeAlias = str | int | float | list[str | int | float]

# Programs that look for the same box in picture after picture, such as a branch in the
# wind, take it back by turning the sign: the box keeps its place in the list, and no
# threshold takes it.
Confidence = Annotated[float, msgspec.Meta(ge=-1, le=1)]


class Detection(msgspec.Struct, frozen=True, gc=False):
    """One box.

    Attributes:
        category: id of the category in the file, such as ``"1"``.
        bbox: where, in fractions of the EXIF-upright image.
        conf: how sure the detector is, in [0, 1]; below 0 for a box that was taken back
            as a repeated one; None for a box drawn by a person.
        classifications: (category id, probability) pairs, most probable first.
    """

    category: str
    bbox: Box
    conf: Confidence | None = None
    classifications: tuple[tuple[str, float], ...] | None = None


class ImageDetections(msgspec.Struct, frozen=True, gc=False):
    """All boxes of one image.

    Attributes:
        file: name of the image.
        detections: its boxes; empty if the detector found nothing, None if it failed.
        failure: why it failed, or None.
        is_ground_truth: the boxes were drawn by people, not found by a detector.
    """

    file: str
    detections: tuple[Detection, ...] | None = None
    failure: str | None = None
    is_ground_truth: bool = False


class FoundBox(msgspec.Struct, frozen=True, gc=False):
    """A box as a detector's output states it, which always has a confidence.

    Attributes:
        category: id of the category.
        conf: how sure the detector is, in [0, 1].
        bbox: where.
    """

    category: str
    conf: float
    bbox: Box


class DetectorRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a run of a detector writes about an image, key by key; unset keys are left out.

    Attributes:
        file: name of the image.
        detections: its boxes, by falling confidence; None if it failed.
        failure: why it failed.
        max_detection_conf: confidence of the first box, 0 where there is none.
        width: pixels of the upright image.
        height: likewise.
        datetime: when it was taken, ``2022:11:22 20:47:15``; None if it does not say.
        exif_metadata: tags by name.
    """

    file: str
    detections: tuple[FoundBox, ...] | None
    failure: str | msgspec.UnsetType = msgspec.UNSET
    max_detection_conf: float | msgspec.UnsetType = msgspec.UNSET
    width: int | msgspec.UnsetType = msgspec.UNSET
    height: int | msgspec.UnsetType = msgspec.UNSET
    datetime: str | msgspec.UnsetType | None = msgspec.UNSET
    exif_metadata: dict[str, TagValue] | msgspec.UnsetType = msgspec.UNSET
