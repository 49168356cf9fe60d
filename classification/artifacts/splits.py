"""``splits.json``: which split each location is in.

Written by ``create_classification_dataset``; read by it (``--match-test``), and by
``report_dataset``, ``train_classifier`` and ``evaluate_model``::

    {
     "train": [["caltech", "13"], ["idfg", "unknown_location"]],
     "val": [["caltech", "38"]],
     "test": [["caltech", "100"], ["caltech", "9"]]
    }

A location is a pair: its dataset, and its name within the dataset, which is text whatever
it looks like. Each list is sorted as text, so that 100 comes before 9. No location stands
twice: all crops of a location are in one split. (In the file, each name is on a line of
its own.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from classification.artifacts import _json
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILENAME = "splits.json"
_KEYS = ("train", "val", "test")


class Location(NamedTuple):
    """Where a camera stood.

    Attributes:
        dataset: the source that names it.
        name: its name there.
    """

    dataset: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """The locations of each split, sorted; no location is in two.

    Attributes:
        train: to learn from.
        val: to choose the best epoch by.
        test: to say at last how good the classifier is.
    """

    train: tuple[Location, ...]
    val: tuple[Location, ...]
    test: tuple[Location, ...]

    def by_location(self) -> dict[Location, str]:
        """Returns the name of each location's split."""
        return {
            location: key for key in _KEYS for location in sorted(getattr(self, key))
        }


def from_dict(document: Mapping[str, Any]) -> Splits:
    """Returns the locations of each split.

    Raises:
        ArtifactError: it is not as the format says, or a location stands twice.
    """
    for key in document:
        if key not in _KEYS:
            raise ArtifactError(f"unknown key; known are {', '.join(_KEYS)}", where=key)
    where_by_location: dict[Location, str] = {}
    train, val, test = (
        _to_locations(document.get(key), key, where_by_location) for key in _KEYS
    )
    return Splits(train=train, val=val, test=test)


def _to_locations(
    value: object, key: str, where_by_location: dict[Location, str]
) -> tuple[Location, ...]:
    if not isinstance(value, list):
        raise ArtifactError("a list of [dataset, location] expected", where=key)
    locations = []
    for index, pair in enumerate(value):
        where = f"{key}[{index}]"
        location = _to_location(pair, where)
        if location in where_by_location:
            raise ArtifactError(
                f"{list(location)} stands at {where_by_location[location]} already",
                where=where,
            )
        where_by_location[location] = where
        locations.append(location)
    return tuple(sorted(locations))


def _to_location(pair: object, where: str) -> Location:
    if (
        not isinstance(pair, list)
        or len(pair) != len(Location._fields)
        or not isinstance(pair[0], str)
        or not isinstance(pair[1], str | int)
        or isinstance(pair[1], bool)
    ):
        raise ArtifactError("[dataset, location] expected, two texts", where=where)
    return Location(pair[0], str(pair[1]))


def to_dict(splits: Splits) -> dict[str, list[list[str]]]:
    """Returns the document to write, each list sorted."""
    return {key: [list(pair) for pair in sorted(getattr(splits, key))] for key in _KEYS}


def read(path: Path) -> Splits:
    """Reads and checks which split each location is in."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def write(path: Path, splits: Splits) -> None:
    """Writes which split each location is in."""
    _json.write_object(path, to_dict(splits))
