"""Crops in a folder that no box gives: of boxes, images or detectors that were before."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from classification.artifacts.layout import CropName
from classification.cropping import bulk
from classification.cropping.harvest import remove_crop
from classification.cropping.listing import images_below
from classification.runtime import containment
from classification.runtime.contents import Contents
from classification.runtime.errors import ArtifactError, ItemError
from classification.storage import changes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from classification.artifacts.crop_index import Entry
    from classification.artifacts.step_log import StepLog
    from classification.cropping.bulk import Given, Place
    from classification.cropping.recorded import RecordedCrops

ORPHANS, REMOVED = "orphans", "orphans_removed"
_MOST_LISTED = 100_000

_logger = logging.getLogger(__name__)


def add_flag(parser: argparse._ActionsContainer) -> None:
    """Declare ``--remove-orphans``."""
    parser.add_argument(
        "--remove-orphans",
        action="store_true",
        help="delete the crops below the crops folder that no box of at least the "
        "threshold gives: those named after an image of the file, and others that carry "
        "the record of this toolkit; without it, they are counted and listed in the log",
    )


def find(
    crops_dir: Path, given: Given, crops: RecordedCrops
) -> Iterator[tuple[str, Entry | None]]:
    """Yield the crops that a run from nothing would not make, and what is known of each.

    Files that are named as no crop do not count, nor those of other images that carry no
    record: others may have put them there.

    Raises:
        StorageError: a folder cannot be listed.
    """
    for name in images_below(crops_dir):
        try:
            image = CropName.parse(name).image
        except ArtifactError:
            continue
        if containment.fold(name) in given.crops:
            continue
        entry = crops.find(name)
        if containment.fold(image) in given.images or (entry and entry.record):
            yield name, entry


def report(
    place: Place, given: Given, crops: RecordedCrops, log: StepLog, *, remove: bool
) -> None:
    """List the orphans in the log; remove them if asked to.

    A shard knows the crops of its own images alone, and leaves this to the run without
    ``--shard``.

    Crops of an image of the file that was replaced since, or of a detector that was
    trained anew under its name, are removed in any case, as others of them are cut anew.

    The log gets the names of the first hundred thousand, and the count of all.
    """
    if log.shard is not None:
        if remove:
            _logger.info("--remove-orphans: the run without --shard deletes them")
        return
    listed: list[str] = []
    for name, entry in find(place.crops_dir, given, crops):
        if remove or _is_outdated(entry, place, given):
            remove_crop(place.crops_dir, name)
            bulk.count(log, REMOVED if remove else bulk.CROPS_REMOVED)
        else:
            bulk.count(log, ORPHANS)
        if len(listed) < _MOST_LISTED:
            listed.append(name)
    if listed:
        log.extra[ORPHANS] = listed


def _is_outdated(entry: Entry | None, place: Place, given: Given) -> bool:
    """Say whether a crop's image, or its detector, is another by now."""
    record = entry.record if entry else None
    if not (entry and record and containment.fold(record.image) in given.images):
        return False
    digests = given.detectors.get(record.detector or "")
    if digests is None or record.image_digest is None:
        return False
    if record.detector_digest and not digests & {"", record.detector_digest}:
        return True
    known = Contents(record.image_digest, entry.image)
    try:
        now = changes.current(place.store, record.image, known, verify=place.verify)
    except ItemError:
        return False
    return now.digest != known.digest


def remarks(log: StepLog) -> list[str]:
    """Return what the last line says of orphans."""
    if removed := log.counts.get(REMOVED):
        return [f"{removed} stale crops, which no box gives, were removed"]
    if count := log.counts.get(ORPHANS):
        return [f"{count} stale crops are of no box (--remove-orphans deletes them)"]
    return []
