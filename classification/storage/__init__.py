"""Where images are: one protocol, one module per kind of place."""

from __future__ import annotations

from typing import Protocol


class ImageStore(Protocol):
    """A place that holds images by name."""

    def read(self, name: str) -> bytes:
        """Returns the bytes of the image ``name``.

        Raises:
            AbsentError: there is no such image; another store may have it.
            ItemError: this one image cannot be read; says why.
            StorageError: the store as a whole cannot be reached.
        """
        ...

    def exists(self, name: str) -> bool:
        """Says whether the store holds a file of this name.

        Raises:
            StorageError: it cannot be told; never taken for "no" (a store that is out
                of reach holds its images all the same).
        """
        ...
