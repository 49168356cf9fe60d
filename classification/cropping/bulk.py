"""The crops of many images: what is missing is cut by threads, and the log counts it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from classification.artifacts import crop_record
from classification.artifacts.crop_record import CropRecord
from classification.cropping.harvest import Harvest, Settings, Target, harvest
from classification.cropping.recorded import RecordedCrops
from classification.runtime import containment, locking, parallel
from classification.runtime.name_set import NameSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from classification.artifacts.step_log import StepLog
    from classification.cropping.wanted import Detector, WantedCrop
    from classification.storage import ImageStore

IMAGES, IMAGES_FAILED = "images", "images_failed"
CROPS, CROPS_EXISTING = "crops", "crops_existing"
# Counted only where there are such.
CROPS_UNRECORDED, CROPS_REMOVED = "crops_without_record", "crops_removed"
IMAGES_UNSEEN, IMAGES_UNTOLD = "images_not_compared", "images_without_stamp"
IMAGES_CHANGED = "images_changed_since_detection"
CUT_ANEW = "crops_cut_anew"  # by reason
_LOOK_EVERY = 32  # images, whether the crops folder is still there
_IS_CHANGED = "it changed since it was detected, so its boxes may not fit"


@dataclass(frozen=True, slots=True)
class Job:
    """An image, and all crops that are wanted of it.

    Attributes:
        image: name of the image in the store.
        wanted: its crops, those that exist included; may be none.
        as_stored: its boxes were drawn on the pixels as they are stored, whatever the
            EXIF orientation.
        detector: whose boxes these are; None where people drew them.
        digest: of the image in which the boxes were found; None where it is not known.
    """

    image: str
    wanted: Sequence[WantedCrop]
    as_stored: bool = False
    detector: Detector | None = None
    digest: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where images come from, where crops go, and how they are cut.

    Attributes:
        store: holds the images.
        crops_dir: root of the crops.
        settings: how crops are cut and saved.
        threads: number of images worked on at once.
        verify: compare the bytes of all images with those that crops were cut from.
    """

    store: ImageStore
    crops_dir: Path
    settings: Settings
    threads: int
    verify: bool = False


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
def filling(crops_dir: Path, step: str, *work: object) -> Iterator[RecordedCrops]:
    """Hold a folder of crops for a run, which may add to it inside the block.

    Args:
        crops_dir: root of the crops; made if missing.
        step: name of the step.
        work: tells this run from others that fill the folder at the same time, such as
            the file that names the boxes.

    Raises:
        StorageError: another run is at the same work, or the folder cannot be written,
            or vanishes.
    """
    with (
        locking.only_run(crops_dir, step, *work),
        RecordedCrops.filling(crops_dir) as crops,
    ):
        yield crops
        crops.check_is_there()


def cut_missing(
    jobs: Iterable[Job],
    place: Place,
    crops: RecordedCrops,
    log: StepLog,
    alike: Mapping[str, str],
) -> Given:
    """Cut the crops that are missing or of something else; log what became of them.

    Memory does not grow with the number of images, but for those that fail, and some
    bytes for each name.

    Args:
        jobs: every image, read lazily.
        place: where images and crops are.
        crops: those that are there.
        log: gets the counts ``images`` (of which a crop is wanted), ``images_failed``,
            ``crops`` (new ones), ``crops_existing`` and further ones where they are not
            0, the failures and notes, and the keys of the original's log.
        alike: images that a disk may take for another one, by name, each with the name
            of that one; they fail, since their crops could replace its crops.

    Returns:
        The names of all images and wanted crops.

    Raises:
        StorageError: the crops folder cannot be written, or the store reached.
    """
    log.counts |= {IMAGES: 0, IMAGES_FAILED: 0, CROPS: 0, CROPS_EXISTING: 0}
    failed: list[str] = []
    log.extra["images_failed_download_or_crop"] = failed
    given = Given()
    distinct = _without_alike(given.noting(jobs), alike, log, failed)
    orders = (_order(job, place, crops, log) for job in distinct if job.wanted)
    cut = partial(_cut, place=place)
    threads, ahead = place.threads, parallel.FAR_AHEAD
    results = parallel.ordered_map(cut, orders, threads=threads, ahead=ahead)
    for number, (job, result) in enumerate(results):
        _record(log, result, job.digest)
        _index(crops, result)
        if number % _LOOK_EVERY == 0:
            crops.check_is_there()
        if result.failures:
            failed.append(result.image)
    log.extra["num_new_downloads"] = 0
    log.extra["num_new_crops"] = log.counts[CROPS]
    return given


