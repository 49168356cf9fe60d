"""The crops of many images: what is missing is cut by threads, and the log counts it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import crop_options
from classification.artifacts.crop_options import CropOptions
from classification.cropping.existing import ExistingCrops
from classification.cropping.harvest import Harvest, Settings, harvest
from classification.runtime import containment, locking, parallel
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from classification.artifacts.step_log import StepLog
    from classification.cropping.wanted import WantedCrop
    from classification.storage import ImageStore

IMAGES, IMAGES_FAILED = "images", "images_failed"
CROPS, CROPS_EXISTING = "crops", "crops_existing"


@dataclass(frozen=True, slots=True)
class Job:
    """An image, and all crops that are wanted of it.

    Attributes:
        image: name of the image in the store.
        wanted: its crops, those that exist included; may be none.
        as_stored: its boxes were drawn on the pixels as they are stored, whatever the
            EXIF orientation.
    """

    image: str
    wanted: Sequence[WantedCrop]
    as_stored: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where images come from, where crops go, and how they are cut.

    Attributes:
        store: holds the images.
        crops_dir: root of the crops.
        settings: how crops are cut and saved.
        threads: number of images worked on at once.
    """

    store: ImageStore
    crops_dir: Path
    settings: Settings
    threads: int


def options_to_log(
    settings: Settings, *, threshold: float, threads: int
) -> dict[str, Any]:
    """Returns what a step log says of how crops are cut."""
    return {
        "shape": settings.shape.value,
        "threshold": threshold,
        "jpeg_quality": settings.jpeg_quality,
        "max_pixels": settings.max_pixels,
        "ignore_exif": not settings.apply_exif,
        "check_crops_valid": settings.check_existing,
        "threads": threads,
    }


@contextmanager
def filling(
    crops_dir: Path, settings: Settings, step: str, *work: object
) -> Iterator[None]:
    """Holds a folder of crops for a run, which may add to it inside the block.

    Args:
        crops_dir: root of the crops; made if missing.
        settings: how the run cuts crops.
        step: name of the step.
        work: tells this run from others that fill the folder at the same time, such as
            the file that names the boxes.

    Raises:
        ArtifactError: what is noted of the crops that are there breaks its format.
        ConfigurationError: the step cut them in another way.
        StorageError: another run is at the same work, or the folder cannot be written.
    """
    with locking.only_run(crops_dir, step, *work):
        path = crop_options.path_of(crops_dir, step)
        _refuse_others(path, _lasting(settings))
        yield


def _lasting(settings: Settings) -> CropOptions:
    return CropOptions(
        shape=settings.shape.value,
        jpeg_quality=settings.jpeg_quality,
        ignore_exif=not settings.apply_exif,
    )


def _refuse_others(path: Path, options: CropOptions) -> None:
    """Sees that crops are cut as those that are there; notes how, where nothing tells."""
    with locking.exclusive(path, wait=True):
        if not path.exists():
            crop_options.write(path, options)
            return
    found = msgspec.to_builtins(crop_options.read(path))
    for option, value in msgspec.to_builtins(options).items():
        if found[option] != value:
            raise ConfigurationError(
                f"{path.parent} holds crops of {option} {found[option]}, not {value}; "
                f"choose another folder, or delete {path} to have both kinds in it"
            )


def cut_missing(
    jobs: Iterable[Job], place: Place, log: StepLog, alike: Mapping[str, str]
) -> None:
    """Cuts the crops that are missing, and writes down in ``log`` what became of them.

    Memory does not grow with the number of images, but for those that fail.

    Args:
        jobs: every image, read lazily.
        place: where images and crops are.
        log: gets the counts ``images`` (of which a crop is wanted), ``images_failed``,
            ``crops`` (new ones) and ``crops_existing``, the failures and notes, and the
            keys of the original's log.
        alike: images that a disk may take for another one, by name, each with the name
            of that one; they fail, since their crops could replace its crops.

    Raises:
        StorageError: the crops folder cannot be written, or the store reached.
    """
    log.counts |= {IMAGES: 0, IMAGES_FAILED: 0, CROPS: 0, CROPS_EXISTING: 0}
    failed: list[str] = []
    log.extra["images_failed_download_or_crop"] = failed
    cut = partial(_cut, place=place)
    missing = _find_missing(_without_alike(jobs, alike, log, failed), place, log)
    threads, ahead = place.threads, parallel.FAR_AHEAD
    for result in parallel.ordered_map(cut, missing, threads=threads, ahead=ahead):
        _record(log, result)
        if result.failures:
            failed.append(result.image)
    log.extra["num_new_downloads"] = 0
    log.extra["num_new_crops"] = log.counts[CROPS]


def _without_alike(
    jobs: Iterable[Job], alike: Mapping[str, str], log: StepLog, failed: list[str]
) -> Iterator[Job]:
    """Yields the images that no disk takes for another one; the others fail."""
    for job in jobs:
        if job.image in alike and job.wanted:
            reason = containment.alike_reason(alike[job.image])
            _record(log, Harvest(job.image, failures=[(job.image, reason)]))
            log.counts[IMAGES] += 1
            failed.append(job.image)
        else:
            yield job


def _find_missing(jobs: Iterable[Job], place: Place, log: StepLog) -> Iterator[Job]:
    """Yields the images of which a crop is missing, and counts what is there."""
    # Where existing crops are to be decoded, each has to be opened anyway.
    listed = not place.settings.check_existing
    existing = ExistingCrops(place.crops_dir) if listed else ()
    for job in jobs:
        log.counts[IMAGES] += bool(job.wanted)
        missing = [crop for crop in job.wanted if crop.name not in existing]
        log.counts[CROPS_EXISTING] += len(job.wanted) - len(missing)
        if missing:
            yield Job(job.image, missing, job.as_stored)


def _cut(job: Job, *, place: Place) -> Harvest:
    settings = place.settings
    if job.as_stored:
        settings = replace(settings, apply_exif=False)
    return harvest(
        job.image,
        job.wanted,
        store=place.store,
        crops_dir=place.crops_dir,
        settings=settings,
    )


def _record(log: StepLog, result: Harvest) -> None:
    log.counts[CROPS] += result.new
    log.counts[CROPS_EXISTING] += result.existing
    log.counts[IMAGES_FAILED] += bool(result.failures)
    log.notes += result.notes
    log.failures += result.failures
