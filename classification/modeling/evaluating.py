"""Measures a classifier on the splits of a training set, split by split.

Crops go the way that they go in ``run_classifier``: the same loader, the same classifier.
What a split gives is written before the next one begins, so that no failure takes away
what was found before it. Nothing that grows with the number of crops is kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from classification.artifacts import (
    confusion_matrices,
    evaluation,
    label_stats,
    location_stats,
    overall_metrics,
    predictions,
    predictions_info,
)
from classification.artifacts.evaluation import (
    Bootstrap,
    Estimate,
    Evaluation,
    Hierarchy,
    SplitMetrics,
)
from classification.artifacts.label_stats import LabelRow
from classification.artifacts.location_stats import LocationRow
from classification.artifacts.overall_metrics import SplitRow
from classification.artifacts.predictions import Evaluated
from classification.artifacts.predictions_info import Origin
from classification.cropping.images import DEFAULT_MAX_PIXELS
from classification.labels import judging
from classification.measuring import metrics
from classification.measuring.tally import Tally
from classification.modeling import known_crops, manifest
from classification.modeling.batches import Loader
from classification.runtime import atomic, progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.dataset.training_set import SplitRows, TrainingSet
    from classification.labels.judging import Judged
    from classification.labels.kinship import Kinship
    from classification.measuring.tally import Statistic
    from classification.modeling.inference import Classifier
    from classification.storage import ImageStore

_CPU_BATCH, _GPU_BATCH = 16, 64
_PERCENT = 100.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure.

    Attributes:
        batch_size: crops at a time, or None for what suits the device.
        workers: threads that decode beside the network.
        max_pixels: a crop of more pixels fails.
        bootstrap: how intervals are found.
    """

    batch_size: int | None = None
    workers: int = 1
    max_pixels: int = DEFAULT_MAX_PIXELS
    bootstrap: Bootstrap = field(default_factory=Bootstrap)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was measured.

    Attributes:
        rows: overall metrics of each split, as written.
        metrics: what else was found, as written.
        crops: number that was classified or failed.
        failures: (crop, reason) of each that could not be read.
        notes: (crop, remark) of each that was read in an unusual way.
    """

    rows: tuple[SplitRow, ...]
    metrics: Evaluation
    crops: int
    failures: list[tuple[str, str]]
    notes: list[tuple[str, str]]


def evaluate(  # noqa: PLR0913 - what is judged, by what, how, and where it goes
    classifier: Classifier,
    training_set: TrainingSet,
    splits: Sequence[str],
    output_dir: Path,
    *,
    store: ImageStore,
    options: Options,
    judged: Judged | None = None,
    kinship: Kinship | None = None,
) -> Found:
    """Classifies the crops of splits and writes how good the classifier is.

    Args:
        classifier: a network that is ready to run.
        training_set: labels and examples; its weights are those of the metrics.
        splits: names, in the order to be written.
        output_dir: where outputs_{split}.csv.gz, overall_metrics.csv, label_stats.csv,
            location_stats.csv, confusion_matrices.npz and metrics.json go.
        store: holds the crops.
        options: how to measure.
        judged: what the classifier's categories stand for; by default the labels.
        kinship: of the labels along a taxonomy, or None.

    Raises:
        ConfigurationError: the classifier's categories are not the labels, or a crop
            does not hold what ``training_set`` says.
        StorageError: a file cannot be written.
    """
    work = _Work(
        classifier=classifier,
        labels=training_set.labels,
        judged=judged or judging.as_labels(classifier.categories, training_set.labels),
        kinship=kinship,
        store=store,
        options=options,
    )
    tables = _Tables(output_dir, work)
    for split in dict.fromkeys(splits):
        rows = training_set.splits[split]
        counted = _count(work, rows, output_dir / predictions.outputs_name(split))
        tables.add(split, counted, _metrics(work, counted))
        _tell(split, tables.overall[-1], counted)
    return Found(
        rows=tuple(tables.overall),
        metrics=tables.evaluation(),
        crops=tables.crops,
        failures=tables.failures,
        notes=tables.notes,
    )


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is judged, by what, and how."""

    classifier: Classifier
    labels: tuple[str, ...]
    judged: Judged
    kinship: Kinship | None
    store: ImageStore
    options: Options

    @property
    def batch_size(self) -> int:
        cpu = self.classifier.device == "cpu"
        return self.options.batch_size or (_CPU_BATCH if cpu else _GPU_BATCH)


