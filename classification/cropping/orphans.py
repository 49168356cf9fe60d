"""Crops in a folder that no box gives: of boxes, images or detectors that were before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts.layout import CropName
from classification.cropping.harvest import remove_crop
from classification.cropping.listing import images_below
from classification.runtime import containment
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from classification.artifacts.step_log import StepLog
    from classification.cropping.bulk import Given
    from classification.cropping.recorded import RecordedCrops

ORPHANS, REMOVED = "orphans", "orphans_removed"
_MOST_LISTED = 100_000


def add_flag(parser: argparse._ActionsContainer) -> None:
    """Declare ``--remove-orphans``."""
    parser.add_argument(
        "--remove-orphans",
        action="store_true",
        help="delete the crops below the crops folder that no box of at least the "
        "threshold gives: those named after an image of the file, and others that carry "
        "the record of this toolkit; without it, they are counted and listed in the log",
    )


def find(crops_dir: Path, given: Given, crops: RecordedCrops) -> Iterator[str]:
    """Yield the names of the crops that a run from nothing would not make.

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
            yield name


def report(
    crops_dir: Path, given: Given, crops: RecordedCrops, log: StepLog, *, remove: bool
) -> None:
    """List the orphans in the log; remove them if asked to.

    The log gets the names of the first hundred thousand, and the count of all.
    """
    listed: list[str] = []
    count = 0
    for name in find(crops_dir, given, crops):
        count += 1
        if len(listed) < _MOST_LISTED:
            listed.append(name)
        if remove:
            remove_crop(crops_dir, name)
    if count:
        log.counts[REMOVED if remove else ORPHANS] = count
        log.extra[ORPHANS] = listed


def remarks(log: StepLog) -> list[str]:
    """Return what the last line says of orphans."""
    if removed := log.counts.get(REMOVED):
        return [f"{removed} crops that no box gives were removed"]
    if count := log.counts.get(ORPHANS):
        return [f"{count} crops are of no box (--remove-orphans deletes them)"]
    return []
