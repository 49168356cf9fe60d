"""Sums the probabilities of a classifier's categories to those of targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from classification.labels.wording import some_of
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Aggregation:
    """How the categories of a classifier add up to targets.

    Attributes:
        targets: names of the targets, sorted.
        target_by_category: position in ``targets`` of each category, in category order.
    """

    targets: tuple[str, ...]
    target_by_category: tuple[int, ...]

    @classmethod
    def plan(
        cls, categories: Sequence[str], labels_by_target: Mapping[str, Sequence[str]]
    ) -> Self:
        """Places each category under its target.

        Args:
            categories: names of the classifier's categories.
            labels_by_target: the categories of each target, no category twice; a
                target without any is left out.

        Raises:
            ConfigurationError: the mapping names a category that the classifier does
                not have, or leaves one out.
        """
        target_by_label = {
            label: target
            for target, labels in labels_by_target.items()
            for label in labels
        }
        if unknown := target_by_label.keys() - set(categories):
            raise ConfigurationError(
                f"the classifier output has no column {some_of(sorted(unknown))}; the mapping "
                "was made for another classifier"
            )
        if left_out := [name for name in categories if name not in target_by_label]:
            raise ConfigurationError(
                f"no target takes the column {some_of(left_out)}; "
                "map_classification_categories puts such labels under other"
            )
        targets = tuple(sorted(set(target_by_label.values())))
        position = {target: index for index, target in enumerate(targets)}
        return cls(
            targets, tuple(position[target_by_label[name]] for name in categories)
        )

    def sums(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Adds up each row; sums are not scaled to 1.

        Categories are added in their order, one after the other, so that the last
        digit is the same on every machine, which a matrix product does not promise.

        Args:
            probabilities: shape [rows, categories].

        Returns:
            The sums, shape [rows, targets].
        """
        total = np.zeros((len(self.targets), len(probabilities)))
        columns = np.ascontiguousarray(probabilities.T)
        for column, target in zip(columns, self.target_by_category, strict=True):
            total[target] += column
        return np.ascontiguousarray(total.T)
