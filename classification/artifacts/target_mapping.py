"""``target_to_classifier_labels.json``: which classifier labels make up each target.

Written by ``map_classification_categories``; read by ``aggregate_classifier_probs``::

    {
     "deer": ["family: cervidae (other)", "species: odocoileus hemionus"],
     "bird": ["class: aves"],
     "other": ["species: felis catus"]
    }

Targets stand in the order of the target label specification, and ``other``, which
takes the labels that no target takes, comes last; the labels of a target are sorted.
No label stands under two targets. A target that takes no label is absent; a reader
accepts an empty list as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from classification.artifacts import _json
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILENAME = "target_to_classifier_labels.json"
OTHER = "other"  # the target of labels that no other target takes


def from_dict(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Returns the classifier labels of each target, both in file order.

    Raises:
        ArtifactError: a target is no list of names, or a label stands twice.
    """
    target_by_label: dict[str, str] = {}
    for target, labels in document.items():
        if not target:
            raise ArtifactError("a target without a name")
        if not isinstance(labels, list):
            raise ArtifactError("expected a list of classifier labels", where=target)
        for index, label in enumerate(labels):
            where = f"{target}[{index}]"
            if not isinstance(label, str) or not label:
                raise ArtifactError("expected the name of a label", where=where)
            if label in target_by_label:
                other = target_by_label[label]
                raise ArtifactError(
                    f"{label!r} stands under {other!r} already", where=where
                )
            target_by_label[label] = target
    return {target: tuple(labels) for target, labels in document.items()}


def to_dict(labels_by_target: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns the document to write: labels sorted, targets without a label left out."""
    return {
        target: sorted(labels) for target, labels in labels_by_target.items() if labels
    }


def read(path: Path) -> dict[str, tuple[str, ...]]:
    """Reads and checks a target mapping; returns the labels of each target."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def write(path: Path, labels_by_target: Mapping[str, Sequence[str]]) -> None:
    """Writes a target mapping; targets in the order given."""
    _json.write_object(path, to_dict(labels_by_target))
