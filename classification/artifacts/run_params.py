"""``params.json``: what a training run was told, in its run folder.

Written by ``train_classifier``; read by it when a run goes on, by ``evaluate_model``,
``export_model`` and ``report_results``::

    {
     "dataset_dir": "run",
     "cropped_images_dir": "crops",
     "multilabel": false,
     "model_name": "efficientnet-b3",
     "pretrained": true,
     "finetune": 0,
     "label_weighted": true,
     "weight_by_detection_conf": "mdcache/isotonic.npz",
     "epochs": 50,
     "batch_size": 160,
     "lr": 0.0001,
     "weight_decay": 1e-05,
     "num_workers": 8,
     "logdir": "run",
     "log_extreme_examples": 3,
     "seed": 1234,
     "image_size": 300,
     "padding": "tf",
     "augmentation": "standard",
     "optimizer": "rmsprop",
     "precision": "float32",
     "lr_schedule": "cosine",
     "finetune_lr": null,
     "label_smoothing": 0.0,
     "average_weights": 2.0,
     "freeze_batch_norm": false,
     "keep": "best",
     "cache_features": false,
     "crop_cache": true,
     "folds": 0,
     "processes": 1,
     "version": "0.1.0",
     "data_sha256": {"classification_ds.csv": "5f0c…e1"}
    }

The keys up to ``seed`` are the original's, in its order; a file without the others is the
original's, and what they mean there is: the architecture's image size, padding
``symmetric``, augmentation ``original``. Keys of neither are passed over. Paths are kept
as they were given, so that they are read from the folder the run was started in; who reads
the file lets them be given anew. ``pretrained`` and ``weight_by_detection_conf`` are false,
true or a path. ``batch_size`` is that of all processes together, ``lr`` the rate at the
beginning, ``logdir`` the folder that the run folder is in. ``folds`` is 0 for a run that
trains one network. ``data_sha256`` has the hash of each file of the training set by its
name, and that of the files that ``pretrained`` and ``weight_by_detection_conf`` name by
these words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from classification.artifacts import _json
from classification.runtime import registry
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILENAME = "params.json"

Padding = Literal["tf", "symmetric"]
Augmentation = Literal["none", "original", "standard"]
Optimizer = Literal["rmsprop", "sgd", "adamw"]
Keep = Literal["best", "last"]
LrSchedule = Literal["step", "cosine"]
Precision = Literal["float32", "bfloat16", "float16"]

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Side = Annotated[int, msgspec.Meta(ge=8, le=4096)]
_Rate = Annotated[float, msgspec.Meta(gt=0)]
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class RunParams(msgspec.Struct, frozen=True, kw_only=True):
    """What a training run was told; see the module for what is not said here.

    Attributes:
        dataset_dir: folder of the training set's three files.
        cropped_images_dir: root of the crops.
        multilabel: always false; the original's never worked.
        model_name: of the architecture; see ``modeling.catalog``.
        pretrained: ImageNet weights, a checkpoint's path, or random weights (false).
        finetune: so many epochs at the beginning train only the last layer.
        label_weighted: all labels count the same, in training and in accuracies.
        weight_by_detection_conf: examples count as the detector was sure.
        epochs: most epochs; 0 evaluates only.
        batch_size: examples per step.
        lr: learning rate of the first epoch, above 0.
        weight_decay: of the optimiser.
        num_workers: threads that read crops, per process; 0 for none.
        logdir: the folder that the run folder was made in.
        log_extreme_examples: number of examples shown per label and kind.
        seed: of everything random.
        image_size: side of the input in pixels, or None for the architecture's.
        padding: of an EfficientNet.
        augmentation: how examples are varied.
        optimizer: which one, or None for what goes with the architecture.
        precision: of the network's sums.
        lr_schedule: how the learning rate changes; see ``modeling.optimisers``.
        finetune_lr: highest rate of the finetune epochs, above 0, or None for ``lr``.
        label_smoothing: share of the truth that is spread over all labels, in [0, 1).
        average_weights: epochs over which weights are averaged; 0 for none.
        freeze_batch_norm: batch normalisation keeps the means it came with.
        keep: the network of the epoch that is best on val, or of the last.
        cache_features: in the finetune epochs, compute features once.
        crop_cache: crops are made small before they are varied, and kept so.
        folds: number of networks that are trained, each without some of the locations.
        processes: number of processes that trained together.
        version: of this toolkit; empty for the original.
        data_sha256: hash of each file that decides what is learnt; see the module.
    """

    dataset_dir: str
    cropped_images_dir: str
    multilabel: Literal[False] = False
    model_name: _Name
    pretrained: bool | _Name = False
    finetune: _Count = 0
    label_weighted: bool = False
    weight_by_detection_conf: bool | _Name = False
    epochs: _Count = 0
    batch_size: _Positive = 256
    lr: _Rate | None = None
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 1e-5
    num_workers: _Count = 8
    logdir: str = "."
    log_extreme_examples: _Count = 0
    seed: _Count = 0
    image_size: _Side | None = None
    padding: Padding = "symmetric"
    augmentation: Augmentation = "original"
    optimizer: Optimizer | None = None
    precision: Precision = "float32"
    lr_schedule: LrSchedule = "step"
    finetune_lr: _Rate | None = None
    label_smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    average_weights: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    freeze_batch_norm: bool = False
    keep: Keep = "best"
    cache_features: bool = False
    crop_cache: bool = False
    folds: _Count = 0
    processes: _Positive = 1
    version: str = ""
    data_sha256: dict[str, str] = {}


def from_dict(document: Mapping[str, Any]) -> RunParams:
    """Checks the document and returns what it says.

    Raises:
        ArtifactError: a key is missing, of the wrong type or out of its range.
    """
    return _json.to_struct(document, RunParams)


def to_dict(params: RunParams) -> dict[str, Any]:
    """Returns the document to write, keys in the order of the example."""
    document: dict[str, Any] = msgspec.to_builtins(params)
    return document


def read(path: Path) -> RunParams:
    """Reads and checks what a run was told."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def find_changed(params: RunParams, dataset_dir: Path) -> list[str]:
    """Return the names of the training set's files that are not what the run learned from.

    A file that is not there, or whose hash the run did not note, is not among them.
    """
    paths = {name: dataset_dir / name for name in params.data_sha256}
    return [
        name
        for name, path in paths.items()
        if path.is_file() and registry.sha256_of(path) != params.data_sha256[name]
    ]


def write(path: Path, params: RunParams) -> None:
    """Writes what a run is told."""
    _json.write_object(path, to_dict(params))
