"""What a classifier said of each crop of a split, and what is true: one number a column.

Read from a file of probabilities batch by batch: of each crop its name, its most probable
label and how probable that is are kept, some hundred bytes, most of them the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from classification.measuring import metrics
from classification.runtime.errors import ArtifactError, ConfigurationError
from classification.runtime.name_list import NameList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from classification.artifacts.predictions import PredictionsFile

    # Makes calibrated probabilities of those that the network gave, [rows, labels].
    Calibrate: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_Number = TypeVar("_Number", bound=np.generic)

_FIRST_ROW = 2  # row 1 is the header
_TOP = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Guesses:
    """The most probable label of each crop.

    Attributes:
        predicted: its id, int64 [N].
        confidence: how probable it is, float32 [N].
    """

    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What was said of the crops of a split, in the order of the file.

    Attributes:
        labels: names in id order.
        names: of the crops.
        true: id of each one's label, int64 [N].
        guesses: as the file has them.
        among_top3: the true label is among the three most probable, bool [N].
        calibrated: the guesses after calibration, or None.
    """

    labels: tuple[str, ...]
    names: NameList
    true: NDArray[np.int64]
    guesses: Guesses
    among_top3: NDArray[np.bool_]
    calibrated: Guesses | None = None

    def __len__(self) -> int:
        """Returns how many crops there are."""
        return len(self.true)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Says of each crop whether its most probable label is the true one."""
        return np.asarray(self.guesses.predicted == self.true, np.bool_)

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Returns the confusion matrix; rows are the truth."""
        return metrics.confusion_matrix(
            self.true, self.guesses.predicted, len(self.labels)
        )

    def sure_matrix(self, least: float) -> NDArray[np.int64]:
        """Returns the confusion matrix of the crops of at least this confidence."""
        sure = self.guesses.confidence >= np.float32(least)
        return metrics.confusion_matrix(
            self.true[sure], self.guesses.predicted[sure], len(self.labels)
        )


def read(
    file: PredictionsFile,
    labels: Sequence[str],
    *,
    calibrate: Calibrate | None = None,
) -> Answers:
    """Reads all crops of a classifier output with true labels.

    Args:
        file: a column for each label, in their order.
        labels: names in id order.
        calibrate: what calibration does to probabilities, or None for nothing.

    Raises:
        ArtifactError: the file breaks its format, or a crop's label is none of them.
        ConfigurationError: the file has other labels, or none that are true.
    """
    check(file, labels)
    gathered = _Gathered({label: index for index, label in enumerate(labels)})
    for batch in file.batches():
        true = gathered.ids(batch.labels or (), file)
        gathered.add(batch.paths, true, batch.probabilities, calibrate)
    return Answers(
        labels=tuple(labels),
        names=gathered.names,
        true=_joined(gathered.true, np.int64),
        guesses=gathered.guesses.joined(),
        among_top3=_joined(gathered.among_top3, np.bool_),
        calibrated=gathered.calibrated.joined() if calibrate else None,
    )


def check(file: PredictionsFile, labels: Sequence[str]) -> None:
    """Refuses outputs without true labels, or of other labels.

    Raises:
        ConfigurationError: which of the two.
    """
    check_labelled(file)
    if file.categories != tuple(labels):
        raise ConfigurationError(
            f"{file.path}: its columns are not the labels in their order: "
            f"{first_difference(file.categories, labels)}"
        )


def check_labelled(file: PredictionsFile) -> None:
    """Refuses outputs without true labels.

    Raises:
        ConfigurationError: these are such.
    """
    if not file.has_label:
        raise ConfigurationError(
            f"{file.path}: no column label; evaluate_model writes outputs with true labels"
        )


def first_difference(columns: Sequence[str], labels: Sequence[str]) -> str:
    """Says where columns part from the labels they should be."""
    for column, label in zip(columns, labels, strict=False):
        if column != label:
            return f"{column!r} stands where {label!r} is expected"
    return f"{len(columns)} columns, {len(labels)} labels"


class _Best:
    """Guesses as they come."""

    def __init__(self) -> None:
        self._predicted: list[NDArray[np.int64]] = []
        self._confidence: list[NDArray[np.float32]] = []

    def add(self, probabilities: NDArray[np.float32]) -> None:
        self._predicted.append(metrics.predict(probabilities))
        self._confidence.append(probabilities.max(axis=1))

    def joined(self) -> Guesses:
        return Guesses(
            predicted=_joined(self._predicted, np.int64),
            confidence=_joined(self._confidence, np.float32),
        )


class _Gathered:
    """The columns as they come."""

    def __init__(self, id_by_label: dict[str, int]) -> None:
        self._id_by_label = id_by_label
        self.names = NameList()
        self.true: list[NDArray[np.int64]] = []
        self.among_top3: list[NDArray[np.bool_]] = []
        self.guesses, self.calibrated = _Best(), _Best()

    def ids(self, labels: Sequence[str], file: PredictionsFile) -> NDArray[np.int64]:
        """Returns the ids of labels, which come next."""
        return np.fromiter(self._ids(labels, file), np.int64, len(labels))

    def _ids(self, labels: Sequence[str], file: PredictionsFile) -> Iterator[int]:
        for row, label in enumerate(labels, _FIRST_ROW + len(self.names)):
            found = self._id_by_label.get(label)
            if found is None:
                raise ArtifactError(
                    f"{label!r} is no column of the file",
                    where=f"{file.path}: row {row}, column label",
                )
            yield found

    def add(
        self,
        names: Sequence[str],
        true: NDArray[np.int64],
        probabilities: NDArray[np.float32],
        calibrate: Calibrate | None,
    ) -> None:
        for name in names:
            self.names.append(name)
        self.true.append(true)
        self.among_top3.append(metrics.hits(probabilities, true, _TOP))
        self.guesses.add(probabilities)
        if calibrate is not None:
            self.calibrated.add(calibrate(probabilities))


def _joined(
    parts: Sequence[NDArray[_Number]], dtype: type[_Number]
) -> NDArray[_Number]:
    return np.concatenate([np.empty(0, dtype), *parts])
