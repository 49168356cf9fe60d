"""The animals of the detection cache, looked up image by image, in little memory."""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from classification.artifacts import detection_cache, layout
from classification.cropping.wanted import animal_categories
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from classification.artifacts.detections import DetectionsFile

_logger = logging.getLogger(__name__)

# Position of a box in its image's list, and its confidence.
Box: TypeAlias = tuple[int, float]


class FoundBoxes:
    """What a detector found in images, looked up by their names once all are added.

    An image takes about 30 bytes, and 12 for each box; names are held as hashes, as in
    ``runtime.name_set``.
    """

    def __init__(self) -> None:
        """Begins with no image."""
        self._hashes, self._ends = array("q"), array("q")
        self._indices, self._confidences = array("l"), array("d")
        self._failure_by_row: dict[int, str] = {}
        self._sorted, self._rows = array("q"), array("q")

    def add(self, name: str, boxes: Iterable[Box], failure: str = "") -> None:
        """Adds what was found in an image, each image once."""
        if failure:
            self._failure_by_row[len(self._hashes)] = failure
        for index, confidence in boxes:
            self._indices.append(index)
            self._confidences.append(confidence)
        self._hashes.append(hash(name))
        self._ends.append(len(self._indices))

    def of(self, name: str) -> tuple[Box, ...] | str | None:
        """Returns the boxes of an image; why it failed; or None where it was not added."""
        if len(self._sorted) != len(self._hashes):
            self._sort()
        wanted = hash(name)
        position = bisect_left(self._sorted, wanted)
        if position == len(self._sorted) or self._sorted[position] != wanted:
            return None
        row = self._rows[position]
        if row in self._failure_by_row:
            return self._failure_by_row[row]
        first, end = self._ends[row - 1] if row else 0, self._ends[row]
        indices, confidences = self._indices[first:end], self._confidences[first:end]
        return tuple(zip(indices, confidences, strict=True))

    def _sort(self) -> None:
        hashes = np.array(self._hashes, np.int64)
        order = np.argsort(hashes, kind="stable")
        self._sorted = array("q", hashes[order].tobytes())
        self._rows = array("q", order.astype(np.int64).tobytes())


class CachedAnimals:
    """The animals of a cache; a dataset's file is read when it is first asked for.

    Attributes:
        suffix: end of the names of crops from the detector's boxes; empty until an
            image was asked for.
    """

    def __init__(
        self, cache_dir: Path | None, detector_version: str | None, *, threshold: float
    ) -> None:
        """Notes where to look; nothing is read yet.

        Args:
            cache_dir: the detection cache; None where people drew all boxes.
            detector_version: names its folder; None for the only one.
            threshold: least confidence of a box, in [0, 1]; a box without confidence
                is taken, with the confidence 1.
        """
        self.suffix = ""
        self._cache_dir = cache_dir
        self._version = detector_version
        self._threshold = threshold
        self._by_dataset: dict[str, FoundBoxes] = {}

    def of(self, name: str, dataset: str) -> tuple[Box, ...] | str | None:
        """Returns the animals of an image, in the order of its list of boxes.

        Where the detector failed, a text says why; None where the cache does not have
        the image.

        Args:
            name: full name of the image.
            dataset: its dataset.

        Raises:
            ArtifactError: the cache has no such version, or the dataset's file breaks
                its format.
            ConfigurationError: there is no cache.
        """
        found = self._by_dataset.get(dataset)
        if found is None:
            found = self._by_dataset[dataset] = self._read(name, dataset)
        return found.of(name[len(dataset) + 1 :])

    def _read(self, name: str, dataset: str) -> FoundBoxes:
        cache_dir = self._cache_dir
        if cache_dir is None:
            raise ConfigurationError(
                f"nobody drew boxes of {name}; --detector-output-cache-dir says where a "
                "detector's are"
            )
        version = self._version = _choose_version(cache_dir, self._version)
        self.suffix = layout.training_suffix(version)
        if file := detection_cache.find(cache_dir, version, dataset):
            return _animals_of(file, self._threshold)
        _logger.warning(
            "%s: missing, so the images of %s that nobody drew boxes of are left out; "
            "detect_and_crop --run-detector writes it",
            detection_cache.path_of(cache_dir, version, dataset),
            dataset,
        )
        return FoundBoxes()


def _choose_version(cache_dir: Path, wanted: str | None) -> str:
    found = detection_cache.versions(cache_dir)
    if wanted is None and len(found) == 1:
        return found[0]
    if wanted is not None and detection_cache.has_version(cache_dir, wanted):
        return wanted
    holds = (
        f"holds detections of {', '.join(found)}" if found else "holds no detections"
    )
    asked = f", not of {wanted}" if wanted else ""
    way_out = (
        "--detector-version says which"
        if found
        else "detect_and_crop --run-detector or cache_batchapi_outputs makes them"
    )
    raise ArtifactError(f"{holds}{asked}; {way_out}", where=str(cache_dir))


def _animals_of(file: DetectionsFile, threshold: float) -> FoundBoxes:
    """Returns the animals of a dataset that the detector is sure enough of."""
    found = FoundBoxes()
    animals = animal_categories(file.header.detection_categories)
    if not animals and file.image_count:
        _logger.warning('%s: no category is named "animal"', file.path)
    for image in file.images():
        if image.detections is None or image.failure:
            found.add(image.file, (), image.failure or "no reason given")
            continue
        boxes = (
            (index, 1.0 if box.conf is None else box.conf)
            for index, box in enumerate(image.detections)
            if box.category in animals
        )
        found.add(image.file, ((i, conf) for i, conf in boxes if conf >= threshold))
    return found
