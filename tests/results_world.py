"""Evaluations that tests make themselves: answers of a known skill, and their crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from classification.artifacts import (
    confusion_matrices,
    dataset_csv,
    label_index,
    predictions,
    run_params,
)
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.predictions import Evaluated
from classification.artifacts.run_params import RunParams
from classification.measuring import metrics
from tests.world import jpeg_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = ("bear", "deer", "elk", "fox", "other")
CROPS = {"test": 60, "val": 40, "train": 80}
LOCATIONS = 5  # of each split


@dataclass(frozen=True)
class World:
    """Where everything is.

    Attributes:
        base: holds ``run``, the training set, and ``crops``.
        labels: names in id order.
    """

    base: Path
    labels: tuple[str, ...]

    @property
    def crops(self) -> Path:
        return self.base / "crops"

    @property
    def dataset(self) -> Path:
        return self.base / "run"

    def logdir(self, name: str = "20261122_204715") -> Path:
        return self.dataset / name


@dataclass(frozen=True)
class Answered:
    """The crops of a split, and probabilities for them."""

    paths: list[str]
    true: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def make(
    base: Path,
    *,
    labels: Sequence[str] = LABELS,
    crops: Mapping[str, int] = CROPS,
    location: str = "place",
    pictures: bool = True,
) -> World:
    """Writes a training set, its crops and an evaluation of it, ``run/20261122_204715``.

    Every third crop is grey; sides go from 40 pixels up.
    """
    world = World(base, tuple(labels))
    rows = [
        CropRow(path, "ds", f"{location} {split} {number % LOCATIONS}", "c", 1.0, label)
        for split, count in crops.items()
        for number, (path, label) in enumerate(truth(world.labels, split, count))
    ]
    dataset_csv.write(world.dataset / dataset_csv.FILENAME, rows)
    label_index.write(world.dataset / label_index.FILENAME, labels)
    if pictures:
        write_pictures(world.crops, [row.path for row in rows])
    evaluate(world, "20261122_204715", crops=crops)
    return world


def truth(labels: Sequence[str], split: str, count: int) -> list[tuple[str, str]]:
    """Returns the crops of a split and their labels; the last label has none in test."""
    rng = np.random.default_rng([7, *split.encode()])
    known = len(labels) - (split == "test" and len(labels) > 1)
    drawn = rng.integers(0, known, count)
    return [
        (f"ds/{split}/{number:05}.jpg___crop00.jpg", labels[label])
        for number, label in enumerate(drawn)
    ]


def answer(labels: Sequence[str], split: str, count: int, *, seed: int) -> Answered:
    """Draws answers that are right more often than not; neighbours are confused."""
    pairs = truth(labels, split, count)
    true = np.array([labels.index(label) for _, label in pairs], np.int64)
    rng = np.random.default_rng([seed, *split.encode()])
    logits = rng.normal(size=(count, len(labels)))
    logits[np.arange(count), true] += 2.5
    logits[np.arange(count), (true + 1) % len(labels)] += 1.5
    raised = np.exp(1.5 * logits)
    probabilities = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return Answered([path for path, _ in pairs], true, probabilities)


def evaluate(
    world: World, name: str, *, crops: Mapping[str, int] = CROPS, seed: int = 0
) -> Path:
    """Writes an evaluation of the training set; returns its folder."""
    logdir = world.logdir(name)
    logdir.mkdir(parents=True, exist_ok=True)
    matrices = {}
    for split, count in crops.items():
        found = answer(world.labels, split, count, seed=seed)
        write_outputs(logdir, split, world.labels, found)
        predicted = metrics.predict(found.probabilities)
        matrices[split] = metrics.confusion_matrix(
            found.true, predicted, len(world.labels)
        )
    confusion_matrices.write(logdir / confusion_matrices.FILENAME, matrices)
    told = RunParams(
        dataset_dir=str(world.dataset),
        cropped_images_dir=str(world.crops),
        model_name="efficientnet-b0",
    )
    run_params.write(logdir / run_params.FILENAME, told)
    return logdir


def write_outputs(
    logdir: Path, split: str, labels: Sequence[str], found: Answered
) -> None:
    """Writes the outputs of a split."""
    batch = Evaluated(
        found.paths,
        [labels[label] for label in found.true],
        np.ones(len(found.true), np.float32),
        found.probabilities,
    )
    predictions.write_evaluated(
        logdir / predictions.outputs_name(split), labels, [batch]
    )


def write_pictures(folder: Path, paths: Sequence[str]) -> None:
    """Writes a picture for each crop, in turn grey and in colours, of several sizes."""
    bodies = [jpeg_bytes(picture(number)) for number in range(6)]
    for number, path in enumerate(paths):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bodies[number % len(bodies)])


def picture(number: int) -> Image.Image:
    """Draws a crop; each third is grey."""
    rng = np.random.default_rng(number)
    side = 40 + 30 * number
    coarse = rng.integers(0, 255, (6, 6, 1 if number % 3 == 0 else 3), np.uint8)
    pixels = np.broadcast_to(coarse, (6, 6, 3))
    return Image.fromarray(pixels.copy()).resize((side + 10, side))
