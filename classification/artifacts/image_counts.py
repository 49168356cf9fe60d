"""``image_counts_by_label_{presample,sampled}.json``: how many images each label has.

Written by ``json_validator``, before and after ``max_count``::

    {
     "bear": 812,
     "empty": 50000
    }

Labels are sorted. An image of several labels counts in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import _json
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PRESAMPLE_FILENAME = "image_counts_by_label_presample.json"
SAMPLED_FILENAME = "image_counts_by_label_sampled.json"


def read(path: Path) -> dict[str, int]:
    """Reads and checks how many images each label has.

    Raises:
        ArtifactError: the file is missing or breaks the format.
    """
    with in_file(path):
        document = _json.read_object(path)
        for label, count in document.items():
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise ArtifactError("a number of images expected", where=label)
        return document


def write(path: Path, count_by_label: Mapping[str, int]) -> None:
    """Writes how many images each label has."""
    _json.write_object(
        path, {label: count_by_label[label] for label in sorted(count_by_label)}
    )
