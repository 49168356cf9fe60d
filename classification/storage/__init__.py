"""Where images are: one protocol, one module per kind of place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from classification.runtime.contents import Stamp


class ImageStore(Protocol):
    """A place that holds images by name; stores inherit ``read``."""

    def read(self, name: str) -> bytes:
        """Returns the bytes of the image ``name``; raises as ``load`` does."""
        return self.load(name)[0]

    def load(self, name: str) -> tuple[bytes, Stamp | None]:
        """Return the bytes of the image ``name``, and its stamp as of that moment.

        Raises:
            AbsentError: there is no such image; another store may have it.
            ItemError: this one image cannot be read; says why.
            StorageError: the store as a whole cannot be reached.
        """
        ...

    def stamp(self, name: str) -> Stamp | None:
        """Return what tells, without its bytes, whether ``name`` was replaced.

        None where the store tells nothing of it. Raises as ``load`` does.
        """
        ...

    def exists(self, name: str) -> bool:
        """Says whether the store holds a file of this name.

        Raises:
            StorageError: it cannot be told; never taken for "no" (a store that is out
                of reach holds its images all the same).
        """
        ...
