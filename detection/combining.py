"""Two runs of a detector made one, image by image: values, without files.

An image that failed in one run and not in the other did not fail; where it failed in
both, the newer run says why. Where both runs have boxes, those that were there first stay, since crops were cut and named after them;
unless the newer run is to win.
"""

from __future__ import annotations

import heapq
from enum import Enum, auto
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class Result(NamedTuple):
    """What a run says of an image.

    Attributes:
        file: name of the image.
        failed: the detector could not use it.
        document: all that is said, as JSON text.
        is_new: of the newer run.
    """

    file: str
    failed: bool
    document: bytes
    is_new: bool = False


class Fate(Enum):
    """What became of an image."""

    UNTOUCHED = auto()  # the newer run has nothing of it
    ADDED = auto()
    REPLACED = auto()  # the newer result instead of the older
    KEPT = auto()  # the older result, or one that says the same


class Combined(NamedTuple):
    """An image of both runs together.

    Attributes:
        result: what is said of it.
        fate: where that is from.
        repeated: how many results of the newer run were too many, since one run said
            something twice.
    """

    result: Result
    fate: Fate
    repeated: int


def combine(
    older: Iterable[Result], newer: Iterable[Result], *, newer_wins: bool = False
) -> Iterator[Combined]:
    """Yields each image of either run once, sorted by file.

    Holds the results of one image at a time.

    Args:
        older: sorted by file; an image may stand more than once.
        newer: likewise, with ``is_new``.
        newer_wins: take the newer boxes where both have some.
    """
    name = itemgetter(0)
    for _, results in groupby(heapq.merge(older, newer, key=name), key=name):
        yield _decide(list(results), newer_wins=newer_wins)


def _decide(results: Sequence[Result], *, newer_wins: bool) -> Combined:
    """Decides on one image, whose older results come before its newer ones."""
    if len(results) == 1:
        fate = Fate.ADDED if results[0].is_new else Fate.UNTOUCHED
        return Combined(results[0], fate, 0)
    new = [result for result in results if result.is_new]
    old = results[: len(results) - len(new)]
    ranked = [*new, *old] if newer_wins else results
    latest = (new or old)[0]
    chosen = next((result for result in ranked if not result.failed), latest)
    # Of two that say the same, more is known of the newer one.
    chosen = next((result for result in new if result[1:3] == chosen[1:3]), chosen)
    if not new:
        fate = Fate.UNTOUCHED
    elif not old:
        fate = Fate.ADDED
    else:
        says_more = chosen.is_new and chosen.document != old[0].document
        fate = Fate.REPLACED if says_more else Fate.KEPT
    return Combined(chosen, fate, max(0, len(new) - 1))


def align(
    name_by_id: Mapping[str, str], new_name_by_id: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Brings the categories of a newer run under the ids of an older one.

    The same name means the same category, whatever its id. A name that the older run
    lacks keeps its id where that is free, and gets the next one above all where not.

    Returns:
        Names of both by id, and the id among them by each id of the newer run.
    """
    names = dict(name_by_id)
    id_by_name = {name: id_ for id_, name in reversed(names.items())}
    id_by_new_id: dict[str, str] = {}
    for new_id, name in new_name_by_id.items():
        if names.get(new_id) == name:
            id_by_new_id[new_id] = new_id
            continue
        if name not in id_by_name:
            free = new_id not in names
            id_by_name[name] = new_id if free else _next_id([*names, *new_name_by_id])
            names[id_by_name[name]] = name
        id_by_new_id[new_id] = id_by_name[name]
    return names, id_by_new_id


def _next_id(ids: Iterable[str]) -> str:
    return str(max(map(int, ids), default=0) + 1)
