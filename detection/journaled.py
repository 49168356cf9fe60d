"""A detections JSON out of the journal of a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import detections

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from classification.artifacts.step_log import StepLog
    from classification.runtime.journal import Journal
    from detection.models import ModelFile


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


def documents(kept: Journal, log: StepLog) -> Iterator[bytes]:
    """Yields each image's JSON from the journal, and counts what it sees.

    Args:
        kept: its records are what ``batches.detect`` yields.
        log: gets counts, failures and notes, once all are through.
    """
    counts: Counter[str] = Counter(images=0, boxes=0, failed=0, images_with_boxes=0)
    for record in kept.read():
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
