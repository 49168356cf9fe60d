"""Reads what an evaluation left in a folder: answers, labels, metrics, locations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import (
    confusion_matrices,
    dataset_csv,
    evaluation,
    label_index,
    location_stats,
    predictions,
    predictions_info,
)
from classification.measuring import answers, metrics
from classification.measuring.by_label import Places
from classification.measuring.groups import Group
from classification.runtime import registry
from classification.runtime.errors import ArtifactError, ConfigurationError, in_file
from classification.runtime.name_list import CodedList, NameIndex, NameList

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.artifacts.evaluation import Evaluation
    from classification.measuring.answers import Answers, Calibrate

_FIRST, _LAST = ("test", "val"), "train"  # the most telling splits, and the least
NOWHERE = "unknown: not in classification_ds.csv"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What is done to the probabilities that a network gives.

    Attributes:
        labels: whose probabilities it takes, in their order.
        apply: does it.
        title: says how.
        outputs_sha256: of the file that it was fitted to.
    """

    labels: tuple[str, ...]
    apply: Calibrate
    title: str
    outputs_sha256: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """What an evaluation found.

    Attributes:
        name: of its folder.
        labels: names in id order.
        splits: those it knows of, the most telling first.
        answers: of the splits whose probabilities are there.
        matrices: confusion matrix of each split.
        metrics: what metrics.json says, or None where there is none.
        notes: what is missing, or does not fit together.
    """

    name: str
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    answers: Mapping[str, Answers]
    matrices: Mapping[str, NDArray[np.int64]]
    metrics: Evaluation | None
    notes: tuple[str, ...]


def read(
    logdir: Path, *, wanted: Sequence[str] = (), calibration: Calibration | None = None
) -> Run:
    """Reads the outputs of an evaluation.

    Args:
        logdir: where they are.
        wanted: names of splits; empty for all there are.
        calibration: what is done to probabilities, or None for nothing. It is not
            done to those that are calibrated already.

    Raises:
        ArtifactError: a file breaks its format, or there is none.
        ConfigurationError: a wanted split is not there, or columns, or the labels of
            the calibration, are not the labels.
        StorageError: the folder cannot be read.
    """
    outputs = predictions.find_outputs(logdir)
    known = _matrices(logdir)
    splits = _chosen(logdir, {*outputs, *known}, wanted)
    labels = _labels(logdir, [outputs[one] for one in splits if one in outputs])
    if calibration is not None and calibration.labels != labels:
        raise ConfigurationError(
            f"the calibration is of a model of other labels than {logdir}: "
            f"{answers.first_difference(calibration.labels, labels)}"
        )
    found: dict[str, Answers] = {}
    notes: list[str] = []
    for split in splits:
        if split in outputs:
            found[split], more = _answers(outputs[split], labels, calibration)
            if split in known and not _same(found[split].matrix, known[split]):
                more.append(f"{confusion_matrices.FILENAME} tells of another run")
        else:
            name = predictions.outputs_name(split)
            more = [f"{name} is missing, so there is only a confusion matrix"]
        notes += [f"{split}: {note}" for note in more]
    matrices = {
        split: found[split].matrix if split in found else known[split]
        for split in splits
    }
    _check_sizes(logdir, labels, matrices)
    return Run(
        name=logdir.resolve().name or str(logdir),
        labels=labels,
        splits=splits,
        answers=found,
        matrices=matrices,
        metrics=_metrics(logdir),
        notes=tuple(notes),
    )


def _answers(
    path: Path, labels: Sequence[str], calibration: Calibration | None
) -> tuple[Answers, list[str]]:
    """Returns the answers of a split, and what a reader should know of them."""
    file = predictions.open_file(path)
    if predictions_info.find(path).calibration is not None:
        return answers.read(file, labels), ["probabilities are calibrated already"]
    if calibration is None:
        return answers.read(file, labels), []
    fitted = registry.sha256_of(path) == calibration.outputs_sha256
    return answers.read(file, labels, calibrate=calibration.apply), [
        "calibration was fitted to these crops; see it on another split"
    ] * fitted


def _matrices(logdir: Path) -> dict[str, NDArray[np.int64]]:
    path = logdir / confusion_matrices.FILENAME
    return confusion_matrices.read(path) if path.exists() else {}


def _chosen(logdir: Path, there: set[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Returns the splits to show: those wanted, or all, test first and train last."""
    if not there:
        raise ArtifactError(
            f"neither {predictions.outputs_name('test')} nor "
            f"{confusion_matrices.FILENAME}; evaluate_model writes them",
            where=str(logdir),
        )
    for split in wanted:
        if split not in there:
            raise ConfigurationError(
                f"{logdir} knows of {', '.join(in_order(there))}, not of {split!r}"
            )
    return tuple(dict.fromkeys(wanted)) or in_order(there)


def in_order(splits: set[str]) -> tuple[str, ...]:
    """Returns splits, the most telling first."""
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    return tuple(
        sorted(splits, key=lambda one: (one == _LAST, ranks.get(one, len(ranks)), one))
    )


def _labels(logdir: Path, outputs: Sequence[Path]) -> tuple[str, ...]:
    """Returns what label_index.json says, of the folder or its parent, or the columns."""
    if (path := label_index.find(logdir)) is not None:
        return label_index.read(path)
    if outputs:
        return predictions.open_file(outputs[0]).categories
    raise ArtifactError(
        "missing, here and in the folder above; create_classification_dataset writes it",
        where=str(logdir / label_index.FILENAME),
    )


def _same(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _check_sizes(
    logdir: Path, labels: Sequence[str], matrices: Mapping[str, NDArray[np.int64]]
) -> None:
    for split, matrix in matrices.items():
        if len(matrix) != len(labels):
            with in_file(logdir / confusion_matrices.FILENAME):
                raise ArtifactError(
                    f"{len(matrix)} labels, but {label_index.FILENAME} has {len(labels)}",
                    where=split,
                )


def _metrics(logdir: Path) -> Evaluation | None:
    path = logdir / evaluation.FILENAME
    return evaluation.read(path) if path.exists() else None


class Locations:
    """Where the crops of a training set were taken."""

    def __init__(self, table: Path) -> None:
        """Reads classification_ds.csv.

        Raises:
            ArtifactError: it is missing or breaks its format.
        """
        names, self._where = NameList(), CodedList()
        for row in dataset_csv.read(table):
            names.append(row.path)
            self._where.append(f"{row.dataset}/{row.location}")
        self._index = NameIndex(names)

    def of(self, names: Sequence[str]) -> tuple[Places, int]:
        """Returns where crops were taken, and how many of them the table lacks.

        Those it lacks share one place, ``NOWHERE``.
        """
        found = self._index.positions(names)
        everywhere = (*self._where.names, NOWHERE)
        codes = np.append(self._where.codes, len(everywhere) - 1)[found]
        present, own = np.unique(codes, return_inverse=True)
        places = Places(
            codes=own.astype(np.int32),
            names=tuple(everywhere[int(code)] for code in present),
        )
        return places, int((found < 0).sum())


def location_groups(logdir: Path, split: str) -> tuple[Group, ...]:
    """Returns what location_stats.csv says of a split; nothing where there is none."""
    path = logdir / location_stats.FILENAME
    if not path.exists():
        return ()
    rows = [row for row in location_stats.read(path) if row.split == split]
    return tuple(
        Group(row.location, row.crops, right, metrics.wilson(right, row.crops))
        for row in rows
        if (right := round(row.accuracy * row.crops)) <= row.crops
    )
