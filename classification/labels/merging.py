"""What the merged JSON says of a crop, an image and its categories."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Self

import numpy as np

from classification.labels import ranking
from classification.labels.wording import some_of
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from classification.artifacts.predictions import Predictions

# The ids of true labels are those of the categories plus this.
TRUTH_OFFSET = 1_000_000


class Place(Enum):
    """Where among the classifications of a crop its true label stands."""

    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True)
class Rule:
    """What is said of a crop.

    Attributes:
        threshold: least probability of a category.
        truth: where the true label stands, or None to leave it out. At the end it
            breaks the order of falling confidence, since its confidence is 1.
        relative: tell by how much each category leads the true label.
        least: a least probability of each category that comes on top of ``threshold``;
            one that is not in it is never told. None: of none.
    """

    threshold: float = 0.1
    truth: Place | None = None
    relative: bool = False
    least: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Classifier:
    """Which column of a classifier output is which category.

    Attributes:
        names: of the categories, in id order.
        columns: position of each category's column, or empty if only true labels count.
        has_label: the output has true labels.
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    has_label: bool

    @classmethod
    def match(
        cls,
        names: Sequence[str],
        columns: Sequence[str],
        *,
        has_label: bool,
        rule: Rule,
    ) -> Self:
        """Finds the columns of the categories.

        Columns without a category are left aside, see ``unused``.

        Raises:
            ConfigurationError: a column is missing that the rule needs.
        """
        if not has_label and (rule.truth or rule.relative):
            flag = "--label" if rule.truth else "--relative-conf"
            raise ConfigurationError(f"{flag} needs the column label; there is none")
        position = {name: index for index, name in enumerate(columns)}
        missing = [name for name in names if name not in position]
        if not missing:
            places = tuple(position[name] for name in names)
            return cls(tuple(names), places, has_label)
        if len(missing) < len(names) or rule.relative or not rule.truth:
            raise ConfigurationError(f"no column for the category {some_of(missing)}")
        return cls(tuple(names), (), has_label)

    def unused(self, columns: Sequence[str]) -> list[str]:
        """Returns the columns that are no category."""
        return [name for name in columns if name not in self.names]

    def tell(
        self, batch: Predictions[np.float64], rule: Rule, *, first_row: int
    ) -> list[list[tuple[int, float]]]:
        """Lists what is said of each crop: (category id, confidence) pairs.

        Args:
            batch: the crops.
            rule: what to say.
            first_row: row of the first of them, for the address of a fault.

        Raises:
            ArtifactError: a true label is no category.
        """
        truth = self._truth(batch.labels, first_row) if self.has_label else []
        ranked: list[list[tuple[int, float]]] = [[] for _ in batch.paths]
        if self.columns:
            probabilities = batch.probabilities[:, self.columns]
            if rule.relative:
                probabilities = ranking.relative_to_truth(probabilities, truth)
            ranked = ranking.rank(probabilities, self._thresholds(rule))
        if rule.truth is None:
            return ranked
        stated = [[(index + TRUTH_OFFSET, 1.0)] for index in truth]
        if rule.truth is Place.FIRST:
            return [one + rest for one, rest in zip(stated, ranked, strict=True)]
        return [rest + one for one, rest in zip(stated, ranked, strict=True)]

    def _thresholds(self, rule: Rule) -> float | NDArray[np.float64]:
        if rule.least is None:
            return rule.threshold
        least = [rule.least.get(name, float("inf")) for name in self.names]
        return np.maximum(least, rule.threshold)

    def _truth(self, labels: Sequence[str] | None, first_row: int) -> list[int]:
        position = {name: index for index, name in enumerate(self.names)}
        for row, label in enumerate(labels or (), first_row):
            if label not in position:
                raise ArtifactError(
                    f"{label!r} is none of the categories",
                    where=f"row {row}, column label",
                )
        return [position[label] for label in labels or ()]

    def categories(self) -> dict[str, str]:
        """Returns the names by id, those of true labels last."""
        named = {str(index): name for index, name in enumerate(self.names)}
        truth = {
            str(index + TRUTH_OFFSET): f"label: {name}"
            for index, name in enumerate(self.names)
        }
        return {**named, **truth} if self.has_label else named


def with_categories(
    name_by_id: Mapping[str, str], names: Iterable[str]
) -> dict[str, str]:
    """Returns the categories and those of ``names`` that are new, by id.

    New ones take the whole numbers after the highest id, in the order of their names.
    """
    known = set(name_by_id.values())
    free = count(max((int(id_) for id_ in name_by_id), default=0) + 1)
    added = {str(next(free)): name for name in sorted(set(names) - known)}
    return {**name_by_id, **added}


def dataset_of(image: str) -> str:
    """Returns the part of an image's name before the first ``/``, empty without one."""
    return image.partition("/")[0] if "/" in image else ""
