"""Falls back to a broader group where a classifier is unsure of the finer one.

A classifier that hesitates between a grey fox and a weasel is still sure of a mammal.
Groups of several levels, finest first, each hold the summed probabilities of the same
categories; of each crop the finest level is kept that has a group of at least the
threshold. The idea is the roll-up of SpeciesNet (Gadot et al., 2024, "To crop or not to
crop"), here by groups that the user names instead of by ranks.

Probabilities are not scaled up to the animals' share: on a box that holds no animal that
share is small, and scaling it up would make an animal of a leaf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts.target_mapping import OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


DEFAULT_THRESHOLD = 0.65


@dataclass(frozen=True, slots=True)
class Level:
    """Groups of one level, and how probable each is for each crop.

    Attributes:
        names: of the groups; ``other``, what is in no group, may be among them.
        probabilities: shape [crops, groups], in [0, 1].
    """

    names: tuple[str, ...]
    probabilities: NDArray[np.float64]


def roll_up(levels: Sequence[Level], threshold: float) -> Level:
    """Keeps, for each crop, the finest level that is sure, and zeros the others.

    Args:
        levels: finest first, all of the same crops.
        threshold: least probability of a group, ``other`` apart, that makes its level
            sure; above 0.5 no two groups of a level can reach it.

    Returns:
        The groups of all levels in their order, ``other`` once and last where a level
        has it. A crop that no level is sure of keeps only the finest ``other``.

    Raises:
        ValueError: two levels share the name of a group.
    """
    names = _joined([level.names for level in levels])
    column = {name: index for index, name in enumerate(names)}
    crops = len(levels[0].probabilities)
    kept = np.zeros((crops, len(names)))
    undecided = np.ones(crops, dtype=bool)
    for level in levels:
        sure = undecided & _is_sure(level, threshold)
        rows = np.flatnonzero(sure)
        columns = np.array([column[name] for name in level.names])
        kept[rows[:, None], columns] = level.probabilities[rows]
        undecided &= ~sure
    finest = levels[0]
    if OTHER in finest.names:
        other = finest.probabilities[:, finest.names.index(OTHER)]
        kept[undecided, column[OTHER]] = other[undecided]
    return Level(names, kept)


def _is_sure(level: Level, threshold: float) -> NDArray[np.bool_]:
    groups = [index for index, name in enumerate(level.names) if name != OTHER]
    best: NDArray[np.float64] = level.probabilities[:, groups].max(axis=1, initial=0)
    return best >= threshold


def _joined(names_by_level: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    groups = [name for names in names_by_level for name in names if name != OTHER]
    if twice := {name for name in groups if groups.count(name) > 1}:
        raise ValueError(f"{min(twice)!r} is a group of two levels")
    has_other = any(OTHER in names for names in names_by_level)
    return (*groups, OTHER) if has_other else tuple(groups)
