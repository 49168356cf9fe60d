"""What a box holds, as detectors and people name it, in the four words of the store."""

from __future__ import annotations

import re

from detection.records import ANIMAL, PERSON, VEHICLE
from taxonomy.graph import normal

GROUP = "group"
CATEGORIES = (ANIMAL, PERSON, VEHICLE, GROUP)

_EMPTY = frozenset({"empty", "blank", "background", "nothing", "none"})
_PEOPLE = frozenset({"person", "people", "human", "humans", "homo"})
_VEHICLES = frozenset(
    {"vehicle", "vehicles", "car", "cars", "truck", "motorcycle", "motorbike"}
    | {"bicycle", "bike", "atv", "bus", "tractor", "train", "boat", "aircraft"}
)
_WORD = re.compile(r"[^\W\d_]+")


def categorize(name: str) -> str | None:
    """Returns ``animal``, ``person``, ``vehicle`` or ``group``; None for nothing at all.

    These four stand for themselves. Of any other name the first word decides: one for
    people or for vehicles, such as ``human-hiker`` or ``homo sapiens``, or one for an
    empty image. All else, such as the name of a species, is an animal.
    """
    words = _WORD.findall(normal(name))
    first = words[0] if words else ""
    if first in _EMPTY:
        return None
    if first in _PEOPLE:
        return PERSON
    if first in _VEHICLES:
        return VEHICLE
    return GROUP if words == [GROUP] else ANIMAL
