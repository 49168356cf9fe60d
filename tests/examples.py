"""A small training set that tests make themselves: coloured crops at some locations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from classification.artifacts import dataset_csv, label_index, splits
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location, Splits
from classification.dataset.counts import SPLITS
from tests.world import save_jpeg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# What crops of the labels look like, so that a network has something to see.
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40))


@dataclass(frozen=True)
class Examples:
    """Where a training set is.

    Attributes:
        dataset_dir: holds its three files.
        crops_dir: holds its crops.
        rows: of its table.
    """

    dataset_dir: Path
    crops_dir: Path
    rows: tuple[CropRow, ...]


def write_examples(
    folder: Path,
    labels: Sequence[str],
    *,
    locations: int = 3,
    each: int = 4,
    missing: Sequence[tuple[str, str]] = (),
) -> Examples:
    """Writes crops and the three files of a training set.

    Args:
        folder: where to write.
        labels: names, sorted.
        locations: of each split.
        each: crops of a location.
        missing: (split, label) of which there is no crop.
    """
    rng = np.random.default_rng(0)
    rows = []
    for split in SPLITS:
        kept = [label for label in labels if (split, label) not in missing]
        for place in range(locations):
            for number in range(each):
                label = kept[int(rng.integers(len(kept)))]
                name = f"ds/{split}{place}_{number}.jpg___crop00.jpg"
                colour = np.array(COLOURS[labels.index(label) % len(COLOURS)])
                noise = rng.normal(colour, 60, (20, 24, 3)).clip(0, 255)
                image = Image.fromarray(noise.astype(np.uint8))
                save_jpeg(folder / "crops" / name, image)
                rows.append(CropRow(name, "ds", f"{split}{place}", "c", 1.0, label))
    dataset_csv.write(folder / dataset_csv.FILENAME, rows)
    label_index.write(folder / label_index.FILENAME, labels)
    places = {
        split: tuple(Location("ds", f"{split}{place}") for place in range(locations))
        for split in SPLITS
    }
    splits.write(folder / splits.FILENAME, Splits(**places))
    return Examples(folder, folder / "crops", tuple(rows))
