"""Where the images of datasets are, as a person says it on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import dataset_list
from classification.runtime.errors import ConfigurationError
from classification.storage.datasets import DatasetStore
from classification.storage.layered import LayeredStore
from classification.storage.local import LocalStore
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from classification.artifacts.dataset_list import DatasetEntry
    from classification.storage import ImageStore


def open_images(
    datasets: Iterable[str], *, images_dir: Path | None, megadb: Path | None
) -> ImageStore:
    """Opens the place of the images ``<dataset>/<file>``.

    Args:
        datasets: names of those whose images may be read.
        images_dir: folder that holds ``<dataset>/<file>``; what is there, is taken.
        megadb: metadata store, which names the root folder of each dataset.

    Raises:
        ConfigurationError: neither is given, a folder does not exist, or one of the
            datasets has none.
        ArtifactError: the metadata store is none.
    """
    if images_dir is None:
        if megadb is None:
            raise ConfigurationError(
                "where are the images? --images-dir names a folder that holds "
                "<dataset>/<file>; --megadb a metadata store, which knows the folders"
            )
        return DatasetStore(_find_roots(datasets, megadb))
    if not images_dir.is_dir():
        raise ConfigurationError(f"no such folder: {images_dir} (--images-dir)")
    first = LocalStore(images_dir)
    if megadb is None:
        return first
    return LayeredStore([first, DatasetStore(_known_roots(datasets, megadb))])


def _find_roots(datasets: Iterable[str], megadb: Path) -> dict[str, Path]:
    """Returns the root folder of each dataset, which has to exist."""
    entries = _entries(megadb)
    return {dataset: _find_root(dataset, entries, megadb) for dataset in datasets}


def _find_root(dataset: str, entries: Mapping[str, DatasetEntry], megadb: Path) -> Path:
    entry = entries.get(normal(dataset))
    if entry is None:
        raise ConfigurationError(
            f"{megadb} has no dataset {dataset!r}; import_metadata adds it, or "
            "--images-dir names the folder of the images"
        )
    if entry.root is None:
        what = "has no root folder"
        if entry.base_url or entry.container:
            what = "is not on this machine, and remote stores come in a later version"
        raise ConfigurationError(
            f"{megadb}: the dataset {dataset!r} {what}; --images-dir names a folder "
            "that holds its images"
        )
    root = Path(entry.root)
    if not root.is_dir():
        raise ConfigurationError(
            f"no such folder: {root}, the root of {dataset!r} in {megadb}; "
            "--images-dir names another"
        )
    return root


def _known_roots(datasets: Iterable[str], megadb: Path) -> dict[str, Path]:
    """Returns the root folder of each dataset that has one."""
    entries = _entries(megadb)
    found = {dataset: entries.get(normal(dataset)) for dataset in datasets}
    return {
        dataset: Path(entry.root)
        for dataset, entry in found.items()
        if entry is not None and entry.root is not None
    }


def _entries(megadb: Path) -> dict[str, DatasetEntry]:
    return {normal(name): entry for name, entry in dataset_list.read(megadb).items()}
