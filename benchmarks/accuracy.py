"""How good trained classifiers are, beside what could be had without training a network.

For each run folder, and the splits that it was trained on: the share of the most frequent
label; a logistic regression on the frozen features of EfficientNet-Lite0 with ImageNet's
weights, fitted on train, whose strength, class weights and scaling of features are those
of the best macro-F1 on val; and what the run found for the test split, as it is and with a
temperature fitted on its val split. Intervals come from drawing the test locations anew.
At the end the means over the runs.

Example:
  python -m benchmarks.accuracy --crops crops --run run_a run_a/20261122_204715 --run run_b run_b/20261122_211502
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from classification.dataset import training_set
from classification.modeling import calibration, catalog, pretrained, training_data
from classification.modeling.calibration import Outputs
from classification.modeling.preprocessing import square

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from classification.dataset.training_set import SplitRows, TrainingSet

NETWORK = "efficientnet-lite0"
STRENGTHS = 10.0 ** np.arange(-3, 3)
DRAWS = 1000
BATCH = 64


@dataclass(frozen=True)
class Guess:
    """What a way says of the test split: [N, C] probabilities, true labels, locations."""

    probabilities: NDArray[np.float64]
    true: NDArray[np.int64]
    locations: NDArray[np.int64]

    def figures(self) -> tuple[str, str, str, dict[str, float]]:
        """Returns top-1, macro-F1 and calibration error with intervals, and without."""
        measures: dict[str, Callable[[NDArray[np.int64]], float]] = {
            "top-1": self._top1,
            "macro-F1": self._macro_f1,
            "ECE": self._calibration_error,
        }
        drawn = list(self._draws())
        texts, values = [], {}
        for name, measure in measures.items():
            values[name] = measure(np.arange(len(self.true)))
            low, high = np.percentile([measure(rows) for rows in drawn], [2.5, 97.5])
            texts.append(f"{values[name]:.3f} [{low:.3f}, {high:.3f}]")
        return texts[0], texts[1], texts[2], values

    def _draws(self) -> Iterator[NDArray[np.int64]]:
        rng = np.random.default_rng(0)
        rows = [np.flatnonzero(self.locations == k) for k in np.unique(self.locations)]
        for _ in range(DRAWS):
            yield np.concatenate(
                [rows[k] for k in rng.integers(0, len(rows), len(rows))]
            )

    def _top1(self, rows: NDArray[np.int64]) -> float:
        predicted = self.probabilities[rows].argmax(1)
        return float(accuracy_score(self.true[rows], predicted))

    def _macro_f1(self, rows: NDArray[np.int64]) -> float:
        true = self.true[rows]
        predicted = self.probabilities[rows].argmax(1)
        labels = np.unique(true)
        return float(f1_score(true, predicted, labels=labels, average="macro"))

    def _calibration_error(self, rows: NDArray[np.int64]) -> float:
        return calibration.error(
            self.probabilities[rows].astype(np.float32), self.true[rows]
        )


class Frozen:
    """Features of crops, computed once each."""

    def __init__(self, crops: Path) -> None:
        """Takes the network with ImageNet's weights."""
        self._crops = crops
        start = pretrained.start(
            NETWORK, ("any", "other"), pretrained=pretrained.IMAGENET
        )
        self._network: Any = start.network.eval()
        self._side = catalog.find(NETWORK).image_size
        self._known: dict[str, NDArray[np.float32]] = {}

    def of(self, rows: SplitRows) -> NDArray[np.float32]:
        """Returns the features of a split, [N, F]."""
        paths = [rows.paths[place] for place in range(len(rows))]
        missing = [path for path in paths if path not in self._known]
        for begin in range(0, len(missing), BATCH):
            batch = missing[begin : begin + BATCH]
            self._known |= dict(zip(batch, self._compute(batch), strict=True))
        return np.stack([self._known[path] for path in paths])

    @torch.inference_mode()
    def _compute(self, paths: list[str]) -> NDArray[np.float32]:
        pixels = np.stack([self._pixels(path) for path in paths])
        values = training_data.normalise(
            torch.from_numpy(pixels).permute(0, 3, 1, 2),
            catalog.find(NETWORK).normalisation,
        )
        maps = self._network.forward_features(values)
        found: torch.Tensor = self._network.forward_head(maps, pre_logits=True)
        return found.numpy()

    def _pixels(self, path: str) -> NDArray[np.uint8]:
        with Image.open(self._crops / path) as image:
            return square(image.convert("RGB"), self._side)


