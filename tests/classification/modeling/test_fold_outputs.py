"""What the folds say, put together in the order of the training set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import predictions
from classification.artifacts.predictions import Evaluated
from classification.dataset.training_set import SplitRows
from classification.modeling import fold_outputs
from classification.runtime.errors import ConfigurationError
from classification.runtime.name_list import CodedList, NameList

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = ("bear", "deer")
CROPS = 9001  # more than are worked on at a time
FOLDS = np.arange(CROPS) * 7 % 3


def make_rows() -> SplitRows:
    names = [f"d/{number}.jpg___crop00.jpg" for number in range(CROPS)]
    return SplitRows(
        paths=NameList(names),
        labels=np.arange(CROPS) % 2,
        weights=np.ones(CROPS),
        locations=CodedList(f"d/{fold}" for fold in FOLDS),
        datasets=CodedList(["d"] * CROPS),
        confidences=np.ones(CROPS),
        numbers=np.arange(CROPS),
    )


def probabilities() -> NDArray[np.float32]:
    first = np.random.default_rng(0).random(CROPS).astype(np.float32)
    return np.stack([first, 1 - first], axis=1)


def write_part(path: Path, rows: list[int], labels: tuple[str, ...] = LABELS) -> Path:
    whole = make_rows()
    batch = Evaluated(
        [whole.paths[row] for row in rows],
        [LABELS[whole.labels[row]] for row in rows],
        np.ones(len(rows), np.float32),
        probabilities()[rows],
    )
    predictions.write_evaluated(path, labels, [batch])
    return path


def write_parts(folder: Path, missing: set[int]) -> list[Path]:
    return [
        write_part(
            folder / f"{fold}.csv",
            [
                row
                for row in np.flatnonzero(fold == FOLDS).tolist()
                if row not in missing
            ],
        )
        for fold in range(3)
    ]


def join(parts: list[Path], path: Path) -> fold_outputs.Joined:
    return fold_outputs.join(parts, make_rows(), FOLDS, LABELS, path)


def test_crops_come_in_their_order_and_those_not_read_are_missing(
    tmp_path: Path,
) -> None:
    missing = {0, 4095, 4096, 9000}
    path = tmp_path / "joined.csv.gz"
    joined = join(write_parts(tmp_path, missing), path)
    assert joined.missing == sorted(missing)
    kept = [row for row in range(CROPS) if row not in missing]
    batches = list(predictions.open_file(path).batches())
    assert [name for batch in batches for name in batch.paths] == [
        f"d/{row}.jpg___crop00.jpg" for row in kept
    ]
    found = np.concatenate([batch.probabilities for batch in batches])
    assert np.array_equal(found, probabilities()[kept])
    right = probabilities()[kept].argmax(axis=1) == np.array(kept) % 2
    assert (joined.crops, joined.right) == (len(kept), right.sum())


def test_a_part_of_other_crops_is_refused(tmp_path: Path) -> None:
    parts = write_parts(tmp_path, set())
    parts[1] = parts[0]
    with pytest.raises(ConfigurationError, match="is not where the fold has it"):
        join(parts, tmp_path / "joined.csv")
    assert not (tmp_path / "joined.csv").exists()


def test_a_part_of_other_labels_is_refused(tmp_path: Path) -> None:
    parts = write_parts(tmp_path, set())
    parts[2] = write_part(tmp_path / "other.csv", [1], ("deer", "bear"))
    with pytest.raises(ConfigurationError, match=r"other\.csv: its columns are not"):
        join(parts, tmp_path / "joined.csv")
