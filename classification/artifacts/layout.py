"""The names of things on disk: images, crops, and what a name may hold.

An image is named ``<dataset>/<path>`` in training and ``<path>`` in inference, always
relative to a root folder and always with ``/``. A crop's name is made from its image::

    a/b.JPG___crop00.jpg                          a ground-truth box
    a/b.JPG___crop00_mdv4.1.jpg                   training: detector version 4.1
    a/b.JPG___crop00_md_v5a.0.0.pt.jpg            inference: info.detector verbatim

The number is the box's index in the image's **full** list of boxes, so skipped boxes
leave gaps; it has at least two digits, and more from 100 boxes on. The image's own
extension stays in the name. An image name may itself hold ``___crop``: the last one
counts.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from classification.runtime import containment
from classification.runtime.errors import ArtifactError

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".gif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".avif"}
)

# Files are called after a dataset, with something before or behind.
_LONGEST_DATASET = 200
_CROP_MARK = "___crop"
_CROP = re.compile(
    rf"(?P<image>.+){_CROP_MARK}(?P<index>[0-9]{{2,9}})(?:_(?P<suffix>.+))?\.jpg",
    re.DOTALL,
)


def is_image_name(name: str) -> bool:
    """Says whether ``name`` ends as an image file does, in any case."""
    return PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS


def checked_name(name: str, *, where: str = "") -> str:
    """Returns ``name`` if it stays inside whatever folder it is joined to.

    Raises:
        ArtifactError: it is empty, absolute, has a ``..`` part, a backslash, a drive
            letter or a NUL; the text says which, and ``where`` is its address.
    """
    if reason := containment.fault(name):
        raise ArtifactError(f"{name!r} {reason}", where=where)
    return name


def checked_dataset(name: str, *, where: str = "") -> str:
    """Returns ``name`` if files can be called after it: it is a dataset's name.

    Raises:
        ArtifactError: as ``checked_name``; or it is the path of a folder, is not UTF-8,
            or no disk takes a file called after it.
    """
    reason = containment.writing_fault(name)
    if not reason and not containment.is_utf8(name):
        reason = "is not UTF-8"
    if not reason and "/" in name:
        reason = "names more than one folder"
    if not reason and len(os.fsencode(name)) > _LONGEST_DATASET:
        reason = (
            f"is longer than {_LONGEST_DATASET} bytes, so no file can have its name"
        )
    if reason:
        raise ArtifactError(f"{name!r} {reason}", where=where)
    return name


@dataclass(frozen=True, slots=True)
class CropName:
    """The name of a crop, relative to the crops folder.

    Attributes:
        image: name of the image it was cut from.
        index: position of its box in the image's full list of boxes, from 0.
        suffix: ``mdv<version>`` (training), ``<info.detector>`` (inference), or
            empty for a ground-truth box.
    """

    image: str
    index: int
    suffix: str = ""

    def __str__(self) -> str:
        """Spells the name."""
        suffix = f"_{self.suffix}" if self.suffix else ""
        return f"{self.image}{_CROP_MARK}{self.index:02d}{suffix}.jpg"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Reads a name in any of its historic spellings; the inverse of ``str``.

        Raises:
            ArtifactError: it is no crop's name.
        """
        match = _CROP.fullmatch(name)
        if not match:
            raise ArtifactError(f"{name!r} is not the name of a crop")
        return cls(match["image"], int(match["index"]), match["suffix"] or "")


def image_of(path: str) -> str:
    """Returns the image of a crop; what is named as no crop is its own image."""
    try:
        return CropName.parse(path).image
    except ArtifactError:
        return path


def inference_suffix(detector: str) -> str:
    """Returns the crop suffix of the inference flow: ``info.detector`` verbatim.

    Raises:
        ArtifactError: the detector's name could lead out of the crops folder, or
            be taken for a crop's index.
    """
    if not detector or _CROP_MARK in detector or any(c in detector for c in "/\\\0"):
        raise ArtifactError(
            f"{detector!r} cannot be part of a file name", where="info.detector"
        )
    return detector


def training_suffix(detector_version: str) -> str:
    """Returns the crop suffix of the training flow, ``mdv<version>``."""
    return "mdv" + inference_suffix(detector_version)
