"""Two runs side by side: what became better, what became worse, and what that looks like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.measuring import changes
from classification.reports.crop_album import said_of, thumbs
from classification.reports.results_page import Comparison, SplitChanges, Thumb
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classification.measuring.changes import Paired
    from classification.reports.crop_album import Album
    from classification.reports.evaluated import Locations, Run
    from classification.reports.results_plan import ChangePlan


def pair_splits(other: Run, run: Run) -> dict[str, Paired]:
    """Finds the crops that two runs answered for, split by split.

    Raises:
        ConfigurationError: they have no split in common, or do not agree on what is
            true.
    """
    common = [split for split in run.answers if split in other.answers]
    if not common:
        raise ConfigurationError(
            f"{run.name} has probabilities of {', '.join(run.answers) or 'no split'}, "
            f"{other.name} of {', '.join(other.answers) or 'none'}: nothing to compare"
        )
    return {
        split: changes.pair(other.answers[split], run.answers[split])
        for split in common
    }


@dataclass(frozen=True, slots=True)
class Desk:
    """What is at hand while two runs are compared.

    Attributes:
        pairs: by split, the crops that both answered for.
        plans: by split, the crops that are shown.
        where: where crops were taken, or None.
        album: pictures of crops.
    """

    pairs: Mapping[str, Paired]
    plans: Mapping[str, ChangePlan]
    where: Locations | None
    album: Album


def compare(other: Run, run: Run, desk: Desk) -> Comparison:
    """Lays out what changed from another run to this one."""
    return Comparison(
        other.name,
        run.name,
        tuple(_view(f"c{n}", split, desk) for n, split in enumerate(desk.pairs)),
    )


def _view(id_: str, split: str, desk: Desk) -> SplitChanges:
    pair, plan = desk.pairs[split], desk.plans[split]
    places = None if desk.where is None else desk.where.of(pair.now.names)[0]
    thumb = thumbs(pair.now, places, desk.album)

    def both(place: int) -> Thumb:
        one = thumb(place)
        return replace(one, said=(said_of(pair.before, place), *one.said))

    return SplitChanges(
        id=id_,
        name=split,
        crops=len(pair.now),
        only_before=pair.only_before,
        only_now=pair.only_now,
        overall=changes.overall(pair, places),
        labels=tuple(changes.by_label_of(pair)),
        better=int(pair.better.sum()),
        worse=int(pair.worse.sum()),
        better_thumbs=tuple(both(int(place)) for place in plan.better),
        worse_thumbs=tuple(both(int(place)) for place in plan.worse),
    )
