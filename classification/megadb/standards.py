"""Which standard a metadata file follows, and who reads it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from classification.megadb import (
    coco_camera_traps,
    csv_rows,
    folders,
    plain_csv,
)
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from classification.megadb.staging import Staging

_PACKED = (".gz", ".zip")
_PACKAGE = "datapackage.json"
_LILA_COLUMNS = frozenset({"dataset_name", "image_id", "annotation_level"})


class Standard(StrEnum):
    """How a source of metadata is written down."""

    COCO = "coco"
    LILA = "lila"
    CAMTRAP_DP = "camtrapdp"
    CSV = "csv"
    FOLDERS = "folders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Metadata to import.

    Attributes:
        path: a file, or a folder.
        standard: how it is written down.
        boxes: a separate file of boxes, or None.
        table: how a plain CSV is read.
        layout: what the folders of images mean, see ``folders``.
    """

    path: Path
    standard: Standard
    boxes: Path | None = None
    table: plain_csv.Options = field(default_factory=plain_csv.Options)
    layout: Sequence[str] = (folders.DEFAULT_LAYOUT,)


def recognize(path: Path) -> Standard:
    """Returns the standard that a source seems to follow.

    Raises:
        ArtifactError: it is missing, or cannot be read.
        ConfigurationError: nothing tells.
    """
    if path.is_dir():
        is_package = (path / _PACKAGE).is_file()
        return Standard.CAMTRAP_DP if is_package else Standard.FOLDERS
    if not path.exists():
        raise ArtifactError("no such file or folder", where=str(path))
    name = path.name.lower()
    for suffix in _PACKED:
        name = name.removesuffix(suffix)
    if path.suffix == ".zip":
        name = _name_inside(path) or name
    if name == _PACKAGE:
        return Standard.CAMTRAP_DP
    if name.endswith(".json"):
        return Standard.COCO
    if name.endswith((".csv", ".tsv", ".txt")):
        return _recognize_table(path)
    raise ConfigurationError(
        f"{path}: neither JSON nor CSV by its name; --format says what it is"
    )


def _name_inside(path: Path) -> str:
    """Returns the name of the first file in a zip that tells its standard."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return ""  # who reads it says what is wrong
    if _PACKAGE in names:
        return _PACKAGE
    return next((name for name in names if name.endswith((".json", ".csv"))), "")


def _recognize_table(path: Path) -> Standard:
    try:
        columns = csv_rows.header(path, csv_rows.Form())
    except ArtifactError:
        return Standard.CSV  # perhaps of another form, which its reader knows
    return Standard.LILA if set(columns) >= _LILA_COLUMNS else Standard.CSV


def datasets(source: Source) -> tuple[str, ...]:
    """Returns the datasets that a source holds, by the names that it gives them.

    Raises:
        ConfigurationError: its standard has no names for datasets.
    """
    raise ConfigurationError(
        f"{source.path}: --dataset says what the dataset is called"
    )


def stage(source: Source, dataset: str, staging: Staging) -> None:
    """Reads what a source says of a dataset.

    Args:
        source: the metadata.
        dataset: its name; a source of several datasets is asked for this one.
        staging: filled.

    Raises:
        ArtifactError: the source breaks its standard.
    """
    match source.standard:
        case Standard.COCO:
            coco_camera_traps.read(source.path, staging)
        case Standard.CSV:
            plain_csv.read(source.path, staging, source.table)
        case Standard.FOLDERS:
            folders.read(source.path, staging, source.layout)
        case Standard.LILA | Standard.CAMTRAP_DP:
            raise ConfigurationError(
                f"{dataset}: --format {source.standard} is not in this version"
            )
    if source.boxes is not None:
        coco_camera_traps.read_boxes(source.boxes, staging)
