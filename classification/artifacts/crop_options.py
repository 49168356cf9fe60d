"""``.<step>.json`` in a folder of crops: how the step cuts the crops that are in it.

Written and read by ``crop_detections`` (``.crop_detections.json``) and
``detect_and_crop`` (``.detect_and_crop.json``)::

    {
     "shape": "square",
     "jpeg_quality": 75,
     "ignore_exif": false
    }

A step keeps the crops that are there, so a run with other options would mix two kinds in
one folder: it is refused. ``shape`` is ``rectangle``, ``square`` or ``reference square``.
A folder without the file may hold crops of any kind; the next run writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from classification.artifacts import _json
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from pathlib import Path


class CropOptions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """The options that shape the pixels of a crop.

    Attributes:
        shape: how a crop is laid around its box.
        jpeg_quality: 1 to 100.
        ignore_exif: boxes are fractions of the pixels as they are stored.
    """

    shape: Literal["rectangle", "square", "reference square"]
    jpeg_quality: int
    ignore_exif: bool


def path_of(crops_dir: Path, step: str) -> Path:
    """Returns where a step says how it cuts crops."""
    return crops_dir / f".{step}.json"


def read(path: Path) -> CropOptions:
    """Reads and checks how crops are cut.

    Raises:
        ArtifactError: the file is missing or breaks the format.
    """
    with in_file(path):
        return _json.to_struct(_json.read_object(path), CropOptions)


def write(path: Path, options: CropOptions) -> None:
    """Writes how crops are cut."""
    _json.write_object(path, msgspec.to_builtins(options))