def majority(data: TrainingSet) -> Guess:
    """Says the most frequent label of train, each time."""
    counts = np.bincount(data.splits["train"].labels, minlength=len(data.labels))
    test = data.splits["test"]
    return Guess(
        np.tile(counts / counts.sum(), (len(test), 1)), test.labels, _locations(test)
    )


def logistic(data: TrainingSet, frozen: Frozen) -> tuple[Guess, str]:
    """Fits a regression on frozen features; says how it was chosen on val."""
    features = {split: frozen.of(rows) for split, rows in data.splits.items()}
    train, val, test = (data.splits[split] for split in ("train", "val", "test"))
    best, chosen, model = -1.0, "", None
    for is_scaled, strength, weight in itertools.product(
        (False, True), STRENGTHS, (None, "balanced")
    ):
        tried = _regression(float(strength), weight, is_scaled=is_scaled)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            tried.fit(features["train"], train.labels)
        predicted = tried.predict(features["val"])
        found = f1_score(val.labels, predicted, average="macro", zero_division=0)
        if found > best:
            scaled = "scaled" if is_scaled else "as they are"
            best, model = found, tried
            chosen = f"C {strength:g}, weights {weight}, features {scaled}"
    assert model is not None
    assert len(model.classes_) == len(data.labels), "a label is missing in train"
    probabilities = model.predict_proba(features["test"])
    return Guess(probabilities, test.labels, _locations(test)), chosen


def _regression(strength: float, weight: str | None, *, is_scaled: bool) -> Any:  # noqa: ANN401 - untyped library
    model = LogisticRegression(C=strength, class_weight=weight, max_iter=3000)
    return make_pipeline(StandardScaler(), model) if is_scaled else model


def trained(data: TrainingSet, logdir: Path, *, calibrated: bool) -> Guess:
    """Reads what a run found; its temperature is fitted on val."""
    test = _outputs(data, logdir, "test")
    probabilities = test.probabilities
    if calibrated:
        val = _outputs(data, logdir, "val")
        scaling = calibration.fit("temperature", Outputs(val.probabilities, val.true))
        probabilities = calibration.calibrated(
            scaling, Outputs(test.probabilities, test.true)
        )
    return Guess(probabilities.astype(np.float64), test.true, test.locations)


@dataclass(frozen=True)
class _Read:
    probabilities: NDArray[np.float32]
    true: NDArray[np.int64]
    locations: NDArray[np.int64]


def _outputs(data: TrainingSet, logdir: Path, split: str) -> _Read:
    table = pd.read_csv(logdir / f"outputs_{split}.csv.gz")
    rows = data.splits[split]
    codes = _locations(rows)
    location = {rows.paths[place]: codes[place] for place in range(len(rows))}
    return _Read(
        probabilities=table[list(data.labels)].to_numpy(np.float32),
        true=np.array([data.labels.index(label) for label in table["label"]]),
        locations=np.array([location[path] for path in table["path"]]),
    )


def _locations(rows: SplitRows) -> NDArray[np.int64]:
    return np.asarray(rows.locations.codes, dtype=np.int64)


def compare(base: Path, logdir: Path, frozen: Frozen) -> dict[str, dict[str, float]]:
    """Prints the table of a run; returns its figures by way."""
    data = training_set.read(base)
    regression, chosen = logistic(data, frozen)
    guesses = {
        "most frequent label": majority(data),
        "frozen, logistic regression": regression,
        "trained": trained(data, logdir, calibrated=False),
        "trained, calibrated": trained(data, logdir, calibrated=True),
    }
    sizes = ", ".join(f"{split} {len(rows)}" for split, rows in data.splits.items())
    print(f"\n{logdir}: {sizes}; regression: {chosen}")
    print(f"| {'way':27} | {'top-1':20} | {'macro-F1':20} | {'ECE':20} |")
    found = {}
    for way, guess in guesses.items():
        top1, f1, ece, found[way] = guess.figures()
        print(f"| {way:27} | {top1} | {f1} | {ece} |", flush=True)
    return found


def main() -> None:
    """Compares the runs that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument(
        "--run",
        type=Path,
        nargs=2,
        action="append",
        required=True,
        metavar=("BASE_LOGDIR", "LOGDIR"),
    )
    args = parser.parse_args()
    frozen = Frozen(args.crops)
    runs = [compare(base, logdir, frozen) for base, logdir in args.run]
    print(f"\nmeans of {len(runs)} runs")
    for way in runs[0]:
        means = {
            name: np.mean([run[way][name] for run in runs]) for name in runs[0][way]
        }
        print(f"| {way:27} | " + " | ".join(f"{mean:.3f}" for mean in means.values()))


if __name__ == "__main__":
    main()
