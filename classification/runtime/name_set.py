"""A set of very many names in little memory."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class Names(Protocol):
    """Names of files."""

    def __contains__(self, name: str, /) -> bool:
        """Says whether a name is one of them."""
        ...


class NameSet:
    """A set of names that holds eight bytes for each: the hash of the name.

    Two of a million names share a hash with a chance of one in tens of millions; one
    that was never added is then taken to be there.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Adds each name."""
        self._added = array("q", map(hash, names))
        self._sorted: NDArray[np.int64] | None = None

    def add(self, name: str) -> None:
        """Adds a name; best all of them before any is looked up."""
        self._added.append(hash(name))
        self._sorted = None

    def without(self, names: Iterable[str]) -> NameSet:
        """Return a set of the others."""
        left = NameSet()
        gone = np.fromiter(map(hash, names), np.int64)
        kept = np.setdiff1d(np.array(self._added, np.int64), gone)
        left._added = array("q", kept.tobytes())
        return left

    def __len__(self) -> int:
        """Returns how many names were added; one added twice counts twice."""
        return len(self._added)

    def __contains__(self, name: str) -> bool:
        """Says whether ``name`` was added."""
        if self._sorted is None:
            self._sorted = np.sort(np.array(self._added, np.int64))
        wanted = hash(name)
        position = int(self._sorted.searchsorted(wanted))
        return position < len(self._sorted) and int(self._sorted[position]) == wanted
