"""``included_dataset_labels.txt``: the dataset labels that each label is trained on.

Written by ``json_validator``, for people::

    {'bear': {('caltech', 'black bear'), ('idfg', 'bear')},
     'empty': {('caltech', 'empty')}}

A Python literal: label -> set of (dataset, dataset label), both sorted.
"""

from __future__ import annotations

import pprint
from typing import TYPE_CHECKING

from classification.runtime.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from taxonomy.graph import DatasetLabel

FILENAME = "included_dataset_labels.txt"


def write(path: Path, pairs_by_label: Mapping[str, Collection[DatasetLabel]]) -> None:
    """Writes the dataset labels of each label."""
    document = {
        label: {(pair.dataset, pair.label) for pair in pairs}
        for label, pairs in pairs_by_label.items()
    }
    with replacing(path) as file:
        file.write(pprint.pformat(document).encode(errors="backslashreplace") + b"\n")
