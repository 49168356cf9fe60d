"""Images through a detector, batch by batch: decoded by threads, detected by one.

A batch is always the same images, those at positions ``k * size`` to ``(k + 1) * size``
of the run, whatever fails among them and wherever the run was taken up again, so that
its result does not depend on either. Whoever reads an image's bytes digests them on the
way, so that it is known later which image a result is of.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec

from classification.cropping import images
from classification.runtime import parallel
from classification.runtime.contents import Contents, Stamp, digest
from classification.runtime.errors import ItemError, PipelineError
from classification.runtime.name_set import Names, NameSet
from detection import image_metadata
from detection.records import DetectorRecord, FoundBox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from PIL import Image

    from detection.detectors import Detector, Prepared
    from detection.image_files import ImageFile, ImageList
    from detection.records import Detection

    Load: TypeAlias = Callable[[str], tuple[bytes, Stamp | None]]

# Far below what anyone keeps boxes from, so that the choice can be made later.
DEFAULT_THRESHOLD = 0.005

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Include:
    """What to say of an image beside its boxes.

    Attributes:
        size: width and height.
        time: when it was taken.
        tags: EXIF tags; None for none, an empty set for all.
        max_conf: the highest confidence of its boxes.
    """

    size: bool = False
    time: bool = False
    tags: frozenset[str] | None = None
    max_conf: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How to take images through a detector.

    Attributes:
        threshold: least confidence of a box.
        batch_size: images that go through the network together.
        threads: how many decode beside the network; with 1, images are decoded in turn.
        max_pixels: refuse an image of more.
        include: what to say beside the boxes.
        category_by_id: category ids to write by the detector's own; empty for its own.
    """

    threshold: float
    batch_size: int = 1
    threads: int = 1
    max_pixels: int = images.DEFAULT_MAX_PIXELS
    include: Include = Include()
    category_by_id: Mapping[str, str] = field(default_factory=dict)


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of an image; one record of the journal.

    Attributes:
        image: what the output says of it.
        note: how an unusual file was read; empty for an ordinary one.
        contents: what the file was; None where it could not be read.
    """

    image: DetectorRecord
    note: str = ""
    contents: Contents | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An image ready for the network, or why it is not."""

    record: DetectorRecord
    prepared: Prepared | None = None
    note: str = ""
    contents: Contents | None = None


_NONE_DONE: Names = NameSet()


def detect(
    detector: Detector,
    files: ImageList,
    work: Work,
    *,
    done: Names = _NONE_DONE,
    load: Load,
) -> Iterator[list[Result]]:
    """Yields the results of the images that are not done, in order, batch by batch.

    A batch of which some images are done goes through the network whole, and is yielded
    whole: its results take the place of those before.

    Args:
        detector: finds the boxes.
        files: the images of the run.
        work: how to do it.
        done: names of images that an earlier run has results of.
        load: given an image's ``path``, returns the file's bytes and stamp, or raises
            ItemError; called from several threads.

    Yields:
        The results of a batch.

    Raises:
        PipelineError: the detector as a whole cannot go on. An image that cannot be
            read, or that the network fails on, is a result with its reason.
    """
    # While one batch is in the network, the next is decoded.
    ahead = 1 + -(-work.batch_size // work.threads)
    loaded = parallel.ordered_map(
        _loading(detector, work, load),
        _left(files, work.batch_size, done),
        threads=work.threads,
        ahead=max(2, ahead),
    )
    for batch in _batched(loaded, work.batch_size):
        yield _detect_batch(detector, batch, work)


def _left(files: ImageList, size: int, done: Names) -> Iterator[ImageFile]:
    """Yield the images of all batches that are not done, or not wholly."""
    for batch in _batched(files, size):
        if not all(file.name in done for file in batch):
            yield from batch


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _loading(
    detector: Detector, work: Work, load: Load
) -> Callable[[ImageFile], _Loaded]:
    def load_one(file: ImageFile) -> _Loaded:
        contents = None
        try:
            if file.problem:
                raise ItemError(file.problem)  # noqa: TRY301 - one place makes a record of it
            data, stamp = load(file.path)
            contents = Contents(digest(data), stamp)
            loaded = _prepare(detector, work, file.name, data)
        except ItemError as error:
            loaded = _Loaded(_failed(file.name, str(error)))
        return replace(loaded, contents=contents)

    return load_one


def _prepare(detector: Detector, work: Work, name: str, data: bytes) -> _Loaded:
    opened = images.open_image(data, max_pixels=work.max_pixels)
    pixels, note = opened.array(), opened.note
    del opened  # a large image should not be in memory twice
    try:
        prepared = detector.prepare(pixels)
    except Exception as error:  # a strange shape may break any step of any engine
        raise ItemError(f"cannot be resized: {_reason(error)}") from error
    record = DetectorRecord(file=name, detections=None)
    if work.include.size:
        width, height = prepared.width_px, prepared.height_px
        record = msgspec.structs.replace(record, width=width, height=height)
    if work.include.time or work.include.tags is not None:
        # The decoded image has lost its metadata; only the header is read again.
        header = images.read_header(data, max_pixels=work.max_pixels)
        record = _with_metadata(record, header, work.include)
    return _Loaded(record, prepared, note)


def _with_metadata(
    record: DetectorRecord, header: Image.Image, include: Include
) -> DetectorRecord:
    if include.time:
        taken = image_metadata.read_time(header)
        record = msgspec.structs.replace(record, datetime=taken)
    if include.tags is not None:
        tags = image_metadata.read_tags(header, include.tags or None)
        record = msgspec.structs.replace(record, exif_metadata=tags)
    return record


def _detect_batch(
    detector: Detector, batch: Sequence[_Loaded], work: Work
) -> list[Result]:
    ready = [image.prepared for image in batch if image.prepared is not None]
    outcomes = iter(_outcomes(detector, ready, work.threshold))
    return [
        Result(
            image.record
            if image.prepared is None
            else _completed(image.record, next(outcomes), work),
            image.note,
            image.contents,
        )
        for image in batch
    ]


def _outcomes(
    detector: Detector, ready: Sequence[Prepared], threshold: float
) -> Sequence[tuple[Detection, ...] | str]:
    """Returns the boxes of each image, or the reason why there are none."""
    if not ready:
        return []
    try:
        return detector.detect(ready, threshold=threshold)
    except PipelineError:
        raise
    except Exception as error:  # noqa: BLE001 - a network's runtime raises anything; find the image it was
        if len(ready) == 1:
            return [f"inference failed: {_reason(error)}"]
    return [_outcomes(detector, [image], threshold)[0] for image in ready]


def _completed(
    record: DetectorRecord, outcome: tuple[Detection, ...] | str, work: Work
) -> DetectorRecord:
    if isinstance(outcome, str):
        return _failed(record.file, outcome)
    boxes = tuple(
        FoundBox(
            work.category_by_id.get(found.category, found.category),
            float(found.conf or 0.0),
            found.bbox,
        )
        for found in outcome
    )
    highest = max((box.conf for box in boxes), default=0.0)
    return msgspec.structs.replace(
        record,
        detections=boxes,
        max_detection_conf=highest if work.include.max_conf else msgspec.UNSET,
    )


def _failed(name: str, reason: str) -> DetectorRecord:
    return DetectorRecord(file=name, detections=None, failure=reason)


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
