"""Brings images from a store into a folder: what is missing, by threads, each file whole."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from classification.runtime import containment, parallel
from classification.runtime.atomic import replacing
from classification.runtime.errors import ItemError, StorageError
from classification.storage.local import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from classification.artifacts.step_log import StepLog
    from classification.runtime.contents import Stamp
    from classification.runtime.name_set import Names
    from classification.storage import ImageStore

IMAGES, EXISTING = "images", "images_existing"
LINKED, FETCHED, FAILED = "images_linked", "images_fetched", "images_failed"
_FAILED_NAMES = "images_failed_download"

# The disk is at fault, and no other file would fare better.
_NO_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class Errand(NamedTuple):
    """An image, and the file that it is to become.

    Attributes:
        image: its name in the store.
        target: the file, relative to the folder.
    """

    image: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Where images go.

    Attributes:
        path: the folder.
        existing: says which files it has, by their names relative to it.
        verify: ask the store whether images that are there changed, and fetch those anew.
        at_hand: another folder that may hold a file of the same name, which is linked
            instead of fetched; or None.
        alike: targets that a disk may take for an earlier one, each with that one; they
            fail, since they could replace it.
    """

    path: Path
    existing: Names
    verify: bool = False
    at_hand: Path | None = None
    alike: Mapping[str, str] = field(default_factory=dict)


class _How(Enum):
    KEPT = auto()
    LINKED = auto()
    FETCHED = auto()
    FAILED = auto()


class _Result(NamedTuple):
    image: str
    how: _How
    reason: str = ""


def fetch_missing(
    errands: Iterable[Errand],
    store: ImageStore,
    folder: Folder,
    *,
    threads: int,
    log: StepLog,
) -> None:
    """Fetches the images whose files are missing, and says in ``log`` what became of them.

    Memory does not grow with the number of images, but for those that fail.

    Args:
        errands: every image, read lazily; no two of one target.
        store: where images are.
        folder: where they go.
        threads: number of images fetched at once.
        log: gets the counts, the failures, and ``images_failed_download``, a list of the
            names of images that failed.

    Raises:
        StorageError: the disk is full or out of order, or the store does not answer.
    """
    log.counts |= dict.fromkeys((IMAGES, EXISTING, LINKED, FETCHED, FAILED), 0)
    log.extra[_FAILED_NAMES] = []
    fetch = partial(_fetch, store=store, folder=folder)
    missing = _find_missing(errands, folder, log)
    ahead = parallel.FAR_AHEAD
    for result in parallel.ordered_map(fetch, missing, threads=threads, ahead=ahead):
        log.counts[EXISTING] += result.how is _How.KEPT
        log.counts[LINKED] += result.how is _How.LINKED
        log.counts[FETCHED] += result.how is _How.FETCHED
        if result.reason:
            _note_failure(log, result.image, result.reason)


def _find_missing(
    errands: Iterable[Errand], folder: Folder, log: StepLog
) -> Iterator[Errand]:
    for errand in errands:
        log.counts[IMAGES] += 1
        if first := folder.alike.get(errand.target):
            _note_failure(log, errand.image, containment.alike_reason(first))
        elif not folder.verify and errand.target in folder.existing:
            log.counts[EXISTING] += 1
        else:
            yield errand


def _note_failure(log: StepLog, image: str, reason: str) -> None:
    log.counts[FAILED] += 1
    log.failures.append((image, reason))
    log.extra[_FAILED_NAMES].append(image)


def _fetch(errand: Errand, *, store: ImageStore, folder: Folder) -> _Result:
    try:
        target = containment.inside(folder.path, errand.target)
        is_there = folder.verify and errand.target in folder.existing
        if is_there and not _is_outdated(target, store.stamp(errand.image)):
            return _Result(errand.image, _How.KEPT)
        if (
            not is_there
            and folder.at_hand is not None
            and _link(folder.at_hand / errand.target, target)
        ):
            return _Result(errand.image, _How.LINKED)
        write_image(folder.path, errand.target, store.read(errand.image))
    except ItemError as error:
        return _Result(errand.image, _How.FAILED, str(error))
    return _Result(errand.image, _How.FETCHED)


def _is_outdated(file: Path, now: Stamp | None) -> bool:
    """Say whether an image has another size than its file, or was written after it."""
    if now is None:
        return False  # nothing tells
    try:
        status = file.stat()
    except OSError:
        return True
    is_other_size = now.size not in {-1, status.st_size}
    return is_other_size or now.modified > status.st_mtime_ns


def _link(source: Path, target: Path) -> bool:
    """Makes ``target`` a hard link to a file, or a copy of it; False if there is none."""
    try:
        if not source.is_file() or not source.stat().st_size:
            return False
    except OSError:
        return False
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source.resolve(), target)
        return True
    write_image(target.parent, target.name, read_file(source))
    return True


def write_image(folder: Path, name: str, data: bytes) -> None:
    """Writes an image into a folder, under its name there, whole.

    Raises:
        ItemError: this one cannot be written: its name is refused, see ``containment``,
            or a file is where a folder should be.
        StorageError: no file can.
    """
    try:
        path = containment.inside(folder, name)
        with replacing(path, sync=False, follow=False) as file:
            file.write(data)
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _NO_DISK:
            raise
        raise ItemError(str(error)) from error
