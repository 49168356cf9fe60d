"""``<classifier output>.info.json``: how the probabilities of that file were calibrated.

Written by ``run_classifier`` and ``evaluate_model`` where the model is calibrated, and
carried on by ``aggregate_classifier_probs``; read by
``merge_classification_detection_output``, which puts ``calibration`` into
``info.classifier_metadata``, and by ``calibrate_classifier``::

    {
     "sha256": "5f0c…e1",
     "calibration": {"method": "temperature", "temperature": 1.41, "crops": 900, "ece_before": 0.093, "ece_after": 0.021}
    }

It stands beside the classifier output, whose name it bears in full
(``classifier_output.csv.gz.info.json``), and holds its SHA-256: beside any other file of
that name it says nothing. ``temperature`` is null for another method; the errors
(expected calibration error, in [0, 1]) are of the crops the calibration was fitted with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from classification.artifacts import _json
from classification.runtime import registry
from classification.runtime.errors import StorageError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIX = ".info.json"


class Applied(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A calibration that probabilities went through.

    Attributes:
        method: its name.
        temperature: of temperature scaling, else None.
        crops: number of crops it was fitted to.
        ece_before: expected calibration error, in [0, 1].
        ece_after: likewise, after.
    """

    method: Literal["temperature", "vector"]
    temperature: float | None
    crops: int
    ece_before: float
    ece_after: float


class Info(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file.

    Attributes:
        sha256: of the classifier output that is meant.
        calibration: what its probabilities went through.
    """

    sha256: str
    calibration: Applied


def path_beside(results: Path) -> Path:
    """Returns where the info of a classifier output is."""
    return results.with_name(results.name + SUFFIX)


def from_dict(document: Mapping[str, Any]) -> Info:
    """Checks the document and returns what it says.

    Raises:
        ArtifactError: a key is missing, unknown or of the wrong type.
    """
    return _json.to_struct(document, Info)


def read(path: Path) -> Info:
    """Reads and checks an info file."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def write(path: Path, info: Info) -> None:
    """Writes an info file whole or not at all."""
    _json.write_object(path, msgspec.to_builtins(info))


def find(results: Path) -> Applied | None:
    """Returns how a classifier output was calibrated; None where nothing tells.

    Raises:
        ArtifactError: what stands beside the file is no such info.
    """
    path = path_beside(results)
    if not path.exists():
        return None
    info = read(path)
    return info.calibration if registry.sha256_of(results) == info.sha256 else None


def tell(results: Path, applied: Applied | None) -> None:
    """Says beside a classifier output how it was calibrated; None takes that away.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = path_beside(results)
    if applied is None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {path}: {error.strerror}") from error
    else:
        write(path, Info(sha256=registry.sha256_of(results), calibration=applied))
