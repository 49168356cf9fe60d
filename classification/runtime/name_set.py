"""A set of very many names in little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable


class NameSet:
    """A set of names that holds eight bytes for each: the hash of the name.

    Two of a million names share a hash with a chance of one in tens of millions; one
    that was never added is then taken to be there.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Takes each name; one that stands twice counts twice in the length."""
        self._hashes = np.fromiter(map(hash, names), np.int64)
        self._hashes.sort()

    def __len__(self) -> int:
        """Returns how many names were taken."""
        return len(self._hashes)

    def __contains__(self, name: str) -> bool:
        """Says whether ``name`` was taken."""
        wanted = hash(name)
        position = int(self._hashes.searchsorted(wanted))
        return position < len(self._hashes) and int(self._hashes[position]) == wanted
