"""``label_index.json`` (also ``index_to_name.json``): the names behind class ids.

Written by ``create_classification_dataset`` and ``aggregate_classifier_probs``, and, on one
line, by ``evaluate_model`` where a target mapping adds the label ``other``; read by
``run_classifier``, ``evaluate_model``, ``map_classification_categories``,
``merge_classification_detection_output``, ``report_results``::

    {
     "0": "bear",
     "1": "deer"
    }

Keys are the whole numbers from 0 without a gap, as strings; the order of the file does
not matter, the numbers do. No name stands twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from classification.artifacts import _json
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILENAME = "label_index.json"


def from_dict(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names in id order.

    Raises:
        ArtifactError: ids are not 0, 1, …, or a name is empty, no string, or repeated.
    """
    names: dict[str, None] = {}
    for index in range(len(document)):
        name = document.get(str(index))
        if not isinstance(name, str) or not name:
            raise ArtifactError(
                "expected a name for each id from 0 on", where=str(index)
            )
        if name in names:
            raise ArtifactError(f"the name {name!r} stands twice", where=str(index))
        names[name] = None
    return tuple(names)


def to_dict(names: Sequence[str]) -> dict[str, str]:
    """Returns the document to write."""
    return {str(index): name for index, name in enumerate(names)}


def read(path: Path) -> tuple[str, ...]:
    """Reads and checks a label index; returns the names in id order."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def find(logdir: Path) -> Path | None:
    """Returns the label index of an evaluation: in its folder, or in the one above."""
    paths = [folder / FILENAME for folder in (logdir, logdir.resolve().parent)]
    return next((path for path in paths if path.exists()), None)


def write(path: Path, names: Sequence[str], *, indent: int | None = 1) -> None:
    """Writes a label index, names in id order; without ``indent`` on one line."""
    _json.write_object(path, to_dict(names), indent=indent)
