"""``model_card.md``: what a trained classifier is, how it came about, what it is good for.

Written by ``train_classifier`` into the run folder, for people who are handed the model.
The headings follow Mitchell et al.: Model cards for model reporting (FAT* 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.runtime.atomic import replacing
from classification.runtime.cli import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from classification.artifacts.evaluation import Estimate, Evaluation
    from classification.artifacts.run_params import Padding, RunParams

FILENAME = "model_card.md"
_SPLITS = ("train", "val", "test")
_METRICS = (
    ("acc_top1", "top-1 accuracy"),
    ("acc_top3", "top-3 accuracy"),
    ("balanced_accuracy", "balanced accuracy (mean recall of labels)"),
    ("macro_f1", "macro-F1"),
    ("location_accuracy", "mean accuracy of locations"),
    ("calibration_error", "expected calibration error, not calibrated yet"),
)
_LIMITS = """\
* It knows the labels above and no others. An animal of another kind, a vehicle or an empty
  crop gets one of these labels, too, sometimes with a high probability.
* It expects crops around one animal each, cut as those it was trained on.
* The metrics hold for locations like those of the test split, which were in no other split.
  At cameras, in seasons or in habitats that are unlike them it does worse: label a few
  hundred crops of your own and measure (`evaluate_model`) before you rely on it.
* Its probabilities are mostly too sure until `calibrate_classifier` was run.
* It is made for counting animals in camera-trap pictures, not for recognising people."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of a trained classifier.

    Attributes:
        name: of the run folder.
        params: what the run was told.
        start: where the weights came from before training, in a sentence.
        counts: crops of each label, by split.
        locations: number of locations, by split.
        best_epoch: that was kept, or None where nothing was trained.
        evaluation: how good it is.
        padding: of its convolutions, or None where there is no choice.
    """

    name: str
    params: RunParams
    start: str
    counts: Mapping[str, Mapping[str, int]]
    locations: Mapping[str, int]
    best_epoch: int | None
    evaluation: Evaluation
    padding: Padding | None = None


def write(path: Path, card: Card) -> None:
    """Writes a model card; the file appears whole or not at all."""
    with replacing(path) as file:
        file.write(render(card).encode(errors="backslashreplace"))


def render(card: Card) -> str:
    """Returns a model card as Markdown."""
    sections = (
        ("What it is", _what(card)),
        ("Labels and training data", _data(card)),
        ("How good it is", _metrics(card.evaluation)),
        ("What it is for, and what it is not", _LIMITS),
        ("How it was trained", _training(card)),
    )
    parts = [f"# Classifier {_text(card.name)}"]
    parts += [f"## {title}\n\n{body}" for title, body in sections]
    return "\n\n".join(parts) + "\n"


def _what(card: Card) -> str:
    params = card.params
    kept = "the network as it was given, not trained"
    if card.best_epoch is not None:
        why = "the last" if params.keep == "last" else "the best on the val split"
        kept = f"the network of epoch {card.best_epoch}, {why}"
    padding = "" if card.padding is None else f", padding `{card.padding}`"
    return (
        f"A network that says which of {_counted(_labels(card))} a crop of a camera-trap "
        f"picture shows: {_text(params.model_name)}, input {params.image_size} x "
        f"{params.image_size} pixels{padding}; {kept}. Before training: "
        f"{_text(card.start)}."
    )


def _labels(card: Card) -> list[str]:
    return list(card.counts["train"])


def _counted(labels: Sequence[str]) -> str:
    return f"{len(labels)} label" + ("s" if len(labels) != 1 else "")


def _data(card: Card) -> str:
    rows = [
        (_text(label), *(f"{card.counts[split][label]:,}" for split in _SPLITS))
        for label in _labels(card)
    ]
    rows.append(("*locations*", *(f"{card.locations[split]:,}" for split in _SPLITS)))
    hashes = "\n".join(
        f"* `{name}`: SHA-256 `{digest}`"
        for name, digest in card.params.data_sha256.items()
    )
    return f"{_table(('label', *_SPLITS), rows)}\n\n{hashes}"


def _metrics(evaluation: Evaluation) -> str:
    found = evaluation.splits
    rows = [
        (title, *(_estimate(getattr(one, key)) for one in found.values()))
        for key, title in _METRICS
    ]
    rows.append(("crops", *(f"{one.crops:,}" for one in found.values())))
    note = (
        "In brackets the 95 % interval had other locations been looked at (bootstrap "
        f"over locations, {evaluation.bootstrap.replicates} draws). The val split chose "
        "the epoch; judge by test."
    )
    return f"{_table(('', *found), rows)}\n\n{note}"


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return "none"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _training(card: Card) -> str:
    params = card.params
    told = (
        ("augmentation", _augmentation(params)),
        ("epochs, at most", params.epochs),
        ("of these, the last layer alone", params.finetune),
        ("batch size", params.batch_size),
        ("optimiser, learning rate", f"{params.optimizer}, {params.lr:g}"),
        ("weight decay", f"{params.weight_decay:g}"),
        ("labels weighted alike", "yes" if params.label_weighted else "no"),
        ("precision", params.precision),
        ("seed", params.seed),
        ("processes", params.processes),
        ("version of the toolkit", params.version),
    )
    return _table(("", ""), [(name, _text(str(value))) for name, value in told])


def _augmentation(params: RunParams) -> str:
    if not params.cache_features or params.augmentation == "none":
        return params.augmentation
    if params.finetune >= params.epochs:
        return "none (features are computed once)"
    return f"{params.augmentation}, from epoch {params.finetune}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Returns a text that stays in its cell and means nothing in Markdown."""
    visible = one_line(text)
    for mark in "\\`*_|<>[]":
        visible = visible.replace(mark, f"\\{mark}")
    return visible
