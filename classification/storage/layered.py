"""Several stores as one: what the first lacks is looked for in the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from classification.runtime.errors import AbsentError
from classification.storage import ImageStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from classification.runtime.contents import Stamp

T = TypeVar("T")


class LayeredStore(ImageStore):
    """Stores in the order in which they are asked.

    An image is read from the first that has a file of its name. If it cannot be used
    there, that is said: a later store's may be another image.
    """

    def __init__(self, stores: Sequence[ImageStore]) -> None:
        """Takes the stores; with none, there are no images."""
        self._stores = tuple(stores)

    def load(self, name: str) -> tuple[bytes, Stamp | None]:
        """Return the image's bytes and stamp; see ``ImageStore.load``."""
        return self._first(lambda store: store.load(name))

    def stamp(self, name: str) -> Stamp | None:
        """Return the stamp in the store that has it; see ``ImageStore.stamp``."""
        return self._first(lambda store: store.stamp(name))

    def _first(self, ask: Callable[[ImageStore], T]) -> T:
        absent = AbsentError("no such file")
        for store in self._stores:
            try:
                return ask(store)
            except AbsentError as error:
                absent = error
        raise absent

    def exists(self, name: str) -> bool:
        """Says whether any store holds a file of this name; see ``ImageStore.exists``."""
        return any(store.exists(name) for store in self._stores)
