"""Images from far away: counted, and kept in a folder if wanted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from classification.storage import ImageStore
from classification.storage.fetching import write_image

if TYPE_CHECKING:
    from pathlib import Path

    from classification.runtime.contents import Stamp


class DistantStore(ImageStore):
    """A store that is not on this machine.

    Attributes:
        fetched: how many images were read from it.
    """

    def __init__(self, store: ImageStore, *, keep: Path | None = None) -> None:
        """Takes the store.

        Args:
            store: where the images are.
            keep: folder that gets each image that is read, under its name, whole or not
                at all; None to keep none.
        """
        self.fetched = 0
        self._store = store
        self._keep = keep
        self._lock = threading.Lock()

    def load(self, name: str) -> tuple[bytes, Stamp | None]:
        """Return the image's bytes and stamp; see ``ImageStore.load``.

        Raises:
            ItemError: it cannot be had, or not be kept under its name.
            StorageError: the store gives no answer, or the disk is full.
        """
        data, stamp = self._store.load(name)
        with self._lock:
            self.fetched += 1
        if self._keep is not None:
            write_image(self._keep, name, data)
        return data, stamp

    def stamp(self, name: str) -> Stamp | None:
        """Return the image's stamp; see ``ImageStore.stamp``."""
        return self._store.stamp(name)

    def exists(self, name: str) -> bool:
        """Says whether the store has the image; see ``ImageStore.exists``."""
        return self._store.exists(name)
