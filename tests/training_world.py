"""A training set that a tiny network learns in seconds: crops of one colour per label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from classification.artifacts import dataset_csv, label_index, splits
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location, Splits
from tests.world import save_jpeg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLOURS = {
    "bear": (150, 40, 40),
    "deer": (40, 150, 40),
    "empty": (40, 40, 150),
    "fox": (140, 140, 30),
}
LABELS = tuple(COLOURS)
SPLIT_BY_LOCATION = {"0": "train", "1": "train", "2": "val", "3": "test"}


def crop(label: str, number: int, side: int = 40) -> Image.Image:
    """Draws a crop in the colour of its label, with noise."""
    rng = np.random.default_rng(number)
    noise = rng.integers(0, 80, (side, side + number % 7, 3))
    return Image.fromarray((np.array(COLOURS[label]) + noise).astype(np.uint8))


def make(
    base: Path, *, labels: Sequence[str] = LABELS[:3], per_location: int = 4
) -> list[CropRow]:
    """Writes crops below ``crops`` and a training set into ``run``.

    Each label has so many crops at each of four locations, of which two are in train.
    """
    rows: list[CropRow] = []
    for location in SPLIT_BY_LOCATION:
        for index, label in enumerate(labels):
            for number in range(per_location):
                path = f"d/{location}/{label}{number}.jpg___crop00.jpg"
                seed = 100 * int(location) + 10 * index + number
                save_jpeg(base / "crops" / path, crop(label, seed))
                rows.append(
                    CropRow(
                        path=path,
                        dataset="d",
                        location=location,
                        dataset_class=label,
                        confidence=1.0,
                        label=label,
                    )
                )
    write_set(base, rows, labels)
    return rows


def write_set(base: Path, rows: Sequence[CropRow], labels: Sequence[str]) -> None:
    """Writes the three files of a training set into ``run``."""
    run = base / "run"
    dataset_csv.write(run / dataset_csv.FILENAME, rows)
    label_index.write(run / label_index.FILENAME, labels)
    of = {
        split: tuple(
            Location("d", name) for name, s in SPLIT_BY_LOCATION.items() if s == split
        )
        for split in ("train", "val", "test")
    }
    splits.write(
        run / splits.FILENAME,
        Splits(train=of["train"], val=of["val"], test=of["test"]),
    )
