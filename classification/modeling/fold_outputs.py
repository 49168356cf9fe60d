"""Puts together what the networks of all folds say of the crops they were not taught."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from classification.artifacts import predictions
from classification.artifacts.predictions import Evaluated
from classification.measuring import metrics
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.dataset.training_set import SplitRows

_BATCH = 4096


@dataclass(kw_only=True)
class Joined:
    """What was put together.

    Attributes:
        crops: number that was written.
        right: number whose most probable label is theirs.
        missing: rows of crops that no part has: they could not be read.
    """

    crops: int = 0
    right: int = 0
    missing: list[int] = field(default_factory=list)


class _Row(NamedTuple):
    """A crop of a part, or the end of the part."""

    path: str | None
    probabilities: NDArray[np.float32] | None


def join(
    parts: Sequence[Path],
    rows: SplitRows,
    fold_by_row: NDArray[np.int64],
    labels: Sequence[str],
    path: Path,
) -> Joined:
    """Writes the crops of all parts in the order of the training set, streaming.

    Args:
        parts: outputs of each fold's test split, in the order of ``rows``.
        rows: of the whole training set.
        fold_by_row: whose part each is in, [N].
        labels: names in id order.
        path: the file to write.

    Raises:
        ArtifactError: a part is missing or breaks its format.
        ConfigurationError: a part holds other crops or labels than its fold.
    """
    joined = Joined()
    predictions.write_evaluated(
        path, labels, _batches(parts, rows, fold_by_row, labels, joined)
    )
    return joined


def _batches(
    parts: Sequence[Path],
    rows: SplitRows,
    fold_by_row: NDArray[np.int64],
    labels: Sequence[str],
    joined: Joined,
) -> Iterator[Evaluated]:
    readers = [_rows(part, labels) for part in parts]
    heads = [next(reader) for reader in readers]
    for start in range(0, len(rows), _BATCH):
        kept: list[int] = []
        found: list[NDArray[np.float32]] = []
        for row, name in enumerate(rows.paths[start : start + _BATCH], start):
            fold = int(fold_by_row[row])
            head = heads[fold]
            if head.path != name or head.probabilities is None:
                joined.missing.append(row)
                continue
            kept.append(row)
            found.append(head.probabilities)
            heads[fold] = next(readers[fold])
        if kept:
            yield _evaluated(rows, kept, np.stack(found), labels, joined)
    for part, head in zip(parts, heads, strict=True):
        if head.path is not None:
            raise ConfigurationError(
                f"{part}: {head.path!r} is not where the fold has it; begin a new run"
            )


def _rows(part: Path, labels: Sequence[str]) -> Iterator[_Row]:
    """Yields the crops of a part, then its end for ever."""
    file = predictions.open_file(part)
    if file.categories != tuple(labels):
        raise ConfigurationError(
            f"{part}: its columns are not the labels of the run; begin a new run"
        )
    for batch in file.batches(rows=_BATCH):
        yield from map(_Row, batch.paths, batch.probabilities)
    while True:
        yield _Row(None, None)


def _evaluated(
    rows: SplitRows,
    kept: list[int],
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    joined: Joined,
) -> Evaluated:
    true = rows.labels[kept]
    joined.crops += len(kept)
    joined.right += int((metrics.predict(probabilities) == true).sum())
    return Evaluated(
        [rows.paths[row] for row in kept],
        [labels[label] for label in true.tolist()],
        rows.weights[kept].astype(np.float32),
        probabilities,
    )