class _Counted(NamedTuple):
    """What a split gave."""

    tally: Tally
    locations: tuple[str, ...]
    failures: list[tuple[str, str]]
    notes: list[tuple[str, str]]
    boxes: list[NDArray[np.uint8]]


def _count(work: _Work, rows: SplitRows, path: Path) -> _Counted:
    """Classifies a split; writes probabilities and counts."""
    locations = rows.locations.names
    above = None if work.kinship is None else work.kinship.above
    tally = Tally(len(work.judged.labels), len(locations), above)
    counted = _Counted(tally, locations, [], [], [predictions_info.unknown_boxes(0)])
    predictions.write_evaluated(
        path, work.judged.labels, _classified(work, rows, counted)
    )
    applied = manifest.applied(work.classifier.calibration)
    predictions_info.tell(path, Origin(applied, np.concatenate(counted.boxes)))
    return counted


def _classified(work: _Work, rows: SplitRows, counted: _Counted) -> Iterator[Evaluated]:
    """Yields what is to be written, batch by batch, and counts it."""
    loader = Loader(
        store=work.store,
        preprocessing=work.classifier.preprocessing,
        batch_size=work.batch_size,
        threads=work.options.workers,
        max_pixels=work.options.max_pixels,
    )
    starts = range(0, len(rows), work.batch_size)
    names = (rows.paths[start : start + work.batch_size] for start in starts)
    places = rows.locations.codes
    with progress.bar(len(rows), unit="crops") as shown:
        for start, batch in zip(starts, loader.load(names), strict=True):
            if rows.digests is not None:
                known = rows.digests[start : start + len(batch.names)]
                found = known_crops.digests_of(batch.contents)
                known_crops.check(batch.names, found, known)
            failed = batch.reason_by_place
            counted.failures.extend((batch.names[i], why) for i, why in failed.items())
            counted.notes.extend(
                (batch.names[i], note) for i, note in batch.note_by_place.items()
            )
            predicted = work.classifier.predict(batch.squares)
            good = np.delete(np.arange(len(batch.names)), list(failed))
            counted.boxes.append(batch.boxes[good])
            probabilities = work.judged.probabilities(predicted[good])
            here = start + good
            true = rows.labels[here]
            weights = rows.weights[here]
            counted.tally.add(probabilities, true, weights, places[here])
            yield Evaluated(
                [batch.names[i] for i in good],
                [work.labels[label] for label in true],
                weights.astype(np.float32),
                probabilities,
            )
            shown.update(len(batch.names))


def _metrics(work: _Work, counted: _Counted) -> SplitMetrics:
    tally = counted.tally
    present = tally.crops > 0
    estimates = {
        name: _estimate(statistic, present, work.options.bootstrap)
        for name, statistic in tally.statistics().items()
    }
    return SplitMetrics(
        crops=int(tally.crops.sum()),
        failed=len(counted.failures),
        locations=int(present.sum()),
        hierarchy=_hierarchy(work, tally, present),
        **estimates,
    )


