"""How messages name things of which there may be many."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED = 3


def some_of(names: Sequence[str], most: int = _NAMED) -> str:
    """Returns the first names, quoted, ``most`` of them, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown
