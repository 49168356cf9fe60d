"""``<classifier output>.info.json``: what the probabilities of that file are of.

Written by ``run_classifier`` and ``evaluate_model``, and carried on by
``aggregate_classifier_probs`` and ``merge_shards``; read by
``merge_classification_detection_output``, which refuses rows whose boxes are others by now
and puts ``calibration`` into ``info.classifier_metadata``, and by ``calibrate_classifier``::

    {
     "sha256": "5f0c…e1",
     "calibration": {"method": "temperature", "temperature": 1.41, "crops": 900, "ece_before": 0.093, "ece_after": 0.021},
     "boxes": ["q83vAQIDBAU…"]
    }

It stands beside the classifier output, whose name it bears in full
(``classifier_output.csv.gz.info.json``), and holds its SHA-256: beside any other file of
that name it says nothing. ``calibration`` is null where the network's own probabilities were
written; ``temperature`` is null for another method; the errors (expected calibration error,
in [0, 1]) are of the crops the calibration was fitted with. ``boxes`` holds 8 bytes for each
row, 8192 rows a text, in base64: BLAKE2b of the box that its crop was cut from, which are
four little-endian float64, [left, top, width, height] as in the file of boxes; zeros for a
row whose box is not known. It is null, or missing, where none is known.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from classification.artifacts import _json
from classification.runtime import registry
from classification.runtime.errors import ArtifactError, StorageError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from detection.boxes import Box

SUFFIX = ".info.json"
BOX_BYTES = 8

_CHUNK_ROWS = 8192


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
        calibration: what its probabilities went through, or None.
        boxes: digests of the boxes of its rows, in base64, or None.
    """

    sha256: str
    calibration: Applied | None = None
    boxes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Origin:
    """What probabilities are of.

    Attributes:
        calibration: what they went through, or None.
        boxes: digest of each row's box (``digest_box``), uint8 [N, 8], zeros where it is
            not known; None where none is.
    """

    calibration: Applied | None = None
    boxes: NDArray[np.uint8] | None = None


def digest_box(box: Box) -> bytes:
    """Return what tells a box from others, 8 bytes."""
    numbers = np.array([box.left, box.top, box.width, box.height], "<f8")
    # Nothing tells -0.0 from 0.0 but its bits.
    return hashlib.blake2b((numbers + 0.0).tobytes(), digest_size=BOX_BYTES).digest()


def unknown_boxes(rows: int) -> NDArray[np.uint8]:
    """Return the digests of so many rows whose boxes are not known."""
    return np.zeros((rows, BOX_BYTES), np.uint8)


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


def find(results: Path) -> Origin:
    """Return what the rows of a classifier output are of, as far as is known.

    Raises:
        ArtifactError: what stands beside the file is no such info.
    """
    path = path_beside(results)
    if not path.exists():
        return Origin()
    info = read(path)
    if registry.sha256_of(results) != info.sha256:
        return Origin()
    with in_file(path):
        return Origin(info.calibration, _decode(info.boxes))


def tell(results: Path, origin: Origin) -> None:
    """Write what the rows of a classifier output are of; nothing takes that away.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = path_beside(results)
    boxes = _encode(origin.boxes)
    if origin.calibration is None and boxes is None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {path}: {error.strerror}") from error
    else:
        sha256 = registry.sha256_of(results)
        write(path, Info(sha256=sha256, calibration=origin.calibration, boxes=boxes))


def _encode(boxes: NDArray[np.uint8] | None) -> tuple[str, ...] | None:
    if boxes is None or not boxes.any():
        return None
    return tuple(
        base64.b64encode(boxes[start : start + _CHUNK_ROWS].tobytes()).decode()
        for start in range(0, len(boxes), _CHUNK_ROWS)
    )


def _decode(texts: tuple[str, ...] | None) -> NDArray[np.uint8] | None:
    if texts is None:
        return None
    try:
        data = b"".join(base64.b64decode(text, validate=True) for text in texts)
        return np.frombuffer(data, np.uint8).reshape(-1, BOX_BYTES)
    except (binascii.Error, ValueError) as error:
        raise ArtifactError(
            f"{BOX_BYTES} bytes a row expected", where="boxes"
        ) from error
