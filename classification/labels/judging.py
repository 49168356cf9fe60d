"""How the categories of a classifier become the labels that it is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts.target_mapping import OTHER
from classification.labels.aggregation import Aggregation
from classification.labels.wording import some_of
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What probabilities go through before they are compared with the truth.

    Attributes:
        labels: names of the columns; those of the training set, in their order, and
            ``other`` where a mapping has it and they do not.
        aggregation: how categories add up, to ``labels`` and, last, to nothing; None
            where they are the labels, in their order.
        silent: labels that no category stands for.
        ignored: categories that stand for no label.
    """

    labels: tuple[str, ...]
    aggregation: Aggregation | None
    silent: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the probability of each label, shape [N, labels].

        Adding up probabilities is what the logarithm of the sum of exponentials of
        logits, and a softmax over the targets, come to. So each row adds up to 1, even
        where some categories stand for no label.
        """
        if self.aggregation is None:
            return rows
        sums = self.aggregation.sums(rows.astype(np.float64))[:, :-1]
        total = sums.sum(axis=1, keepdims=True)
        shares = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
        return np.asarray(shares, np.float32)


def as_labels(categories: Sequence[str], labels: Sequence[str]) -> Judged:
    """Judges a classifier whose categories are the labels, in any order.

    Raises:
        ConfigurationError: they are others.
    """
    if tuple(categories) == tuple(labels):
        return Judged(labels=tuple(labels), aggregation=None)
    missing = [label for label in labels if label not in categories]
    further = [name for name in categories if name not in labels]
    if missing or further:
        what = (
            f"has no {some_of(missing)}" if missing else f"also has {some_of(further)}"
        )
        raise ConfigurationError(
            f"the classifier's categories are not the labels of the dataset: it {what}; "
            "give --target-mapping with --label-index"
        )
    return _add_up(categories, labels, {label: (label,) for label in labels})


def as_targets(
    categories: Sequence[str],
    labels: Sequence[str],
    labels_by_target: Mapping[str, Sequence[str]],
) -> Judged:
    """Judges a classifier by what a mapping makes of its categories.

    Args:
        categories: of the classifier.
        labels: of the training set.
        labels_by_target: categories of each label; a label may be absent.

    Raises:
        ConfigurationError: the mapping names a category or a label that is not there.
    """
    known = {*labels, OTHER}
    if unknown := [target for target in labels_by_target if target not in known]:
        raise ConfigurationError(
            f"the dataset has no label {some_of(unknown)}; the mapping was made for "
            "another label specification"
        )
    named = [name for names in labels_by_target.values() for name in names]
    if absent := sorted(set(named) - set(categories)):
        raise ConfigurationError(
            f"the classifier has no category {some_of(absent)}; the mapping was made "
            "for another classifier"
        )
    columns = list(labels)
    if OTHER in labels_by_target and OTHER not in columns:
        columns.append(OTHER)
    return _add_up(categories, columns, labels_by_target)


def _add_up(
    categories: Sequence[str],
    columns: Sequence[str],
    labels_by_target: Mapping[str, Sequence[str]],
) -> Judged:
    place = {name: index for index, name in enumerate(columns)}
    place_by_category = {
        name: place[target]
        for target, names in labels_by_target.items()
        for name in names
    }
    return Judged(
        labels=tuple(columns),
        aggregation=Aggregation(
            (*columns, ""),
            tuple(place_by_category.get(name, len(columns)) for name in categories),
        ),
        silent=tuple(name for name in columns if not labels_by_target.get(name)),
        ignored=tuple(name for name in categories if name not in place_by_category),
    )