class Given:
    """The images and crops of a run, in eight bytes each.

    Attributes:
        images: their names, folded.
        crops: names of those that are wanted, folded.
        detectors: digests of the detectors of these boxes, by name; empty text where one
            is not known, and for people.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.images, self.crops = NameSet(), NameSet()
        self.detectors: dict[str, set[str]] = {}

    def noting(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield jobs, and take down what they are of."""
        for job in jobs:
            self.images.add(containment.fold(job.image))
            for crop in job.wanted:
                self.crops.add(containment.fold(crop.name))
            name, digest = job.detector or ("", "")
            self.detectors.setdefault(name, set()).add(digest)
            yield job


def _without_alike(
    jobs: Iterable[Job], alike: Mapping[str, str], log: StepLog, failed: list[str]
) -> Iterator[Job]:
    """Yields the images that no disk takes for another one; the others fail."""
    for job in jobs:
        log.counts[IMAGES] += bool(job.wanted)
        if job.image in alike and job.wanted:
            reason = containment.alike_reason(alike[job.image])
            log.counts[IMAGES_FAILED] += 1
            log.failures.append((job.image, reason))
            failed.append(job.image)
        else:
            yield job


class _Order(NamedTuple):
    """What a thread is to do.

    Attributes:
        job: the image.
        targets: its crops, and what is there of them.
        settings: how they are cut.
    """

    job: Job
    targets: list[Target]
    settings: Settings


def _order(job: Job, place: Place, crops: RecordedCrops, log: StepLog) -> _Order:
    """Look what is there of an image's crops."""
    settings = place.settings
    if job.as_stored:
        settings = replace(settings, apply_exif=False)
    detector = job.detector
    targets = []
    for crop in job.wanted:
        record = CropRecord(
            image=job.image,
            image_digest=None,
            box=crop.box,
            geometry=settings.geometry,
            detector=detector.name if detector else None,
            detector_digest=(detector.digest or None) if detector else None,
            annotated=detector is None,
        )
        found, reason = crops.find(crop.name), ""
        if found is not None and found.record is None:
            count(log, CROPS_UNRECORDED)
        elif found is not None and found.record is not None:
            reason = crop_record.difference(found.record, record)
        targets.append(Target(crop.name, record, found, reason))
    return _Order(job, targets, settings)


def _cut(order: _Order, *, place: Place) -> tuple[Job, Harvest]:
    return order.job, harvest(
        order.job.image,
        order.targets,
        store=place.store,
        crops_dir=place.crops_dir,
        settings=order.settings,
        verify=place.verify,
    )


def count(log: StepLog, what: str, number: int = 1) -> None:
    """Count something that is only in the log where there is any."""
    if number:
        log.counts[what] = log.counts.get(what, 0) + number


def _record(log: StepLog, result: Harvest, detected: str | None) -> None:
    log.counts[CROPS] += len(result.written)
    log.counts[CROPS_EXISTING] += len(result.existing)
    log.counts[IMAGES_FAILED] += bool(result.failures)
    count(log, CROPS_REMOVED, len(result.removed))
    anew = log.extra.setdefault(CUT_ANEW, {}) if result.anew else {}
    for reason in result.anew:
        anew[reason] = anew.get(reason, 0) + 1
    log.notes += result.notes
    log.failures += result.failures
    now = result.contents
    if result.unseen:
        count(log, IMAGES_UNSEEN)
        log.notes.append((
            result.image, f"not compared with its crops: {result.unseen}",
        ))  # fmt: skip
    elif now and now.stamp is None:
        count(log, IMAGES_UNTOLD)
    if now and detected not in {None, now.digest}:
        count(log, IMAGES_CHANGED)
        log.notes.append((result.image, _IS_CHANGED))


def _index(crops: RecordedCrops, result: Harvest) -> None:
    """Note crops that were cut, and what their images are now."""
    for name, entry in result.written:
        crops.index.add(name, entry)
    now = result.contents
    for crop in result.existing if now else ():
        if now and (found := crop.found) and found.record and found.image != now.stamp:
            crops.index.add(crop.name, found._replace(image=now.stamp))


def remarks(log: StepLog) -> list[str]:
    """Return what the last line says beside the counts that are always there."""
    counts, anew = log.counts, log.extra.get(CUT_ANEW, {})
    why = ", ".join(f"{number} x {reason}" for reason, number in sorted(anew.items()))
    said = {
        f"stale crops were cut anew ({why})": sum(anew.values()),
        "stale crops were removed (their image or detector is another now)": counts.get(
            CROPS_REMOVED, 0
        ),
        "crops do not say what they were cut from, and are kept": counts.get(
            CROPS_UNRECORDED, 0
        ),
        "images could not be compared with their crops": counts.get(IMAGES_UNSEEN, 0),
        "images are at a server that tells neither tag, time nor length, so whether "
        "they changed is not known": counts.get(IMAGES_UNTOLD, 0),
        "images changed since they were detected, so their boxes may not fit; run the "
        "detector again": counts.get(IMAGES_CHANGED, 0),
    }
    return [f"{number} {text}" for text, number in said.items() if number]
