"""``detections.json``: MegaDetector's batch output, format 1.6.

Written by ``run_detector_batch`` and ``merge_classification_detection_output``; read by
``crop_detections``, ``run_classifier``, ``merge_classification_detection_output``, and by
Timelapse and other tools of the field::

    {
     "info": {"format_version": "1.6", "detector": "md_v5a.0.0.pt"},
     "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
     "images": [
      {"file": "a/b.jpg", "detections": [{"category": "1", "conf": 0.914, "bbox": [0.1, 0.2, 0.3, 0.4]}]},
      {"file": "c.jpg", "detections": null, "failure": "truncated"}
     ]
    }

``bbox`` is [left, top, width, height] in fractions of the EXIF-upright image. An empty
list of detections means that nothing was found, null that the image failed. Images are
sorted by file, detections by falling confidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import _json
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError, in_file
from detection.records import ImageDetections

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FORMAT_VERSION = "1.6"


@dataclass(frozen=True, kw_only=True)
class Header:
    """Everything of the file but its images.

    Attributes:
        detection_categories: name by id.
        info: the ``info`` object, ``format_version`` included.
        classification_categories: name by id, or None where nothing is classified.
        other: further top-level keys, kept as they are.
    """

    detection_categories: Mapping[str, str]
    info: Mapping[str, Any]
    classification_categories: Mapping[str, str] | None = None
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def detector(self) -> str:
        """Returns ``info.detector``, or ``unknown`` where the file names none."""
        return str(self.info.get("detector", "unknown"))


@dataclass(frozen=True)
class DetectionsFile:
    """A detections JSON that was checked from end to end.

    Attributes:
        path: where it is.
        header: all but the images.
        image_count: number of images.
    """

    path: Path
    header: Header
    image_count: int

    def images(self) -> Iterator[ImageDetections]:
        """Yields the images in file order; may be called again."""
        for raw in self.documents():
            yield msgspec.json.decode(raw, type=ImageDetections)

    def documents(self) -> Iterator[bytes]:
        """Yields each image's JSON text, with every key it holds, in file order."""
        document = msgspec.json.decode(self.path.read_bytes(), type=_Raw)
        for raw in document.images:
            yield bytes(raw)


class _Raw(msgspec.Struct):
    images: list[msgspec.Raw]


def open_file(path: Path) -> DetectionsFile:
    """Checks a detections JSON whole, and returns it ready to be read.

    Raises:
        ArtifactError: it is missing, truncated, no JSON, or breaks the format; with
            the address, such as ``images[3].detections[0].bbox``.
    """
    with in_file(path):
        document = _json.read_object(path)
        images = document.pop("images")
        header = Header(
            info=document.pop("info"),
            detection_categories=document.pop("detection_categories"),
            classification_categories=document.pop("classification_categories", None),
            other=document,
        )
        try:
            msgspec.convert(images, list[ImageDetections])
        except msgspec.ValidationError as error:
            raise ArtifactError(str(error)) from error
    return DetectionsFile(path, header, len(images))


def write(path: Path, header: Header, images: Iterable[bytes]) -> None:
    """Writes a detections JSON, streaming.

    Args:
        path: the file; it appears whole or not at all.
        header: all but the images.
        images: the JSON text of each image, in the order to write.
    """
    top: dict[str, Any] = {
        "info": header.info,
        "detection_categories": header.detection_categories,
    }
    if header.classification_categories is not None:
        top["classification_categories"] = header.classification_categories
    with replacing(path) as file:
        file.write(b"{\n")
        for key, value in {**top, **header.other}.items():
            file.write(b" %s: %s,\n" % (_encode(key), _encode(value)))
        file.write(b' "images": [')
        for number, image in enumerate(images):
            file.write((b",\n  " if number else b"\n  ") + image)
        file.write(b"\n ]\n}\n")


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value)
