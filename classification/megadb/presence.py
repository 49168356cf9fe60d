"""Which images of a metadata store are not where they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

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
    folders: Mapping[str, Sequence[Path]],
    *,
    listing: Callable[[Path], Listing],
) -> NDArray[np.bool_]:
    """Looks for images in the folders of their datasets.

    Args:
        store: what there should be.
        wanted: the images to look for, by place, [images].
        folders: for each dataset of these, in the order in which they are looked into;
            see ``storage.opening.find_folders``.
        listing: opens a folder; what it returns says whether a name below it exists.

    Returns:
        Whether each image was looked for in vain, [images].

    Raises:
        StorageError: an image is not in the first folder, and the next does not exist;
            or it cannot be told what a folder holds. A store that is out of reach has
            its images all the same.
    """
    missing = np.zeros(len(wanted), np.bool_)
    for dataset in store.datasets_of(wanted):
        listings = [listing(folder) for folder in folders[dataset]]
        for places, files in store.files(dataset, wanted):
            names = (store.full_name(dataset, file) for file in files)
            lost = np.array([_is_missing(name, listings) for name in names])
            if lost.any():
                _refuse_out_of_reach(dataset, folders[dataset])
            missing[places] = lost
    return missing


def _is_missing(name: str, listings: Sequence[Listing]) -> bool:
    file = name.partition("/")[2]
    return not any(file in listing for listing in listings)


def _refuse_out_of_reach(dataset: str, folders: Sequence[Path]) -> None:
    """Refuses to call an image missing while a folder behind the first is not there."""
    for folder in folders[1:]:
        if not folder.is_dir():
            raise StorageError(
                f"no such folder: {folder}, the root of the dataset {dataset!r}, and not "
                f"all of its images are in {folders[0]}"
            )
