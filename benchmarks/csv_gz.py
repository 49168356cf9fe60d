"""Writing classifier output as csv.gz against pandas' default, and reading it back.

The table is what a classifier of 169 categories writes: softmax probabilities in float32,
one row per crop. The baseline is ``DataFrame.to_csv`` with its defaults, on the same
values. What we wrote is read back, by ourselves and by pandas, and compared.

Example:
  python benchmarks/csv_gz.py --rows 100000 --rounds 3
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from classification.artifacts import predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BATCH_ROWS = 64  # as many as a classifier computes at a time


def softmax_rows(rows: int, categories: int) -> NDArray[np.float32]:
    """Draws probabilities of a classifier that is sure of a few categories."""
    logits = np.random.default_rng(0).normal(0, 3, (rows, categories))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def crop_paths(rows: int) -> list[str]:
    """Names the crops as crop_detections does."""
    return [
        f"site{row // 1000:03d}/IMG_{row:06d}.JPG___crop00_md_v5a.0.0.pt.jpg"
        for row in range(rows)
    ]


def write_plainly(
    path: Path, names: list[str], paths: list[str], table: NDArray[np.float32]
) -> None:
    """Writes the table as pandas does by default."""
    frame = pd.DataFrame(table, columns=names)
    frame.insert(0, "path", paths)
    frame.to_csv(path, index=False)


def write_ours(
    path: Path, names: list[str], paths: list[str], table: NDArray[np.float32]
) -> None:
    """Writes the table as run_classifier does, a batch at a time."""
    starts = range(0, len(paths), BATCH_ROWS)
    batches = (
        (paths[at : at + BATCH_ROWS], table[at : at + BATCH_ROWS]) for at in starts
    )
    predictions.write(path, names, batches)


def seconds(call: Callable[[], object]) -> float:
    """Times one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def check(path: Path, paths: list[str], table: NDArray[np.float32]) -> float:
    """Reads the file back, compares, and returns the seconds that reading took."""
    begin = time.perf_counter()
    batches = list(predictions.open_file(path).batches())
    took = time.perf_counter() - begin
    assert [name for batch in batches for name in batch.paths] == paths
    read = np.concatenate([batch.probabilities for batch in batches])
    np.testing.assert_array_equal(read, table)
    frame = pd.read_csv(path)
    np.testing.assert_array_equal(frame.iloc[:, 1:].astype(np.float32), table)
    return took


def main() -> None:
    """Prints the table of times and sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000, help="number of crops")
    parser.add_argument("--categories", type=int, default=169)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    table = softmax_rows(args.rows, args.categories)
    paths = crop_paths(args.rows)
    names = [f"category {index}" for index in range(args.categories)]
    took: dict[str, list[float]] = {"pandas": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.csv.gz" for name in took}
        for _ in range(args.rounds):
            for name, write in (("pandas", write_plainly), ("ours", write_ours)):
                call = partial(write, files[name], names, paths, table)
                took[name].append(seconds(call))
        reading = check(files["ours"], paths, table)
        sizes = {name: path.stat().st_size / 2**20 for name, path in files.items()}
    print(f"{args.rows} rows x {args.categories} categories, {args.rounds} rounds")
    median = {name: statistics.median(times) for name, times in took.items()}
    for name, value in median.items():
        print(f"{name:>8} {value:8.2f} s  {sizes[name]:7.1f} MiB")
    print(f"written {median['pandas'] / median['ours']:.1f} times as fast, ", end="")
    print(f"read back equal in {reading:.2f} s")


if __name__ == "__main__":
    main()
