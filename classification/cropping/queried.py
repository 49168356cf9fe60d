"""The boxes of a training set's images: those that people drew, and a detector's.

An image whose boxes people drew, even none, is never looked up in the cache. Of all
others, the cache has one file for each dataset. Names are held as hashes, so that a
million images take a few MiB.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from classification.artifacts import detection_cache, image_contents, layout
from classification.cropping.bulk import Job
from classification.cropping.wanted import Detector, Rule, animal_categories
from classification.runtime.name_set import NameSet
from detection.records import ANIMAL, Detection, ImageDetections

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from classification.artifacts.detections import DetectionsFile
    from classification.artifacts.image_contents import Record
    from classification.artifacts.queried_images import QueriedImage, QueriedImagesFile
    from classification.runtime.contents import Contents

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CachedBoxes:
    """What a detector found in those images of a dataset whose boxes nobody drew.

    Attributes:
        dataset: the dataset.
        undrawn: those images, as they are called below the dataset's folder.
        file: the dataset's file of the cache; None where there is none.
        detected: those of them that the detector did not fail on.
    """

    dataset: str
    undrawn: NameSet = field(repr=False)
    file: DetectionsFile | None = None
    detected: NameSet = field(default_factory=NameSet, repr=False)

    def without(self, names: Iterable[str]) -> CachedBoxes:
        """Return what is known of the other images."""
        return replace(
            self,
            undrawn=self.undrawn.without(names),
            detected=self.detected.without(names),
        )

    @cached_property
    def record(self) -> Record | None:
        """Return what is known of the images that were detected."""
        return image_contents.find(self.file.path) if self.file else None

    def images(self) -> Iterator[tuple[ImageDetections, Contents | None]]:
        """Yield the detected images under their full names, in the cache's order.

        With each comes what the image was when it was detected, or None.
        """
        images = self.file.images() if self.file else ()
        for image, contents in image_contents.pair(images, self.record):
            if _succeeded(image) and image.file in self.undrawn:
                name = f"{self.dataset}/{image.file}"
                yield ImageDetections(name, image.detections), contents


def _succeeded(image: ImageDetections) -> bool:
    return image.detections is not None and not image.failure


def find_undrawn(images: Iterable[tuple[str, QueriedImage]]) -> dict[str, NameSet]:
    """Returns the images without drawn boxes, by dataset.

    Returns:
        Of each dataset, sorted, their names below its folder; none where people drew
        the boxes of all.
    """
    undrawn: dict[str, NameSet] = {}
    for name, image in images:
        names = undrawn.setdefault(image.dataset, NameSet())
        if image.boxes is None:
            names.add(_below(name, image))
    return dict(sorted(undrawn.items()))


def _below(name: str, image: QueriedImage) -> str:
    """Returns what an image is called below its dataset's folder."""
    return name[len(image.dataset) + 1 :]


def open_cache(
    cache_dir: Path, detector_version: str, dataset: str, undrawn: NameSet
) -> CachedBoxes:
    """Opens a dataset's file of the cache; where there is none, nothing is detected.

    Raises:
        ArtifactError: the file breaks its format.
    """
    if not len(undrawn):
        return CachedBoxes(dataset=dataset, undrawn=undrawn)
    file = detection_cache.find(cache_dir, detector_version, dataset)
    detected = NameSet(
        image.file
        for image in (file.images() if file else ())
        if _succeeded(image) and image.file in undrawn
    )
    if file is not None and not len(detected):
        _warn_of_strangers(file, undrawn)
    return CachedBoxes(dataset=dataset, undrawn=undrawn, file=file, detected=detected)


def _warn_of_strangers(file: DetectionsFile, undrawn: NameSet) -> None:
    """Says so where a file of the cache seems to call the images something else."""
    names = [image.file for image in islice(file.images(), 1)]
    if names and not any(image.file in undrawn for image in file.images()):
        _logger.warning(
            "%s: none of its images is asked for; its first is %r, where names are "
            "relative to the dataset's folder (cache_batchapi_outputs --remove-prefix "
            "and --add-prefix make them so)",
            file.path,
            names[0],
        )


def find_undetected(
    images: Iterable[tuple[str, QueriedImage]],
    boxes_by_dataset: Mapping[str, CachedBoxes],
) -> dict[str, list[str]]:
    """Returns the images that have no boxes at all, by dataset.

    Returns:
        Of each dataset that has such images, sorted, their names below its folder,
        sorted.
    """
    undetected: dict[str, list[str]] = {}
    for name, image in images:
        if image.boxes is None:
            file = _below(name, image)
            if file not in boxes_by_dataset[image.dataset].detected:
                undetected.setdefault(image.dataset, []).append(file)
    return {dataset: sorted(undetected[dataset]) for dataset in sorted(undetected)}


def jobs(
    queried: QueriedImagesFile,
    boxes_by_dataset: Mapping[str, CachedBoxes],
    *,
    threshold: float,
    detector_version: str,
    as_stored: bool = False,
) -> Iterator[Job]:
    """Yields each image that has boxes, with its crops: drawn ones first, then cached.

    Only the category ``animal`` is cropped.

    Args:
        queried: the images.
        boxes_by_dataset: of each dataset.
        threshold: least confidence of a detector's box, in [0, 1].
        detector_version: stands in the names of crops from a detector's boxes.
        as_stored: people drew on the pixels as they are stored; a detector's boxes are
            of the upright image in any case.
    """
    drawn = Rule(categories=frozenset({ANIMAL}), threshold=0, suffix="")
    for name, image in queried.images():
        if image.boxes is not None:
            wanted = drawn.crops_of(_as_detections(name, image))
            yield Job(name, wanted, as_stored)
    yield from jobs_of_found(
        boxes_by_dataset, threshold=threshold, detector_version=detector_version
    )


def jobs_of_found(
    boxes_by_dataset: Mapping[str, CachedBoxes],
    *,
    threshold: float,
    detector_version: str,
) -> Iterator[Job]:
    """Yields each image that a detector has found boxes of, with its crops; see ``jobs``."""
    suffix = layout.training_suffix(detector_version)
    for cached in boxes_by_dataset.values():
        found = Rule(
            categories=_animals(cached.file), threshold=threshold, suffix=suffix
        )
        digest = cached.record.header.detector if cached.record else ""
        known, unknown = Detector(suffix, digest), Detector(suffix, "")
        for boxes, contents in cached.images():
            yield Job(
                boxes.file,
                found.crops_of(boxes),
                detector=known if contents else unknown,
                digest=contents.digest if contents else None,
            )


def _as_detections(name: str, image: QueriedImage) -> ImageDetections:
    drawn = tuple(Detection(box.category, box.bbox) for box in image.boxes or ())
    return ImageDetections(name, drawn, is_ground_truth=True)


def _animals(file: DetectionsFile | None) -> frozenset[str]:
    if file is None:
        return frozenset()
    animals = animal_categories(file.header.detection_categories)
    if not animals and file.image_count:
        _logger.warning(
            '%s: no category is named "animal", so nothing of it is cropped', file.path
        )
    return animals
