"""``<megadb>/datasets.json``: the datasets of a metadata store, and where their images are.

Written by ``import_metadata``; read by every command that takes ``--megadb``::

    {
     "caltech": {
      "root": "/data/caltech",
      "base_url": "https://example.org/caltech/",
      "container": null,
      "path_prefix": "cct_images",
      "location_from": "column",
      "images": 243100
     }
    }

A dataset's table is ``<dataset>.parquet`` beside this file. An image's full name, which
is its key in ``queried_images.json``, is the dataset, the path prefix and the table's
``file``, joined by ``/``. Its bytes are at ``<root>/<path prefix>/<file>``, where ``root``
is a folder of this machine; or at the same path behind ``base_url`` or the ``container``
URL, which hold no token. Each of the three may be null. ``location_from`` says how a
location was made: ``column``, ``sequence``, ``day`` or ``folder``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from classification.artifacts import _json, layout
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILENAME = "datasets.json"

LocationRule = Literal["column", "sequence", "day", "folder"]


class DatasetEntry(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Where a dataset's images are.

    Attributes:
        root: a folder of this machine, or None.
        base_url: where the images are served from, ending with ``/``, or None.
        container: URL of a container, without a token, or None.
        path_prefix: folders between these and the table's ``file``; may be empty.
        location_from: how a location was made, a ``LocationRule``.
        images: number of rows of the table.
    """

    root: str | None = None
    base_url: str | None = None
    container: str | None = None
    path_prefix: str = ""
    location_from: LocationRule = "column"
    images: Annotated[int, msgspec.Meta(ge=0)] = 0

    def name_of(self, dataset: str, file: str) -> str:
        """Returns the full name of an image of this dataset."""
        return "/".join(part for part in (dataset, self.path_prefix, file) if part)


def from_dict(document: Mapping[str, Any]) -> dict[str, DatasetEntry]:
    """Returns the datasets by name, sorted.

    Raises:
        ArtifactError: a name or a value is not as the format says.
    """
    return {name: _entry(name, document[name]) for name in sorted(document)}


def _entry(name: str, value: object) -> DatasetEntry:
    layout.checked_dataset(name, where=name)
    try:
        entry = msgspec.convert(value, DatasetEntry)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise ArtifactError(reason, where=name + place.rstrip("`")) from error
    except UnicodeEncodeError as error:
        raise ArtifactError("a key that is no text", where=name) from error
    if entry.path_prefix:
        layout.checked_name(entry.path_prefix, where=f"{name}.path_prefix")
    return entry


def to_dict(entry_by_dataset: Mapping[str, DatasetEntry]) -> dict[str, Any]:
    """Returns the document to write, datasets sorted by name."""
    return {
        name: msgspec.to_builtins(entry_by_dataset[name])
        for name in sorted(entry_by_dataset)
    }


def read(megadb: Path) -> dict[str, DatasetEntry]:
    """Reads and checks the datasets of a store, by name, sorted.

    Raises:
        ArtifactError: the folder is no metadata store, or the file breaks its format.
    """
    path = megadb / FILENAME
    if not path.exists():
        raise ArtifactError(
            "missing; import_metadata makes a metadata store", where=str(path)
        )
    with in_file(path):
        return from_dict(_json.read_object(path))


def write(megadb: Path, entry_by_dataset: Mapping[str, DatasetEntry]) -> None:
    """Writes the datasets of a store."""
    _json.write_object(megadb / FILENAME, to_dict(entry_by_dataset), indent=1)
