"""Lays out the review page: which subjects are on it, with which pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from classification.reports import review_classes
from classification.reports.pictures import inlined
from classification.reports.review_page import ANY_DATASET, Entry, Page, View
from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from classification.reports.pictures import InlinePicture
    from classification.reports.review_page import Queue, Sighting, Subject
    from classification.storage import ImageStore

PAGE_BYTES = 25_000_000
# A herd may have a hundred crops; to judge a label by, the likeliest to be wrong do.
MOST_VIEWS = 4

_FRAME_BYTES = 100_000  # the page without subjects
_ENTRY_BYTES = 1_200
_VIEW_BYTES = 900
# A name stands in up to six places; what is no plain letter is spelled out there.
_PLACES = 6
_SPELLED_BYTES = 12
_NOT_PLAIN = re.compile(r"[^\w ./-]", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What to put on the page.

    Attributes:
        side_px: the longer side of each picture is at most this long.
        most: at most so many subjects; None for as many as fit.
        skip: leave out so many of the first.
        dataset_csv: table of the training set, which knows the datasets' classes.
    """

    side_px: int
    most: int | None = None
    skip: int = 0
    dataset_csv: Path | None = None


def lay_out(queue: Queue, store: ImageStore, layout: Layout) -> Page:
    """Returns the page of what is to be reviewed.

    Args:
        queue: all of it.
        store: where the pictures are.
        layout: what to put on the page.

    Raises:
        ArtifactError: the table of the training set is missing or malformed.
    """
    waiting = queue.subjects[layout.skip :]
    subjects = waiting if layout.most is None else waiting[: layout.most]
    classes: Mapping[str, Sequence[str]] = {ANY_DATASET: queue.classes}
    if layout.dataset_csv is not None:
        images = {subject.image for subject in subjects}
        known = review_classes.read(layout.dataset_csv, images)
        classes = known.by_dataset
        subjects = [review_classes.told(subject, known) for subject in subjects]
    seen = look_up(subjects, store, side_px=layout.side_px)
    entries = list(seen) if layout.most else fit(seen, page_bytes=PAGE_BYTES)
    skipped = min(layout.skip, queue.count)
    return Page(
        wording=queue.wording,
        entries=tuple(entries),
        classes_by_dataset=classes,
        skipped=skipped,
        left_out=tuple(subject.image for subject in waiting[len(entries) :]),
        left_out_count=queue.count - skipped - len(entries),
        notes=queue.notes,
    )


def look_up(
    subjects: Sequence[Subject], store: ImageStore, *, side_px: int
) -> Iterator[Entry]:
    """Yields the subjects with pictures, which are read as they are asked for.

    Args:
        subjects: in the order of the page.
        store: where the pictures are.
        side_px: the longer side of each is at most this long.
    """
    sightings = [subject.sightings[:MOST_VIEWS] for subject in subjects]
    names = (sighting.name for sighting in chain.from_iterable(sightings))
    pictures = inlined(names, store, side_px=side_px)
    for subject, some in zip(subjects, sightings, strict=True):
        yield Entry(
            subject, tuple(_view(sighting, *next(pictures)) for sighting in some)
        )


def fit(entries: Iterable[Entry], *, page_bytes: int) -> list[Entry]:
    """Returns the first entries, as many as a page of this size holds."""
    fitting: list[Entry] = []
    free = page_bytes - _FRAME_BYTES
    for entry in entries:
        free -= size_of(entry)
        if free < 0:
            break
        fitting.append(entry)
    return fitting


def size_of(entry: Entry) -> int:
    """Returns how many bytes an entry takes of a page, at most."""
    subject = entry.subject
    names = (
        *(subject.image, subject.dataset, subject.label, subject.split),
        *(subject.dataset_class, subject.location, subject.suggestion),
        *(one.name for one in subject.sightings[:MOST_VIEWS]),
        *(one.predicted for one in subject.sightings[:MOST_VIEWS]),
        *(view.fault for view in entry.views),
    )
    boxes = sum(len(view.sighting.boxes) for view in entry.views)
    return (
        _ENTRY_BYTES
        + _VIEW_BYTES * (len(entry.views) + boxes)
        + _PLACES * sum(map(_spelled_bytes, names))
        + sum(len(view.picture.uri) for view in entry.views if view.picture)
    )


def _spelled_bytes(name: str) -> int:
    return len(name) + _SPELLED_BYTES * len(_NOT_PLAIN.findall(name))


def _view(sighting: Sighting, _: str, picture: InlinePicture | ItemError) -> View:
    if isinstance(picture, ItemError):
        return View(sighting, None, str(picture))
    return View(sighting, picture)