def _estimate(
    statistic: Statistic, present: NDArray[np.bool_], bootstrap: Bootstrap
) -> Estimate:
    """Returns the number over all locations, and its interval."""
    value = float(statistic(present[np.newaxis].astype(np.float64))[0])
    if np.isnan(value):
        return Estimate(value=None)

    def of_present(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        every = np.zeros((len(counts), len(present)))
        every[:, present] = counts
        return statistic(every)

    interval = metrics.location_bootstrap(
        of_present,
        int(present.sum()),
        replicates=bootstrap.replicates,
        seed=bootstrap.seed,
    )
    if interval is None:
        return Estimate(value=value)
    return Estimate(value=value, low=interval.low, high=interval.high)


def _hierarchy(
    work: _Work, tally: Tally, present: NDArray[np.bool_]
) -> Hierarchy | None:
    if work.kinship is None:
        return None
    shares = {
        name: _estimate(statistic, present, work.options.bootstrap)
        for name, statistic in tally.kinds().items()
    }
    return Hierarchy(**shares, ranks=work.kinship.agreement(tally.matrix))


class _Tables:
    """The files that hold all splits; written anew after each."""

    def __init__(self, folder: Path, work: _Work) -> None:
        self._folder = folder
        self._work = work
        self.overall: list[SplitRow] = []
        self.crops = 0
        self.failures: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str]] = []
        self._labels: list[LabelRow] = []
        self._locations: list[LocationRow] = []
        self._matrices: dict[str, NDArray[np.int64]] = {}
        self._metrics: dict[str, SplitMetrics] = {}

    def add(self, split: str, counted: _Counted, found: SplitMetrics) -> None:
        """Adds a split and writes all files."""
        tally = counted.tally
        self.crops += found.crops + found.failed
        self.failures += counted.failures
        self.notes += counted.notes
        self.overall.append(_overall(split, found, tally))
        self._labels += _label_rows(split, self._work.judged.labels, tally)
        self._locations += _location_rows(split, counted)
        self._matrices[split] = tally.matrix
        self._metrics[split] = found
        with atomic.together():
            overall_metrics.write(self._folder / overall_metrics.FILENAME, self.overall)
            label_stats.write(self._folder / label_stats.FILENAME, self._labels)
            location_stats.write(
                self._folder / location_stats.FILENAME, self._locations
            )
            confusion_matrices.write(
                self._folder / confusion_matrices.FILENAME, self._matrices
            )
            evaluation.write(self._folder / evaluation.FILENAME, self.evaluation())

    def evaluation(self) -> Evaluation:
        """Returns what metrics.json holds."""
        return Evaluation(
            model_sha256=self._work.classifier.fingerprint,
            bootstrap=self._work.options.bootstrap,
            splits=self._metrics,
        )


def _overall(split: str, found: SplitMetrics, tally: Tally) -> SplitRow:
    *sums, total = tally.weighted
    loss, top1, top3 = (value / total if total else np.nan for value in sums)
    return SplitRow(
        split,
        _value(found.loss),
        float(loss),
        _PERCENT * _value(found.acc_top1),
        _PERCENT * _value(found.acc_top3),
        _PERCENT * float(top1),
        _PERCENT * float(top3),
    )


def _value(estimate: Estimate) -> float:
    return float("nan") if estimate.value is None else estimate.value


def _label_rows(split: str, labels: Sequence[str], tally: Tally) -> Iterator[LabelRow]:
    precision, recall = metrics.precision_recall(tally.matrix)
    for label, one, other in zip(labels, precision, recall, strict=True):
        yield LabelRow(split, label, float(one), float(other))


def _location_rows(split: str, counted: _Counted) -> list[LocationRow]:
    crops = counted.tally.crops
    right = counted.tally.right.sum(axis=1)
    return sorted(
        (
            LocationRow(split, name, int(crops[i]), float(right[i] / crops[i]))
            for i, name in enumerate(counted.locations)
            if crops[i]
        ),
        key=lambda row: row.location,
    )


def _tell(split: str, row: SplitRow, counted: _Counted) -> None:
    _logger.info(
        "%s: %d crops, %d failed; top-1 %.2f %%, top-3 %.2f %%, weighted top-1 %.2f %%",
        split,
        counted.tally.crops.sum(),
        len(counted.failures),
        row.acc_top1,
        row.acc_top3,
        row.acc_weighted_top1,
    )
