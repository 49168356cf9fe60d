"""Images of several datasets, each in a place of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.runtime.errors import AbsentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classification.storage import ImageStore


class DatasetStore:
    """Stores by dataset: ``<dataset>/<rest>`` is the image ``<rest>`` in the dataset's."""

    def __init__(self, store_by_dataset: Mapping[str, ImageStore]) -> None:
        """Takes the store of each dataset."""
        self._store_by_dataset = dict(store_by_dataset)

    def read(self, name: str) -> bytes:
        """Returns the bytes of the image ``name``; see ``ImageStore.read``."""
        dataset, _, rest = name.partition("/")
        store = self._store_by_dataset.get(dataset)
        if store is None:
            raise AbsentError(f"it is not known where the dataset {dataset!r} is")
        return store.read(rest)

    def exists(self, name: str) -> bool:
        """Says whether the dataset's store holds the file; see ``ImageStore.exists``."""
        dataset, _, rest = name.partition("/")
        store = self._store_by_dataset.get(dataset)
        return store is not None and store.exists(rest)
