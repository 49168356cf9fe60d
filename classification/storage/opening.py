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

_IMAGES_DIR = "--images-dir"


def open_images(
    datasets: Iterable[str], *, images_dir: Path | None, megadb: Path | None
) -> ImageStore:
    """Opens the place of the images ``<dataset>/<file>``.

    Args:
        datasets: names of those whose images may be read.
        images_dir: folder that holds ``<dataset>/<file>``; what is there, is taken.
        megadb: metadata store, which names the root folder of each dataset.

    Raises:
        ConfigurationError: see ``find_folders``.
        ArtifactError: the metadata store is none.
    """
    folders = find_folders(datasets, images_dir=images_dir, megadb=megadb)
    layers = max(map(len, folders.values()), default=0)
    return LayeredStore(
        [
            DatasetStore(
                {
                    name: LocalStore(there[layer])
                    for name, there in folders.items()
                    if there[layer:]
                }
            )
            for layer in range(layers)
        ]
    )


def find_folders(
    datasets: Iterable[str],
    *,
    images_dir: Path | None,
    megadb: Path | None,
    flag: str = _IMAGES_DIR,
) -> dict[str, tuple[Path, ...]]:
    """Returns the folders in which each dataset's images are looked for, in order.

    Args:
        datasets: their names.
        images_dir: folder that holds one of each dataset's name; it comes first, and
            then the root folders need not exist.
        megadb: metadata store, which names the root folder of each dataset.
        flag: what names ``images_dir`` on the command line, for messages.

    Raises:
        ConfigurationError: neither is given, a folder does not exist, or one of the
            datasets has none.
        ArtifactError: the metadata store is none.
    """
    if images_dir is None and megadb is None:
        raise ConfigurationError(
            f"where are the images? {flag} names a folder that holds <dataset>/<file>; "
            "--megadb a metadata store, which knows the folders"
        )
    entries = {} if megadb is None else _entries(megadb)
    if images_dir is None:
        return {name: (_find_root(name, entries, megadb, flag),) for name in datasets}
    if not images_dir.is_dir():
        raise ConfigurationError(f"no such folder: {images_dir} ({flag})")
    return {name: (images_dir / name, *_known_root(name, entries)) for name in datasets}


def _find_root(
    dataset: str, entries: Mapping[str, DatasetEntry], megadb: Path | None, flag: str
) -> Path:
    """Returns the root folder of a dataset, which has to exist."""
    entry = entries.get(normal(dataset))
    if entry is None:
        raise ConfigurationError(
            f"{megadb} has no dataset {dataset!r}; import_metadata adds it, or {flag} "
            "names the folder of the images"
        )
    if entry.root is None:
        what = "has no root folder"
        if entry.base_url or entry.container:
            what = "is not on this machine, and remote stores come in a later version"
        raise ConfigurationError(
            f"{megadb}: the dataset {dataset!r} {what}; {flag} names a folder that holds "
            f"its images in {dataset}/"
        )
    root = Path(entry.root)
    if not root.is_dir():
        raise ConfigurationError(
            f"no such folder: {root}, the root of {dataset!r} in {megadb}; {flag} names "
            "another"
        )
    return root


def _known_root(dataset: str, entries: Mapping[str, DatasetEntry]) -> tuple[Path, ...]:
    entry = entries.get(normal(dataset))
    return () if entry is None or entry.root is None else (Path(entry.root),)


def _entries(megadb: Path) -> dict[str, DatasetEntry]:
    return {normal(name): entry for name, entry in dataset_list.read(megadb).items()}
