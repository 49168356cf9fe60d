"""Which images of a metadata store are not where they should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from classification.runtime.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from classification.megadb.reading import MetadataStore


class Listing(Protocol):
    """What is below a folder."""

    def __contains__(self, name: str, /) -> bool:
        """Says whether there is a file of this name, relative to the folder."""
        ...


def find_missing(
    store: MetadataStore,
    wanted: NDArray[np.bool_],
    *,
    images_dir: Path | None,
    listing: Callable[[Path], Listing],
) -> NDArray[np.bool_]:
    """Looks for images by their full name in a folder, then in their dataset's root.

    Args:
        store: what there should be.
        wanted: the images to look for, by place, [images].
        images_dir: a folder of all datasets, or None.
        listing: opens a folder; what it returns says whether a name below it exists.

    Returns:
        Whether each image was looked for in vain, [images].

    Raises:
        ConfigurationError: nobody knows where a dataset's images are.
        StorageError: a folder is not there, or it cannot be told what it holds; a
            store that is out of reach has its images all the same.
    """
    everywhere = None if images_dir is None else listing(_there(images_dir))
    missing = np.zeros(len(wanted), np.bool_)
    for dataset in store.datasets:
        root: Listing | None = None
        for places, files in store.files(dataset, wanted):
            if root is None:
                root = _open_root(store, dataset, listing, everywhere)
            names = (store.full_name(dataset, file) for file in files)
            missing[places] = [
                not (everywhere is not None and name in everywhere)
                and name.partition("/")[2] not in root
                for name in names
            ]
    return missing


def _open_root(
    store: MetadataStore,
    dataset: str,
    listing: Callable[[Path], Listing],
    everywhere: Listing | None,
) -> Listing:
    entry = store.entries[dataset]
    if entry.root is not None:
        return listing(_there(Path(entry.root), f" of the dataset {dataset!r}"))
    if everywhere is not None:
        return ()
    where = entry.base_url or entry.container
    known = f"its images are at {where}, and " if where else ""
    raise ConfigurationError(
        f"--check-blob-exists: the dataset {dataset!r} has no folder; {known}this "
        "version looks in folders only: name one behind the flag, or give "
        "import_metadata a root folder"
    )


def _there(folder: Path, of: str = "") -> Path:
    if not folder.is_dir():
        raise StorageError(f"no such folder: {folder}{of}; nothing can be looked for")
    return folder
