"""Checks of very many names at once: each stays inside its folder, none stands twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from classification.artifacts import layout
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

T = TypeVar("T")

# What every name that ``layout.checked_name`` refuses shows in its block; a harmless
# name may show it, too.
_SUSPICIOUS = ("\n\n", "\n/", "/\n", "\0", "\\", "..", ":")


def find_unsafe(names: Sequence[str]) -> int | None:
    """Returns the position of the first name that ``layout.checked_name`` refuses.

    Costs a few nanoseconds per name where nothing looks suspicious.
    """
    joined = "\n".join(("", *names, ""))
    if not any(mark in joined for mark in _SUSPICIOUS):
        return None
    return next((i for i, name in enumerate(names) if not _is_safe(name)), None)


def _is_safe(name: str) -> bool:
    try:
        layout.checked_name(name)
    except ArtifactError:
        return False
    return True


def once(
    blocks: Iterable[tuple[Path, Sequence[str], T]],
    again: Callable[[], Iterable[tuple[Path, Sequence[str], object]]],
) -> Iterator[T]:
    """Yields what comes with names of several files, and sees that none stands twice.

    Args:
        blocks: file, names, and what is yielded for them.
        again: returns the same once more.

    Raises:
        ArtifactError: a name stands twice; said after the last block.
    """
    seen = SeenNames()
    for _, names, what in blocks:
        seen.add(names)
        yield what
    hashes = seen.repeated_hashes()
    files: dict[str, Path] = {}
    for file, names, _ in again() if hashes else ():
        for name in names:
            if hash(name) in hashes and name in files:
                raise ArtifactError(
                    f"{name!r} stands in {files[name]} already", where=str(file)
                )
            if hash(name) in hashes:
                files[name] = file


class SeenNames:
    """Tells whether a name stood twice, at 8 bytes of memory per name.

    Only hashes are kept, so ``repeated_hashes`` may name a few that are merely
    equal by chance; who finds some reads the names again to be sure.
    """

    def __init__(self) -> None:
        """Begins with no name."""
        self._hashes: list[NDArray[np.int64]] = []

    def add(self, names: Sequence[str]) -> None:
        """Notes a block of names."""
        self._hashes.append(np.fromiter(map(hash, names), np.int64, len(names)))

    def repeated_hashes(self) -> frozenset[int]:
        """Returns each ``hash(name)`` that was noted more than once."""
        if not self._hashes:
            return frozenset()
        ordered = np.sort(np.concatenate(self._hashes))
        return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
