"""Reads a table of candidates into what the review page shows.

Crops of one image that have one label are one subject: it is the image that has the
label, and a correction is an image's, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import mislabeled_candidates
from classification.artifacts.layout import CropName
from classification.reports.review_page import LABELS, Queue, Sighting, Subject
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from classification.artifacts.mislabeled_candidates import Candidate


def read(path: Path) -> Queue:
    """Reads a table of candidates.

    Raises:
        ArtifactError: the table is missing or breaks its format.
    """
    candidates = mislabeled_candidates.in_order(mislabeled_candidates.read(path))
    with in_file(path):
        subjects = group(candidates)
    names = {name for one in candidates for name in (one.label, one.predicted)}
    return Queue(
        wording=LABELS, subjects=subjects, count=len(subjects), classes=sorted(names)
    )


def group(candidates: Iterable[Candidate]) -> list[Subject]:
    """Puts crops of one image and label together, where the first of them stands.

    A crop that stands in several splits is taken once, as it stands first.

    Raises:
        ArtifactError: a path is no crop's.
    """
    crops: dict[tuple[str, str], dict[str, Candidate]] = {}
    for candidate in candidates:
        image = CropName.parse(candidate.path).image
        of_label = crops.setdefault((image, candidate.label), {})
        of_label.setdefault(candidate.path, candidate)
    return [_to_subject(image, [*some.values()]) for (image, _), some in crops.items()]


def _to_subject(image: str, crops: list[Candidate]) -> Subject:
    first = crops[0]
    return Subject(
        image=image,
        dataset=first.dataset,
        label=first.label,
        split=first.split,
        suggestion=first.predicted,
        sightings=tuple(
            Sighting(
                name=crop.path,
                label_probability=crop.label_probability,
                predicted=crop.predicted,
                predicted_probability=crop.predicted_probability,
            )
            for crop in crops
        ),
    )
