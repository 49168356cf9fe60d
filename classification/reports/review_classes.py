"""What a dataset calls what a classifier calls by its labels.

A correction names a class of the dataset, such as ``elk``, where the classifier may learn
a label of many classes, such as ``cervid``. The table of crops that it learned from knows
both.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from classification.artifacts import dataset_csv
from classification.artifacts.layout import CropName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from classification.artifacts.dataset_csv import CropRow
    from classification.reports.review_page import Subject


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """What a training set says of datasets and images.

    Attributes:
        by_dataset: every class of each dataset, sorted.
        by_label: the classes of a dataset that a label stands for, by (dataset, label).
        of_image: what images are called, and where they were taken.
    """

    by_dataset: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_label: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    of_image: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def read(path: Path, images: Collection[str]) -> Classes:
    """Reads a table of crops, streaming.

    Args:
        path: classification_ds.csv.
        images: of which to know class and location.

    Raises:
        ArtifactError: the table is missing or malformed, or a path is no crop's.
    """
    return gather(dataset_csv.read(path), images)


def gather(rows: Iterable[CropRow], images: Collection[str]) -> Classes:
    """Returns what the rows say; of an image of several classes, all of them."""
    by_label: dict[tuple[str, str], set[str]] = {}
    classes: dict[str, set[str]] = {}
    location: dict[str, str] = {}
    for row in rows:
        for label in row.labels:
            by_label.setdefault((row.dataset, label), set()).add(row.dataset_class)
        image = CropName.parse(row.path).image
        if image in images:
            classes.setdefault(image, set()).add(row.dataset_class)
            location[image] = row.location
    by_dataset: dict[str, set[str]] = {}
    for (dataset, _), some in by_label.items():
        by_dataset.setdefault(dataset, set()).update(some)
    return Classes(
        by_dataset={
            name: tuple(sorted(by_dataset[name])) for name in sorted(by_dataset)
        },
        by_label={key: tuple(sorted(some)) for key, some in by_label.items()},
        of_image={
            image: (", ".join(sorted(some)), location[image])
            for image, some in classes.items()
        },
    )


def told(subject: Subject, classes: Classes) -> Subject:
    """Adds to a subject what the training set says of it."""
    dataset_class, location = classes.of_image.get(subject.image, ("", ""))
    meant = classes.by_label.get((subject.dataset, subject.predicted), ())
    return replace(
        subject,
        dataset_class=dataset_class,
        location=location,
        suggestion=meant[0] if len(meant) == 1 else "",
    )
