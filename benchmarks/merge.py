"""Merging classifications into detections against the plain row-by-row loop.

The baseline does what the original does: the whole CSV in a pandas DataFrame, one row
object per crop, a sort over all labels of each, the whole JSON as Python objects. Its
time grows with the number of rows, so by default it merges a part of the crops and its
time is multiplied up; ``--whole-baseline`` merges all. The merged files are compared as
parsed JSON, of the crops that both merged.

Example:
  python benchmarks/merge.py --crops 100000 --whole-baseline --rounds 1
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from classification import merge_classification_detection_output as merge
from classification.artifacts import label_index, predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DETECTOR = "md_v5a.0.0.pt"
THRESHOLD = 0.05
CROP = re.compile(r"(.+)___crop(\d+)")


class Data:
    """The files of one size: some crops, as many images."""

    def __init__(self, folder: Path, table: NDArray[np.float32]) -> None:
        """Writes the files."""
        self.results = folder / "results.csv.gz"
        self.names = folder / "names.json"
        self.boxes = folder / "detections.json"
        self.merged = folder / "merged.json"
        self.rows = len(table)
        names = [f"category {index}" for index in range(table.shape[1])]
        images = [
            f"site{row // 1000:03d}/IMG_{row:06d}.JPG" for row in range(self.rows)
        ]
        paths = [f"{image}___crop00_{DETECTOR}.jpg" for image in images]
        folder.mkdir()
        label_index.write(self.names, names)
        predictions.write(self.results, names, [(paths, table)])
        box = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]}
        document = {
            "info": {"format_version": "1.6", "detector": DETECTOR},
            "detection_categories": {"1": "animal"},
            "images": [{"file": image, "detections": [box]} for image in images],
        }
        self.boxes.write_text(json.dumps(document, indent=1))


def merge_plainly(data: Data) -> None:
    """Merges row by row, everything in memory."""
    frame = pd.read_csv(data.results, index_col="path")
    names = list(json.loads(data.names.read_text()).values())
    document = json.loads(data.boxes.read_text())
    image_by_file = {image["file"]: image for image in document["images"]}
    for path, row in frame.iterrows():
        match = CROP.match(str(path))
        assert match
        said = [
            [str(index), round(float(row[name]), 4), row[name] >= THRESHOLD]
            for index, name in enumerate(names)
        ]
        said.sort(key=lambda entry: -float(entry[1]))
        box = image_by_file[match[1]]["detections"][int(match[2])]
        box["classifications"] = [entry[:2] for entry in said if entry[2]]
    categories = {str(index): name for index, name in enumerate(names)}
    document["classification_categories"] = categories
    document["info"]["classifier"] = "bench"
    data.merged.write_text(json.dumps(document, indent=1))


def merge_ours(data: Data) -> None:
    """Merges with the command."""
    inputs = [str(data.results), str(data.names), "-j", str(data.boxes)]
    outputs = ["-o", str(data.merged), "-n", "bench", "-t", str(THRESHOLD)]
    assert merge.main([*inputs, *outputs]) == 0
    logging.getLogger().setLevel(logging.WARNING)


def run(way: Callable[[Data], None], data: Data) -> tuple[float, Any]:
    """Merges; returns seconds and the merged JSON."""
    begin = time.perf_counter()
    way(data)
    took = time.perf_counter() - begin
    return took, json.loads(data.merged.read_text())


def main() -> None:
    """Prints the table of times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=10_000)
    parser.add_argument("--categories", type=int, default=169)
    parser.add_argument("--baseline-crops", type=int, default=1_000)
    parser.add_argument("--whole-baseline", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    part = args.crops if args.whole_baseline else min(args.crops, args.baseline_crops)
    logits = np.random.default_rng(0).normal(0, 3, (args.crops, args.categories))
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    plain, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        data = Data(Path(folder) / "all", table.astype(np.float32))
        fraction = Data(Path(folder) / "part", table[:part].astype(np.float32))
        for _ in range(args.rounds):
            took, expected = run(merge_plainly, fraction)
            plain.append(took * args.crops / part)
            took, merged = run(merge_ours, data)
            ours.append(took)
    merged["images"] = merged["images"][:part]
    assert merged == expected
    row_by_row, streamed = statistics.median(plain), statistics.median(ours)
    print(f"{args.crops} crops x {args.categories} categories, {args.rounds} rounds")
    how = "" if part == args.crops else f"  ({part} crops, multiplied up)"
    print(f"row by row {row_by_row:8.2f} s{how}")
    print(f"      ours {streamed:8.2f} s  {row_by_row / streamed:.1f} x, the same JSON")


if __name__ == "__main__":
    main()
