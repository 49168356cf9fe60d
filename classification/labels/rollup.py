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
from typing import TYPE_CHECKING, Self

import numpy as np

from classification.artifacts.target_mapping import OTHER
from classification.labels.aggregation import Aggregation
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Level:
    """Groups of one level, and how probable each is for each crop.

    Attributes:
        names: of the groups; ``other``, what is in no group, may be among them.
        probabilities: shape [crops, groups], in [0, 1].
    """

    names: tuple[str, ...]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class RollUp:
    """How the categories of a classifier add up to groups of several levels.

    Attributes:
        levels: how they add up at each level, finest first.
        threshold: least probability of a group that makes its level sure.
        targets: names of the groups of all levels, sorted.
    """

    levels: tuple[Aggregation, ...]
    threshold: float
    targets: tuple[str, ...]

    @classmethod
    def plan(
        cls,
        categories: Sequence[str],
        mappings: Sequence[Mapping[str, Sequence[str]]],
        threshold: float,
    ) -> Self:
        """Places each category under its group at each level.

        Args:
            categories: names of the classifier's categories.
            mappings: the categories of each group, one mapping a level, finest first.
            threshold: least probability of a group that makes its level sure.

        Raises:
            ConfigurationError: a mapping does not fit the categories, or two of them
                share the name of a group.
        """
        levels = tuple(Aggregation.plan(categories, mapping) for mapping in mappings)
        try:
            names = _joined([level.targets for level in levels])
        except ValueError as error:
            raise ConfigurationError(f"{error}; rename one") from None
        return cls(levels, threshold, tuple(sorted(names)))

    def sums(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Adds up each row to the groups of its finest sure level, see ``roll_up``.

        Args:
            probabilities: shape [rows, categories].

        Returns:
            Shape [rows, targets]; zero in the levels that are not kept.
        """
        summed = [Level(each.targets, each.sums(probabilities)) for each in self.levels]
        rolled = roll_up(summed, self.threshold)
        order = [rolled.names.index(name) for name in self.targets]
        return rolled.probabilities[:, order]


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
