"""Very many names in order, in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class NameList(Sequence[str]):
    """Names one after the other in one block of bytes, with eight more for each."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Adds each name."""
        self._text = bytearray()
        self._ends = array("q", [0])
        for name in names:
            self.append(name)

    def append(self, name: str) -> None:
        """Adds a name at the end."""
        self._text += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        """Returns how many names there are."""
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Returns the name at a place, or a list of those of a slice."""
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        index = range(len(self))[place]
        text = self._text[self._ends[index] : self._ends[index + 1]]
        return text.decode("utf-8", "surrogateescape")


class CodedList(Sequence[str]):
    """Names of which few differ: a number for each, and the names behind the numbers."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Adds each name."""
        self._codes = array("i")
        self._names: list[str] = []
        self._code_by_name: dict[str, int] = {}
        for name in names:
            self.append(name)

    def append(self, name: str) -> None:
        """Adds a name at the end."""
        code = self._code_by_name.setdefault(name, len(self._names))
        if code == len(self._names):
            self._names.append(name)
        self._codes.append(code)

    @property
    def names(self) -> tuple[str, ...]:
        """Returns each name once, in the order in which they first came."""
        return tuple(self._names)

    @property
    def codes(self) -> NDArray[np.int32]:
        """Returns the position of each in ``names``, a copy."""
        return np.array(self._codes, np.int32)

    def __len__(self) -> int:
        """Returns how many names were added."""
        return len(self._codes)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Returns the name at a place, or a list of those of a slice."""
        if isinstance(place, slice):
            return [self._names[code] for code in self._codes[place]]
        return self._names[self._codes[place]]


class NameIndex:
    """Tells where names stand in a list of very many, with 16 bytes for each."""

    def __init__(self, names: Sequence[str]) -> None:
        """Begins with a list in which each name stands once; it must not change."""
        self._names = names
        hashes = np.fromiter(map(hash, names), np.int64, len(names))
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]

    def positions(self, wanted: Sequence[str]) -> NDArray[np.int64]:
        """Returns where each wanted name stands; -1 where it does not."""
        hashes = np.fromiter(map(hash, wanted), np.int64, len(wanted))
        if not len(self._sorted):
            return np.full(len(hashes), -1)
        places = np.searchsorted(self._sorted, hashes)
        places = np.minimum(places, len(self._sorted) - 1)
        found = self._order[places]
        same = self._sorted[places] == hashes
        # Two names may share a hash, if hardly ever: who is found is looked in the face.
        for index in np.flatnonzero(same).tolist():
            same[index] = self._names[int(found[index])] == wanted[index]
        return np.where(same, found, -1)
