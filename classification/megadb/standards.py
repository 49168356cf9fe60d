"""Which standard a metadata file follows, and who reads it."""

from __future__ import annotations

import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from classification.megadb import (
    camtrap_dp,
    coco_camera_traps,
    csv_rows,
    folders,
    lila_csv,
    megadetector_boxes,
    plain_csv,
)
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from classification.megadb.staging import Staging

_PACKED = (".gz", ".zip")
_PACKAGE = "datapackage.json"


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
        dataset: what the dataset is called; of a source of several, the one to import,
            None for all.
        boxes: a separate file of boxes, of COCO Camera Traps or MegaDetector, or None.
        found: which of MegaDetector's boxes are taken.
        coco: how a COCO Camera Traps JSON is read.
        package: how a Camtrap DP package is read.
        table: how a plain CSV is read.
        layout: what the folders of images mean, see ``folders``.
        cloud: whose URLs count, of LILA's.
        root: what the URL of every image begins with, before its file, for LILA's table
            alone; None: found.
    """

    path: Path
    standard: Standard
    dataset: str | None = None
    boxes: Path | None = None
    found: megadetector_boxes.Options = field(
        default_factory=megadetector_boxes.Options
    )
    coco: coco_camera_traps.Options = field(default_factory=coco_camera_traps.Options)
    package: camtrap_dp.Options = field(default_factory=camtrap_dp.Options)
    table: plain_csv.Options = field(default_factory=plain_csv.Options)
    layout: Sequence[str] = (folders.DEFAULT_LAYOUT,)
    cloud: lila_csv.Cloud = lila_csv.Cloud.GCP
    root: str | None = None


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
    return Standard.LILA if set(columns) >= set(lila_csv.NEEDED) else Standard.CSV


class Reader(Protocol):
    """A source that is being read."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """Returns the datasets to import, as the source or the user calls them."""
        ...

    def base_url(self, dataset: str) -> str | None:
        """Returns what the files of a dataset are appended to, if the source tells."""
        ...

    def stage(self, dataset: str, staging: Staging) -> None:
        """Reads what the source says of a dataset.

        Args:
            dataset: one of ``datasets``.
            staging: filled.

        Raises:
            ArtifactError: the source breaks its standard.
        """
        ...


@contextmanager
def open_source(source: Source, *, work_dir: Path) -> Iterator[Reader]:
    """Opens a source, to stage its datasets one after the other inside the block.

    Args:
        source: the metadata.
        work_dir: folder for what does not fit into memory; gone after the block.

    Raises:
        ArtifactError: the source breaks its standard.
        ConfigurationError: it has no name for its dataset and the user gave none, or it
            holds no dataset of the user's name; or a file of boxes is of one dataset,
            and the source holds several.
    """
    if source.standard != Standard.LILA:
        if source.dataset is None:
            raise ConfigurationError("--dataset says what the dataset is called")
        yield _Single(source, source.dataset)
        return
    options = lila_csv.Options(
        dataset=source.dataset, cloud=source.cloud, root=source.root
    )
    with lila_csv.open_table(source.path, work_dir=work_dir, options=options) as table:
        if source.boxes is not None and len(table.datasets) > 1:
            raise ConfigurationError(
                f"--boxes {source.boxes} is of one dataset; --dataset says of which"
            )
        yield _Several(source, table)


@dataclass(frozen=True, slots=True)
class _Single:
    """A source of one dataset, which the user names."""

    source: Source
    dataset: str

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.dataset,)

    def base_url(self, dataset: str) -> str | None:  # noqa: ARG002 - as Reader has it
        return None

    def stage(self, dataset: str, staging: Staging) -> None:  # noqa: ARG002 - likewise
        source = self.source
        match source.standard:
            case Standard.COCO:
                coco_camera_traps.read(source.path, staging, source.coco)
            case Standard.CAMTRAP_DP:
                camtrap_dp.read(source.path, staging, source.package)
            case Standard.CSV:
                plain_csv.read(source.path, staging, source.table)
            case Standard.FOLDERS:
                folders.read(source.path, staging, source.layout)
            case Standard.LILA:
                raise ValueError("LILA's table is of several datasets")
        _stage_boxes(source, staging)


@dataclass(frozen=True, slots=True)
class _Several:
    """LILA's table, which names its datasets."""

    source: Source
    table: lila_csv.LilaTable

    @property
    def datasets(self) -> tuple[str, ...]:
        return self.table.datasets

    def base_url(self, dataset: str) -> str | None:
        return self.table.base_url(dataset)

    def stage(self, dataset: str, staging: Staging) -> None:
        self.table.stage(dataset, staging)
        _stage_boxes(self.source, staging)


def _stage_boxes(source: Source, staging: Staging) -> None:
    if source.boxes is None:
        return
    if megadetector_boxes.is_megadetector(source.boxes):
        megadetector_boxes.read(source.boxes, staging, source.found)
    else:
        coco_camera_traps.read_boxes(source.boxes, staging)
