"""Results of a detector in the journal of a run: taken up again, and made an output.

A record of the journal is what ``batches.detect`` yields of an image, the last of its name:
an image that changed since is detected anew, and so are those beside it in its batch.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import detections
from classification.runtime.contents import Contents
from classification.runtime.name_set import NameSet
from classification.storage.changes import current_of_all, digest_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from classification.artifacts.step_log import StepLog
    from classification.runtime.journal import Journal
    from classification.storage import ImageStore
    from detection.image_files import ImageFile
    from detection.models import ModelFile

_logger = logging.getLogger(__name__)


@dataclass
class Known:
    """What an earlier run left.

    Attributes:
        done: names of the images whose results are still of them.
        changed: how many images are others now.
        untold: of how many of ``done`` nothing tells whether they are.
    """

    done: NameSet = field(default_factory=NameSet)
    changed: int = 0
    untold: int = 0


def info(model: ModelFile, further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the ``info`` of what a model found.

    Args:
        model: the detector.
        further: keys beside those that say which detector it was.
    """
    said: dict[str, Any] = {
        "format_version": detections.FORMAT_VERSION,
        "detector": model.name,
        **(further or {}),
    }
    if metadata := model.metadata():
        said["detector_metadata"] = metadata
    return said


def name_of(record: Any) -> str:  # noqa: ANN401 - a record of a journal
    """Return the name of the image that a record is of."""
    name: str = record["image"]["file"]
    return name


def latest(kept: Journal, files: Iterable[ImageFile]) -> Iterator[tuple[Any, str]]:
    """Yield the records of a run over ``files``, each with its image's path.

    The journal of such a run holds the first of them, in their order.
    """
    for record, file in zip(kept.read_latest(name_of), files, strict=False):
        if name_of(record) == file.name:
            yield record, file.path


def check(  # noqa: PLR0913 - what there is to compare
    kept: Journal,
    records: Iterable[tuple[Any, str]],
    store: ImageStore,
    *,
    name_of: Callable[[Any], str] = name_of,
    verify: bool,
    threads: int,
) -> Known:
    """See which results of an earlier run are still of their images; say what is not.

    An image that was written anew with the same bytes has its new time noted. One that
    could not be read is done as long as it cannot.

    Args:
        kept: the journal.
        records: its records, each with the path of its image in the store.
        store: has the images.
        name_of: returns the name to note of a record that is done.
        verify: compare the bytes of all images.
        threads: how many images are looked at side by side.
    """
    known = Known()
    items = ((record, path, contents_of(record)) for record, path in records)
    for record, before, now in current_of_all(
        store, items, verify=verify, threads=threads
    ):
        if digest_in(before) != digest_in(now):
            known.changed += 1
            continue
        known.done.add(name_of(record))
        if before is None or now is None:
            continue
        if now.stamp is None:
            known.untold += 1
        elif now.stamp != before.stamp:
            kept.append([record | {"contents": now}])
    _say(known)
    return known


def _say(known: Known) -> None:
    if known.changed:
        _logger.warning(
            "%d images changed since they were detected; they are detected anew",
            known.changed,
        )
    if known.untold:
        _logger.warning(
            "%d images are taken to be unchanged: their servers tell neither ETag, MD5, "
            "time nor length; --verify compares their bytes",
            known.untold,
        )


def contents_of(record: Any) -> Contents | None:  # noqa: ANN401 - a record of a journal
    """Return what the image of a record was; None where it could not be read."""
    return msgspec.convert(record["contents"], Contents | None)


def documents(kept: Journal, log: StepLog) -> Iterator[bytes]:
    """Yields each image's JSON from the journal, and counts what it sees.

    Args:
        kept: its records are what ``batches.detect`` yields.
        log: gets counts, failures and notes, once all are through.
    """
    counts: Counter[str] = Counter(images=0, boxes=0, failed=0, images_with_boxes=0)
    for record in kept.read_latest(name_of):
        image = record["image"]
        counts["images"] += 1
        if image["detections"] is None:
            counts["failed"] += 1
            log.failures.append((image["file"], image["failure"]))
        elif image["detections"]:
            counts["boxes"] += len(image["detections"])
            counts["images_with_boxes"] += 1
        if record["note"]:
            log.notes.append((image["file"], record["note"]))
        yield msgspec.json.encode(image)
    log.counts.update(counts)


def images(kept: Journal) -> Iterator[tuple[str, Contents | None]]:
    """Yield each image's name and contents from the journal, for the record beside."""
    for record in kept.read_latest(name_of):
        yield name_of(record), contents_of(record)
