"""Images of several datasets, each in a place of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.runtime.errors import AbsentError
from classification.storage import ImageStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classification.runtime.contents import Stamp


class DatasetStore(ImageStore):
    """Stores by dataset: ``<dataset>/<rest>`` is the image ``<rest>`` in the dataset's."""

    def __init__(self, store_by_dataset: Mapping[str, ImageStore]) -> None:
        """Takes the store of each dataset."""
        self._store_by_dataset = dict(store_by_dataset)

    def load(self, name: str) -> tuple[bytes, Stamp | None]:
        """Return the image's bytes and stamp; see ``ImageStore.load``."""
        store, rest = self._find(name)
        return store.load(rest)

    def stamp(self, name: str) -> Stamp | None:
        """Return the image's stamp; see ``ImageStore.stamp``."""
        store, rest = self._find(name)
        return store.stamp(rest)

    def _find(self, name: str) -> tuple[ImageStore, str]:
        dataset, _, rest = name.partition("/")
        store = self._store_by_dataset.get(dataset)
        if store is None:
            raise AbsentError(f"it is not known where the dataset {dataset!r} is")
        return store, rest

    def exists(self, name: str) -> bool:
        """Says whether the dataset's store holds the file; see ``ImageStore.exists``."""
        dataset, _, rest = name.partition("/")
        store = self._store_by_dataset.get(dataset)
        return store is not None and store.exists(rest)
