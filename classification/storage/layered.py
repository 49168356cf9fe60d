"""Several stores as one: what the first lacks is looked for in the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.runtime.errors import AbsentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.storage import ImageStore


class LayeredStore:
    """Stores in the order in which they are asked.

    An image is read from the first that has a file of its name. If it cannot be used
    there, that is said: a later store's may be another image.
    """

    def __init__(self, stores: Sequence[ImageStore]) -> None:
        """Takes the stores; with none, there are no images."""
        self._stores = tuple(stores)

    def read(self, name: str) -> bytes:
        """Returns the bytes of the image ``name``; see ``ImageStore.read``."""
        absent = AbsentError("no such file")
        for store in self._stores:
            try:
                return store.read(name)
            except AbsentError as error:
                absent = error
        raise absent

    def exists(self, name: str) -> bool:
        """Says whether any store holds a file of this name; see ``ImageStore.exists``."""
        return any(store.exists(name) for store in self._stores)
