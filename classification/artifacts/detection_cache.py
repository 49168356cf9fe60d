"""``<cache>/v<version>/<dataset>.json``: what a detector found in each dataset.

Written by ``cache_batchapi_outputs``; read by ``detect_and_crop``,
``create_classification_dataset`` and ``merge_classification_detection_output``. One
detections JSON (see ``detections.json``) per dataset and version of the detector::

    mdcache/v4.1/caltech.json

    {
     "info": {"format_version": "1.6", "detector": "megadetector_v4.1"},
     "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
     "classification_categories": {},
     "images": [
      {"file": "cct_images/a.jpg", "detections": []}
     ]
    }

``file`` is the path below the dataset's folder: without the dataset's name, which is the
file's. Images are sorted by file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from classification.artifacts import detections, layout
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from classification.artifacts.detections import DetectionsFile, Header


def path_of(cache_dir: Path, detector_version: str, dataset: str) -> Path:
    """Returns where the detections of a dataset are.

    Raises:
        ArtifactError: the version or the dataset's name leads out of the folder.
    """
    for part in (detector_version, dataset):
        layout.checked_name(part, where=str(cache_dir))
        if "/" in part:
            raise ArtifactError(
                f"{part!r} names more than one folder", where=str(cache_dir)
            )
    return cache_dir / f"v{detector_version}" / f"{dataset}.json"


def open_file(cache_dir: Path, detector_version: str, dataset: str) -> DetectionsFile:
    """Checks the detections of a dataset, and returns them ready to be read.

    Raises:
        ArtifactError: there are none, or they break the format.
    """
    path = path_of(cache_dir, detector_version, dataset)
    if not path.exists():
        raise ArtifactError(
            "no such file; cache_batchapi_outputs writes it from the dataset's detections",
            where=str(path),
        )
    return detections.open_file(path)


def write(
    cache_dir: Path,
    detector_version: str,
    dataset: str,
    header: Header,
    images: Iterable[bytes],
) -> Path:
    """Writes the detections of a dataset, streaming; returns where.

    Args:
        cache_dir: the cache.
        detector_version: such as ``4.1``.
        dataset: name of the dataset.
        header: all but the images.
        images: the JSON text of each image, sorted by file.
    """
    path = path_of(cache_dir, detector_version, dataset)
    classes = header.classification_categories or {}
    detections.write(path, replace(header, classification_categories=classes), images)
    return path


def agreed_header(files: Sequence[DetectionsFile]) -> Header:
    """Returns the header of the first file, which all others must agree with.

    Raises:
        ArtifactError: two files are of different detectors or categories.
    """
    first = files[0]
    for file in files[1:]:
        if file.header.detector != first.header.detector:
            raise ArtifactError(
                f"{file.header.detector!r}, but {first.path} is of "
                f"{first.header.detector!r}",
                where=f"{file.path}: info.detector",
            )
        if file.header.detection_categories != first.header.detection_categories:
            raise ArtifactError(
                f"other categories than in {first.path}",
                where=f"{file.path}: detection_categories",
            )
    return first.header
