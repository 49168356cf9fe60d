"""Joins what is said of crops with the boxes that they were cut from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from classification.artifacts import (
    detection_cache,
    detections,
    predictions_info,
    queried_images,
)
from classification.artifacts.detections import Header
from classification.labels.merging import dataset_of, with_categories
from classification.labels.wording import some_of
from classification.runtime import progress
from classification.runtime.errors import ArtifactError, ConfigurationError, in_file
from classification.runtime.name_set import NameSet
from detection.records import MEGADETECTOR_CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from classification.artifacts.queried_images import QueriedImage
    from classification.storage.crop_table import CropTable, Found

FIRST_ROW = 2  # of a classifier output; row 1 is the header
_BATCH = 512


@dataclass(frozen=True)
class Queried:
    """Where the boxes of training images come from.

    Attributes:
        images: queried images JSON.
        cache_dir: detection cache, or None if people drew all boxes.
        detector_version: which version of the cache.
    """

    images: Path
    cache_dir: Path | None
    detector_version: str | None


def _batched(documents: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Yields them by the hundreds: as many as a look-up takes at a time."""
    rest = iter(documents)
    while some := tuple(islice(rest, _BATCH)):
        yield some


class Joiner:
    """Adds what the table says to images, and counts."""

    def __init__(
        self,
        crops: CropTable,
        results: Path,
        datasets: frozenset[str] | None,
        boxes: NDArray[np.uint8] | None,
    ) -> None:
        """Begins to count.

        Args:
            crops: what is said of each crop.
            results: file that it is from, for the address of a fault.
            datasets: leave out images of others, or None to keep all.
            boxes: digests of the boxes that the rows of ``results`` are of; see
                ``predictions_info.Origin``.
        """
        self._crops = crops
        self._results = results
        self._datasets = datasets
        self._digests = boxes
        self._found_datasets: set[str] = set()
        self._images = self._classified_images = self._boxes = 0

    def join(self, documents: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
        """Yields each image's JSON text, with its classifications if it has any.

        Args:
            documents: returns the images' texts from the first.

        Raises:
            ArtifactError: a crop's image or box is not among them.
            ConfigurationError: a wanted dataset is not among them.
        """
        for some in _batched(progress.track(documents(), total=None, unit="images")):
            yield from self._join_some(some)
        if self._boxes < len(self._crops):
            self._refuse_other(detections.name_of(document) for document in documents())
        if absent := sorted((self._datasets or frozenset()) - self._found_datasets):
            raise ConfigurationError(f"--datasets: no image of {some_of(absent)}")

    def _join_some(self, documents: Sequence[bytes]) -> Iterator[bytes]:
        named = [(detections.name_of(document), document) for document in documents]
        wanted = [one for one in named if self._is_wanted(one[0])]
        found_by_image = self._crops.of_images([name for name, _ in wanted])
        self._images += len(wanted)
        for name, document in wanted:
            found = found_by_image.get(name)
            if found:
                self._classified_images += 1
                self._boxes += len(found)
            yield self._classify(document, found) if found else document

    def _is_wanted(self, name: str) -> bool:
        if self._datasets is None:
            return True
        dataset = dataset_of(name)
        self._found_datasets.add(dataset)
        return dataset in self._datasets

    def _classify(self, document: bytes, found: Sequence[Found]) -> bytes:
        try:
            if self._digests is not None:
                self._refuse_moved(document, found, self._digests)
            return detections.classify(document, {one.box: one.said for one in found})
        except LookupError:
            name = detections.name_of(document)
            last = found[-1]
            raise ArtifactError(
                f"{name!r} has no box {last.box}; the crops are of other detections",
                where=f"{self._results}: row {last.row}, column path",
            ) from None

    def _refuse_moved(
        self, document: bytes, found: Sequence[Found], digests: NDArray[np.uint8]
    ) -> None:
        """See that boxes are those that the crops were cut from."""
        boxes = detections.boxes_of(document)
        for one in found:
            known = digests[one.row - FIRST_ROW : one.row - FIRST_ROW + 1].tobytes()
            box = boxes[one.box]
            if known.strip(b"\0") and known != predictions_info.digest_box(box):
                raise ArtifactError(
                    f"box {one.box} of {detections.name_of(document)!r} is another one "
                    "than its crop was cut from; crop and classify it again",
                    where=f"{self._results}: row {one.row}, column path",
                )

    def _refuse_other(self, names: Iterator[str]) -> NoReturn:
        image, row = self._crops.find_other(names) or ("", 0)
        raise ArtifactError(
            f"no image {image!r} in the detections; the crops are of other detections",
            where=f"{self._results}: row {row}, column path",
        )

    def summary(self) -> str:
        """Says what was merged."""
        return (
            f"{self._images} images, {self._boxes} boxes classified on "
            f"{self._classified_images} of them"
        )


def gather(crops: CropTable, results: Path, sources: Queried) -> Header:
    """Puts the text of each image that has crops into the table.

    Args:
        crops: what is said of each crop.
        results: file that it is from, for the address of a fault.
        sources: where boxes are from.

    Returns:
        Detector and categories of them all.

    Raises:
        ArtifactError: a file breaks its format, or does not have an image of the crops.
        ConfigurationError: the detection cache is needed, but not named.
    """
    queried = queried_images.read(sources.images)
    with in_file(results):
        _check_images(crops, queried)
    header = _gather_cached(crops, sources)
    categories = _gather_drawn(crops, queried, header.detection_categories)
    with in_file(results):
        if missing := crops.find_without_document():
            image, row = missing
            raise ArtifactError(
                f"no image {image!r} in the detection cache",
                where=f"row {row}, column path",
            )
    return replace(header, detection_categories=categories)


def _check_images(crops: CropTable, queried: Mapping[str, QueriedImage]) -> None:
    if mixed := crops.find_mixed():
        image, row = mixed
        raise ArtifactError(
            f"{image!r} has crops of boxes that people drew and of others",
            where=f"row {row}, column path",
        )
    for ground_truth in (False, True):
        for image, row in crops.images(ground_truth=ground_truth):
            where = f"row {row}, column path"
            if image not in queried:
                raise ArtifactError(
                    f"no image {image!r} among the queried images", where=where
                )
            if ground_truth and queried[image].boxes is None:
                raise ArtifactError(
                    f"a crop of a box that a person drew, but {image!r} has none in the "
                    "queried images",
                    where=where,
                )


def _gather_cached(crops: CropTable, sources: Queried) -> Header:
    names = {dataset_of(image) for image, _ in crops.images(ground_truth=False)}
    info: dict[str, Any] = {"format_version": detections.FORMAT_VERSION}
    if not names:
        return Header(info=info, detection_categories=MEGADETECTOR_CATEGORIES)
    if sources.cache_dir is None or sources.detector_version is None:
        raise ConfigurationError(
            "there are crops of a detector's boxes; name the detection cache with "
            "--detector-output-cache-dir and --detector-version"
        )
    caches = {
        name: detection_cache.open_file(
            sources.cache_dir, sources.detector_version, name
        )
        for name in sorted(names)
    }
    header, ids = detection_cache.join_headers(list(caches.values()))
    drawn = NameSet(image for image, _ in crops.images(ground_truth=True))
    for (dataset, cache), id_by_own_id in zip(caches.items(), ids, strict=True):
        for some in _batched(cache.documents()):
            document_by_image = {
                f"{dataset}/{detections.name_of(document)}": document
                for document in some
            }
            for image in crops.of_images(list(document_by_image)):
                if image in drawn:
                    continue
                text = detections.classify(document_by_image[image], {}, file=image)
                # What another classifier said has no place in this one's output.
                text = detections.renumber(text, id_by_own_id, None)
                crops.keep_document(image, text)
    return Header(
        info={**info, "detector": header.detector},
        detection_categories=header.detection_categories,
    )


def _gather_drawn(
    crops: CropTable,
    queried: Mapping[str, QueriedImage],
    name_by_id: Mapping[str, str],
) -> dict[str, str]:
    """Puts images whose boxes people drew into the table; returns all categories."""
    images = [image for image, _ in crops.images(ground_truth=True)]
    names = {box.category for image in images for box in queried[image].boxes or ()}
    categories = with_categories(name_by_id, names)
    id_by_name = {name: id_ for id_, name in categories.items()}
    for image in images:
        boxes = queried[image].boxes or ()
        drawn = [(id_by_name[box.category], box.bbox) for box in boxes]
        crops.keep_document(image, detections.encode_drawn(image, drawn))
    return categories
