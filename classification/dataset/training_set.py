"""A training set as it is learnt from: the crops of each split, labelled and weighed.

Millions of rows are held as columns: some hundred bytes each, most of them the name.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import dataset_csv, label_index, splits
from classification.artifacts.layout import CropName
from classification.artifacts.splits import Location
from classification.dataset import weighting
from classification.dataset.counts import SPLITS
from classification.runtime.errors import ArtifactError, in_file
from classification.runtime.name_list import CodedList, NameList

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.artifacts.dataset_csv import CropRow
    from classification.dataset.weighting import ConfidenceWeight


@dataclass(frozen=True, kw_only=True)
class SplitRows:
    """The examples of one split, in the order of classification_ds.csv.

    Attributes:
        paths: names of the crops.
        labels: id of each one's label, int64 [N].
        weights: how much each counts, float64 [N]; sums to N but for confidence
            weights.
        locations: ``<dataset>/<location>`` of each.
        datasets: the source of each.
        confidences: of the detector, float64 [N]; 1 for a box that a person drew.
        numbers: position of each among all rows of classification_ds.csv, int64 [N].
        digests: of what each crop must hold, uint8 [N, 16], zeros for one that cannot be
            read; None where that is not known.
    """

    paths: NameList
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    locations: CodedList
    datasets: CodedList
    confidences: NDArray[np.float64]
    numbers: NDArray[np.int64]
    digests: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        """Returns how many examples there are."""
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What ``create_classification_dataset`` made, ready to be learnt from.

    Attributes:
        labels: names in id order.
        splits: examples by ``train``, ``val``, ``test``.
        without_split: number of rows at a location that is in no split; left out.
    """

    labels: tuple[str, ...]
    splits: Mapping[str, SplitRows]
    without_split: int = 0

    def missing_labels(self, split: str) -> tuple[str, ...]:
        """Returns the labels of which a split has no example."""
        counts = np.bincount(self.splits[split].labels, minlength=len(self.labels))
        return tuple(
            name for name, count in zip(self.labels, counts, strict=True) if not count
        )

    def with_digests(self, digests: NDArray[np.uint8]) -> TrainingSet:
        """Returns the same with what each crop must hold.

        Args:
            digests: of all rows of classification_ds.csv, uint8 [N, 16].
        """
        known = {
            split: replace(rows, digests=digests[rows.numbers])
            for split, rows in self.splits.items()
        }
        return replace(self, splits=known)

    def notes(self) -> list[str]:
        """Returns a sentence on each thing a person should know before training."""
        found = [
            f"{split} has no example of {', '.join(missing)}; it counts in no mean of "
            f"{split}"
            for split in SPLITS
            if (missing := self.missing_labels(split))
        ]
        if self.without_split:
            found.append(
                f"{self.without_split} crops are at locations that {splits.FILENAME} "
                "does not have; they are left out"
            )
        return found


def read(
    dataset_dir: Path,
    *,
    label_weighted: bool = False,
    confidence_weight: ConfidenceWeight | None = None,
    split_by_location: Mapping[Location, str] | None = None,
) -> TrainingSet:
    """Reads the three files of a training set and weighs its examples.

    Args:
        dataset_dir: holds classification_ds.csv, label_index.json and splits.json.
        label_weighted: let all labels of a split count the same.
        confidence_weight: makes weights of the confidences of train; those of the
            other splits are not used.
        split_by_location: the split of each location; None for what splits.json says,
            which is not read otherwise.

    Raises:
        ArtifactError: a file is missing or malformed, a label is reserved, or a crop
            has several labels or one that label_index.json does not have; with file
            and row.
    """
    labels = _read_labels(dataset_dir / label_index.FILENAME)
    if split_by_location is None:
        split_by_location = splits.read(dataset_dir / splits.FILENAME).by_location()
    gathered = {split: _Gathered() for split in SPLITS}
    without_split = _gather(
        dataset_dir / dataset_csv.FILENAME, labels, split_by_location, gathered
    )
    return TrainingSet(
        labels=labels,
        splits={
            split: rows.weighed(
                label_weighted=label_weighted,
                confidence_weight=confidence_weight if split == "train" else None,
            )
            for split, rows in gathered.items()
        },
        without_split=without_split,
    )


def _read_labels(path: Path) -> tuple[str, ...]:
    labels = label_index.read(path)
    for index, label in enumerate(labels):
        try:
            dataset_csv.check_label(label)
        except ArtifactError as error:
            raise ArtifactError(error.message, where=f"{path}: {index}") from error
    return labels


def _gather(
    path: Path,
    labels: tuple[str, ...],
    split_by_location: Mapping[Location, str],
    gathered: Mapping[str, _Gathered],
) -> int:
    """Puts each row into its split; returns how many are in none."""
    id_by_label = {label: index for index, label in enumerate(labels)}
    without_split = 0
    for number, row in enumerate(dataset_csv.read(path)):
        label = id_by_label.get(row.label)
        if label is None:
            with in_file(path):
                raise _unknown(row, number + 2)
        split = split_by_location.get(Location(row.dataset, row.location))
        if split is None:
            without_split += 1
        else:
            gathered[split].add(row, label, number)
    return without_split


def _unknown(row: CropRow, number: int) -> ArtifactError:
    fault = f"{label_index.FILENAME} does not have {row.label!r}"
    if len(row.labels) > 1:
        fault = f"several labels, {row.label!r}: a classifier is trained with one each"
    return ArtifactError(fault, where=f"row {number}, column label")


@dataclass(frozen=True, slots=True)
class _Gathered:
    """The rows of a split as they come."""

    paths: NameList = field(default_factory=NameList)
    labels: array[int] = field(default_factory=lambda: array("q"))
    confidences: array[float] = field(default_factory=lambda: array("d"))
    drawn: bytearray = field(default_factory=bytearray)
    numbers: array[int] = field(default_factory=lambda: array("q"))
    locations: CodedList = field(default_factory=CodedList)
    datasets: CodedList = field(default_factory=CodedList)

    def add(self, row: CropRow, label: int, number: int) -> None:
        self.paths.append(row.path)
        self.numbers.append(number)
        self.labels.append(label)
        self.confidences.append(row.confidence)
        self.drawn.append(is_drawn(row))
        self.locations.append(f"{row.dataset}/{row.location}")
        self.datasets.append(row.dataset)

    def weighed(
        self, *, label_weighted: bool, confidence_weight: ConfidenceWeight | None
    ) -> SplitRows:
        labels = np.array(self.labels, np.int64)
        confidences = np.array(self.confidences, np.float64)
        weights = np.ones(len(labels))
        if confidence_weight is not None:
            drawn = np.array(self.drawn, np.bool_)
            weights = weighting.by_confidence(confidences, drawn, confidence_weight)
        if label_weighted:
            weights = weighting.by_label(weights, labels)
        return SplitRows(
            paths=self.paths,
            labels=labels,
            weights=weights,
            locations=self.locations,
            datasets=self.datasets,
            confidences=confidences,
            numbers=np.array(self.numbers, np.int64),
        )


def is_drawn(row: CropRow) -> bool:
    """Says whether a person drew the box: it is sure, and no detector is in its name."""
    if row.confidence < 1:
        return False
    try:
        return not CropName.parse(row.path).suffix
    except ArtifactError:
        return True
