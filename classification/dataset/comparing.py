"""Two ways to split the same locations, side by side."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.dataset.counts import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classification.artifacts.splits import Location, Splits

ABSENT = "in none"


@dataclass(frozen=True, slots=True)
class Overlap:
    """How the locations of one splits.json fall into another's splits.

    Attributes:
        locations: number of locations by split here and split there; ``ABSENT``
            where one of the two does not have them.
        moved: locations in another split there than here, sorted, with both splits.
    """

    locations: Mapping[tuple[str, str], int]
    moved: tuple[tuple[Location, str, str], ...]


def compare(here: Splits, there: Splits) -> Overlap:
    """Compares the locations of two splits files."""
    own, other = here.by_location(), there.by_location()
    pairs = {
        location: (own.get(location, ABSENT), other.get(location, ABSENT))
        for location in sorted({*own, *other})
    }
    counts = Counter(pairs.values())
    return Overlap(
        {(a, b): counts[a, b] for a in (*SPLITS, ABSENT) for b in (*SPLITS, ABSENT)},
        tuple(
            (location, one, two)
            for location, (one, two) in pairs.items()
            if one != two and ABSENT not in {one, two}
        ),
    )
