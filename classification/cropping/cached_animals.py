"""The animals of the detection cache, looked up image by image, in little memory."""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from classification.artifacts import detection_cache, image_contents, layout
from classification.cropping.wanted import animal_categories
from classification.runtime.contents import DIGEST_BYTES
from classification.runtime.errors import ArtifactError, ConfigurationError
from detection.boxes import Box

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from classification.artifacts.detections import DetectionsFile

_logger = logging.getLogger(__name__)

# Position of a box in its image's list, its confidence, and where it is.
FoundBox: TypeAlias = tuple[int, float, Box]

_UNKNOWN = bytes(DIGEST_BYTES)


class FoundBoxes:
    """What a detector found in images, looked up by their names once all are added.

    An image takes about 50 bytes, and as many for each box; names are held as hashes, as in
    ``runtime.name_set``.

    Attributes:
        detector_digest: of the detector that found them, or None.
    """

    def __init__(self, detector_digest: str | None = None) -> None:
        """Begins with no image."""
        self.detector_digest = detector_digest
        self._hashes, self._ends = array("q"), array("q")
        self._indices, self._confidences = array("l"), array("d")
        self._sides = array("d")  # four of each box
        self._digests = bytearray()  # of each image; zeros where it is not known
        self._failure_by_row: dict[int, str] = {}
        self._sorted, self._rows = array("q"), array("q")

    def add(
        self,
        name: str,
        boxes: Iterable[FoundBox],
        failure: str = "",
        digest: str | None = None,
    ) -> None:
        """Adds what was found in an image, each image once.

        Args:
            name: of the image.
            boxes: in their order.
            failure: why the detector failed on it.
            digest: of the image's bytes, or None.
        """
        if failure:
            self._failure_by_row[len(self._hashes)] = failure
        for index, confidence, box in boxes:
            self._indices.append(index)
            self._confidences.append(confidence)
            self._sides.extend((box.left, box.top, box.width, box.height))
        self._digests += bytes.fromhex(digest) if digest else _UNKNOWN
        self._hashes.append(hash(name))
        self._ends.append(len(self._indices))

    def of(self, name: str) -> tuple[FoundBox, ...] | str | None:
        """Returns the boxes of an image; why it failed; or None where it was not added."""
        row = self._row(name)
        if row is None:
            return None
        if row in self._failure_by_row:
            return self._failure_by_row[row]
        first, end = self._ends[row - 1] if row else 0, self._ends[row]
        return tuple(
            (
                self._indices[i],
                self._confidences[i],
                Box(*self._sides[4 * i : 4 * i + 4]),
            )
            for i in range(first, end)
        )

    def digest_of(self, name: str) -> str | None:
        """Return the digest of the image in which boxes were found, or None."""
        row = self._row(name)
        if row is None:
            return None
        digest = self._digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
        return digest.hex() if digest != _UNKNOWN else None

    def _row(self, name: str) -> int | None:
        if len(self._sorted) != len(self._hashes):
            self._sort()
        wanted = hash(name)
        position = bisect_left(self._sorted, wanted)
        if position == len(self._sorted) or self._sorted[position] != wanted:
            return None
        return self._rows[position]

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

    def of(self, name: str, dataset: str) -> tuple[FoundBox, ...] | str | None:
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

    def digests_of(self, name: str, dataset: str) -> tuple[str | None, str | None]:
        """Return digests of an image that was asked for, and of its detector.

        Each is None where it is not known.
        """
        found = self._by_dataset[dataset]
        digest = found.digest_of(name[len(dataset) + 1 :])
        return digest, None if digest is None else found.detector_digest

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
    record = image_contents.find(file.path)
    found = FoundBoxes((record and record.header.detector) or None)
    animals = animal_categories(file.header.detection_categories)
    if not animals and file.image_count:
        _logger.warning('%s: no category is named "animal"', file.path)
    for image, contents in image_contents.pair(file.images(), record):
        if image.detections is None or image.failure:
            found.add(image.file, (), image.failure or "no reason given")
            continue
        boxes = (
            (index, 1.0 if box.conf is None else box.conf, box.bbox)
            for index, box in enumerate(image.detections)
            if box.category in animals
        )
        sure = (box for box in boxes if box[1] >= threshold)
        found.add(image.file, sure, digest=contents.digest if contents else None)
    return found
