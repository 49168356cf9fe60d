"""``included_dataset_labels.txt``: the dataset labels that each label is trained on.

Written by ``json_validator``, for people::

    {'bear': {('caltech', 'black bear'), ('idfg', 'bear')},
     'empty': {('caltech', 'empty')}}

A Python literal: label -> set of (dataset, dataset label), both sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.runtime.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from taxonomy.graph import DatasetLabel

FILENAME = "included_dataset_labels.txt"


_WIDTH = 80


def write(path: Path, pairs_by_label: Mapping[str, Collection[DatasetLabel]]) -> None:
    """Writes the dataset labels of each label."""
    lines = (_line(label, pairs_by_label[label]) for label in sorted(pairs_by_label))
    text = "{" + ",\n ".join(lines) + "}\n"
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def _line(label: str, pairs: Collection[DatasetLabel]) -> str:
    """Returns one label's entry, in one line or, if that is long, in one line a pair.

    The standard library's pretty printer would leave a short set in the order of its
    hashes, another one in each run.
    """
    start = f"{label!r}: {{"
    shown = sorted(repr((pair.dataset, pair.label)) for pair in set(pairs))
    if not shown:
        return f"{label!r}: set()"
    line = start + ", ".join(shown) + "}"
    if len(line) + 2 <= _WIDTH:
        return line
    return start + (",\n" + " " * (len(start) + 1)).join(shown) + "}"
