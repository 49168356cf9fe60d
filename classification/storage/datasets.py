"""Images of several datasets, each in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.runtime.errors import ItemError
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class DatasetStore:
    """Folders by dataset: ``<dataset>/<rest>`` is the file ``<rest>`` in the dataset's."""

    def __init__(self, folder_by_dataset: Mapping[str, Path]) -> None:
        """Names the folders; none need exist until something is read from it."""
        self._store_by_dataset = {
            dataset: LocalStore(folder) for dataset, folder in folder_by_dataset.items()
        }

    def read(self, name: str) -> bytes:
        """Returns the bytes of the image ``name``; see ``ImageStore.read``."""
        dataset, _, rest = name.partition("/")
        store = self._store_by_dataset.get(dataset)
        if store is None:
            raise ItemError(f"the dataset {dataset!r} has no folder")
        return store.read(rest)

    def exists(self, name: str) -> bool:
        """Says whether the dataset's folder holds the file; see ``ImageStore.exists``."""
        dataset, _, rest = name.partition("/")
        store = self._store_by_dataset.get(dataset)
        return store is not None and store.exists(rest)
