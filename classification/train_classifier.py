"""Teaches a network the labels of a training set, and measures it.

Reads   DATASET_DIR/classification_ds.csv, label_index.json, splits.json
                             of create_classification_dataset
        the crops below CROPPED_IMAGES_DIR
Writes  LOGDIR/<YYYYmmdd_HHMMSS>/, the run folder:
          params.json        what the run was told
          classification_ds.csv.images.jsonl.gz   what each crop was at the beginning
          ckpt_<epoch>.pt    the network that was best on the val split, or the last
          events.out.*       what happened, for TensorBoard
          resume.pt          where the run is
          outputs_<split>.csv.gz, overall_metrics.csv and the other files of
                             evaluate_model, for all splits
          model_card.md      what the model is, for people
          train_classifier_log_<time>.json   crops that could not be read

An epoch draws as many crops as train has. A network that is better on val than ever is
kept, and looked at on test. The run ends after --epochs, or after eight epochs in a row
without a better one; with --keep last after --epochs. With --epochs 0 the network is only
measured.

With --folds K, K networks are trained instead, each without the crops of some locations,
which it then classifies. So outputs_folds.csv.gz in the run folder has for every crop what
a network says of it that never saw its location: the ground on which
identify_mislabeled_candidates finds wrong labels. Each network has a folder of its own,
fold_1 to fold_K; no crop's split matters.

A run that was killed goes on with --resume RUN_FOLDER, in the middle of its epoch, and
ends with the same weights. All it was told is in params.json; only folders, --num-workers,
--device and how often it is noted may be told anew. A run whose crops, training set or
starting weights changed meanwhile is refused.

On several GPUs: torchrun --nproc-per-node N -m classification.train_classifier ...

Example:
  train_classifier.py run crops --model-name efficientnet-lite0 --pretrained --label-weighted --epochs 30 --batch-size 64 --lr 0.0005 --logdir run
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import msgspec
import numpy as np

from classification.artifacts import (
    dataset_csv,
    detector_calibration,
    label_index,
    predictions,
    run_params,
    splits,
    step_log,
)
from classification.artifacts.run_params import (
    Augmentation,
    Keep,
    LrSchedule,
    Optimizer,
    Padding,
    Precision,
    RunParams,
)
from classification.artifacts.step_log import StepLog
from classification.dataset import folds, training_set, weighting
from classification.dataset.counts import SPLITS
from classification.modeling import catalog
from classification.reports import model_card
from classification.reports.model_card import Card
from classification.runtime import cli, locking, outputs, parallel, registry
from classification.runtime.atomic import check_writable
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    StorageError,
)
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from classification.dataset.folds import Dealt
    from classification.dataset.training_set import TrainingSet
    from classification.dataset.weighting import ConfidenceWeight
    from classification.modeling.board import Board
    from classification.modeling.distributed import Group
    from classification.modeling.evaluating import Found
    from classification.modeling.known_crops import KnownCrops
    from classification.modeling.resuming import Saved
    from classification.modeling.training import Setup

STEP = "train_classifier"
_ALL = -1  # --finetune without a number
_AVERAGE_EPOCHS = 2.0
_SEEDS = 10_000
_CACHE = "crop_cache"
_START = {True: "ImageNet weights", False: "random weights"}
_FILES = (dataset_csv.FILENAME, label_index.FILENAME, splits.FILENAME)

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    dataset_dir: Path | None
    cropped_images_dir: Path | None
    multilabel: bool
    model_name: str
    pretrained: str | bool
    finetune: int
    label_weighted: bool
    weight_by_detection_conf: str | bool
    epochs: int
    folds: int
    batch_size: int
    lr: float | None
    lr_schedule: LrSchedule
    finetune_lr: float | None
    label_smoothing: float
    average_weights: float
    freeze_batch_norm: bool
    keep: Keep
    weight_decay: float
    num_workers: int
    logdir: Path
    log_extreme_examples: int
    seed: int | None
    resume: Path | None
    augmentation: Augmentation
    image_size: int | None
    padding: Padding | None
    optimizer: Optimizer | None
    precision: Precision | None
    cache_features: bool
    crop_cache: Path | None
    no_crop_cache: bool
    crop_cache_gb: float | None
    device: str
    save_minutes: float
    save_steps: int | None
    max_failures: int | None
    verbose: bool


# What may be told anew to a run that goes on; the rest is in its params.json.
_TOLD_ANEW = {
    *("dataset_dir", "cropped_images_dir", "num_workers", "resume", "device"),
    *("crop_cache", "crop_cache_gb", "save_minutes", "save_steps"),
    *("max_failures", "verbose", "help"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What does not change what a run learns.

    Attributes:
        dataset_dir: where the training set is now; None for where params.json says.
        crops_dir: where the crops are now; None likewise.
        workers: threads that read crops.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        cache_dir: of crops made small; None for the folder beside the run's.
        cache_bytes: most bytes of it, per split, or None.
        save_steps: note where the run is after so many steps; None: by the clock.
        save_s: after so many seconds.
        max_failures: more unreadable crops than this end the run with exit code 4.
    """

    dataset_dir: Path | None
    crops_dir: Path | None
    workers: int
    device: str
    cache_dir: Path | None
    cache_bytes: int | None
    save_steps: int | None
    save_s: float
    max_failures: int | None


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the weights and the device decide where it is None.

    Attributes:
        padding: of an EfficientNet.
        precision: of the network's sums.
    """

    padding: Padding | None = None
    precision: Precision | None = None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__, overwrite=False)
    add = parser.add_argument
    add(
        "dataset_dir",
        type=Path,
        nargs="?",
        help="folder of the training set's three files",
    )
    add("cropped_images_dir", type=Path, nargs="?", help="root of the crops")
    add(
        "--logdir",
        type=outputs.folder(),
        default=Path(),
        help="folder to make the run folder in (default: .)",
    )
    add(
        "--resume",
        type=Path,
        metavar="RUN_FOLDER",
        help="go on with a run that was killed",
    )
    add(
        "--seed",
        type=cli.non_negative_int,
        help="of everything random (default: drawn, and kept in params.json)",
    )
    cli.add_max_failures(parser)
    _add_network(parser)
    _add_learning(parser)
    _add_examples(parser)
    _add_machine(parser)
    return parser


def _add_network(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("network").add_argument
    add(
        "-m",
        "--model-name",
        default="efficientnet-b0",
        help="efficientnet-b0 to -b8, efficientnet-l2, efficientnet-lite0 to -lite2, "
        "resnet18, 34, 50, 101, 152, torchvision/NAME or timm/NAME "
        "(default: %(default)s)",
    )
    add(
        "--pretrained",
        nargs="?",
        const=True,
        default=False,
        metavar="CKPT",
        help="start from ImageNet's weights, or from a checkpoint (default: random "
        "weights)",
    )
    add(
        "--image-size",
        type=cli.positive_int,
        help="side of the input in pixels (default: the architecture's)",
    )
    add(
        "--padding",
        choices=get_args(Padding),
        help="of an EfficientNet (default: tf; that of the checkpoint for --pretrained "
        "CKPT)",
    )


def _add_learning(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("learning")
    _add_epochs(group)
    _add_rates(group)
    _add_steadying(group)
    _add_sums(group)


def _add_epochs(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--epochs",
        type=cli.non_negative_int,
        default=0,
        help="most epochs; 0 only measures the network (default: %(default)s)",
    )
    add(
        "--folds",
        type=_folds,
        default=0,
        metavar="K",
        help="train K networks, each without some locations, to find wrong labels "
        "(default: one network)",
    )
    add(
        "--finetune",
        nargs="?",
        type=cli.non_negative_int,
        const=_ALL,
        default=0,
        metavar="N",
        help="in the first N epochs only the last layer learns; without N, in all "
        "(default: %(default)s)",
    )
    add(
        "--cache-features",
        action="store_true",
        help="while only the last layer learns, put each crop through the rest of the "
        "network once; crops are not varied meanwhile",
    )
    add(
        "--batch-size",
        type=cli.positive_int,
        default=256,
        help="crops per step, of all processes together (default: %(default)s)",
    )


def _add_rates(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--lr",
        type=_positive,
        help="learning rate of the first epoch (default: 0.016 x batch size / 256, "
        "with adamw 0.0005 x batch size / 256)",
    )
    add(
        "--lr-schedule",
        choices=get_args(LrSchedule),
        default="step",
        help="step: the original's, which falls by steps and never ends; cosine: grows in "
        "the first epoch, and falls to 0 in the last (default: %(default)s)",
    )
    add(
        "--finetune-lr",
        type=_positive,
        metavar="LR",
        help="learning rate of the epochs with --finetune (default: --lr)",
    )
    add(
        "--weight-decay",
        type=_not_negative,
        default=1e-5,
        help="(default: %(default)s)",
    )


def _add_steadying(group: argparse._ArgumentGroup) -> None:
    """Declares what helps where crops, or locations, are few."""
    add = group.add_argument
    add(
        "--label-smoothing",
        type=cli.fraction,
        default=0.0,
        metavar="SHARE",
        help="spread so much of the truth over all labels (default: %(default)s)",
    )
    add(
        "--average-weights",
        nargs="?",
        type=_not_negative,
        const=_AVERAGE_EPOCHS,
        default=0.0,
        metavar="EPOCHS",
        help="measure and keep the mean of the weights of the last EPOCHS or so, which "
        "is steadier than any of them (default: not; without a number "
        f"{_AVERAGE_EPOCHS:g})",
    )
    add(
        "--freeze-batch-norm",
        action="store_true",
        help="keep the means of batch normalisation that the weights came with, which "
        "helps where crops are few",
    )
    add(
        "--keep",
        choices=get_args(Keep),
        default="best",
        help="the network of the epoch that was best on val, or, after all --epochs, the "
        "last, where val has too few locations to tell epochs apart (default: "
        "%(default)s)",
    )


def _add_sums(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--optimizer",
        choices=get_args(Optimizer),
        help="(default: rmsprop for EfficientNets and MobileNets, sgd for ResNets and "
        "their like, adamw for others)",
    )
    add(
        "--precision",
        choices=get_args(Precision),
        help="of the network's sums (default: bfloat16 on a GPU that has it, else "
        "float16; float32 on a processor)",
    )


def _add_examples(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("examples").add_argument
    add("--multilabel", action="store_true", help="not supported")
    add(
        "--label-weighted",
        action="store_true",
        help="let all labels count the same, in what is drawn and in accuracies",
    )
    add(
        "--weight-by-detection-conf",
        nargs="?",
        const=True,
        default=False,
        metavar="NPZ",
        help="draw crops as the detector was sure of them; with a file of "
        "fit_detector_calibration, as often as it is right when so sure",
    )
    add(
        "--augmentation",
        choices=get_args(Augmentation),
        default="standard",
        help="how crops are varied (default: %(default)s)",
    )
    add(
        "--log-extreme-examples",
        type=cli.non_negative_int,
        default=0,
        metavar="K",
        help="show in TensorBoard the K crops per label that the network was most "
        "certain of, rightly or wrongly (default: %(default)s)",
    )
    add(
        "--crop-cache",
        type=outputs.folder(),
        metavar="DIR",
        help="keep crops there that are decoded and made small, for further epochs "
        f"and runs; may be deleted at any time (default: LOGDIR/{_CACHE})",
    )
    add("--no-crop-cache", action="store_true", help="decode crops in each epoch")
    add(
        "--crop-cache-gb",
        type=_positive,
        metavar="N",
        help="most gigabytes of each split's cache (default: what the disk has, less "
        "a twentieth)",
    )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine")
    add = group.add_argument
    add(
        "--num-workers",
        type=cli.non_negative_int,
        default=8,
        help="threads that read crops, per process; no more than the processor has "
        "cores are used (default: %(default)s)",
    )
    cli.add_device(group)
    add(
        "--save-minutes",
        type=_positive,
        default=10.0,
        metavar="N",
        help="note where the run is every N minutes (default: %(default)g)",
    )
    add(
        "--save-steps",
        type=cli.positive_int,
        metavar="N",
        help="note it every N steps instead",
    )


def _positive(text: str) -> float:
    value = _not_negative(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _folds(text: str) -> int:
    value = cli.positive_int(text)
    if value < folds.FEWEST:
        raise argparse.ArgumentTypeError("one fold would leave nothing to learn from")
    return value


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return value


def run(
    params: RunParams | None,
    *,
    resume: Path | None,
    options: Options,
    choices: Choices,
) -> None:
    """Trains a network, or goes on with it, and measures it.

    Args:
        params: what a new run is told; None with ``resume``.
        choices: what it is told, or leaves open, beside; nothing with ``resume``.
        resume: folder of the run to go on with.
        options: what does not change what it learns.

    Raises:
        PipelineError: a file is missing or breaks its format, weights do not fit, or
            nothing can be learned from what is there.
    """
    # Of several processes each would warn that gradients are looked for in vain, which is
    # so on purpose (see ``Group.wrap``).
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from classification.modeling import distributed, torch_inference  # noqa: PLC0415 - import torch

    device = torch_inference.choose_device(options.device)
    with distributed.joined(device) as group:
        if not group.is_first:
            logging.getLogger().setLevel(logging.WARNING)
        _make_repeatable(group)
        # A seed that was drawn is drawn once.
        params, choices = group.of_first((params, choices))
        if resume is not None:
            params = _params_of(resume, group)
            choices = Choices(padding=params.padding, precision=params.precision)
        if params is None:
            raise ConfigurationError("neither a new run nor one to go on with")
        kind = _Folds if params.folds else _Run
        kind(params, resume, options, choices, group).go()


def _params_of(folder: Path, group: Group) -> RunParams:
    path = folder / run_params.FILENAME
    if not path.exists():
        raise ArtifactError(
            "missing; --resume names the folder of a run, such as run/20261122_204715",
            where=str(path),
        )
    params = run_params.read(path)
    if params.processes != group.world:
        _logger.warning(
            "the run began with %d processes and goes on with %d: it will not end with "
            "the same weights to the bit",
            params.processes,
            group.world,
        )
    return params


def _make_repeatable(group: Group) -> None:
    """Lets the same steps give the same bits, and uses the processor well."""
    import torch  # noqa: PLC0415 - as above

    from classification.modeling import allocator  # noqa: PLC0415 - as above

    if group.device == "cpu":
        torch.set_num_threads(max(1, parallel.cores() // group.world))
        allocator.keep_freed_memory(one_heap=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


class _Run:
    """One run of the command, in one of its processes."""

    _measured: Sequence[str] = SPLITS

    def __init__(
        self,
        params: RunParams,
        resume: Path | None,
        options: Options,
        choices: Choices,
        group: Group,
    ) -> None:
        self.params = params
        self.choices = choices
        self.resume = resume
        self.options = options
        self.group = group
        self.started = time.time()
        self.steps_before = 0
        self.crops: KnownCrops | None = None

    @property
    def dataset_dir(self) -> Path:
        return self.options.dataset_dir or Path(self.params.dataset_dir)

    @property
    def crops_dir(self) -> Path:
        return self.options.crops_dir or Path(self.params.cropped_images_dir)

    def go(self) -> None:
        from classification.modeling import resuming  # noqa: PLC0415 - as above

        saved = None if self.resume is None else resuming.read(self.resume)
        self.steps_before = 0 if saved is None else saved.steps_trained
        data = self._read_data()
        network = self._open(data, saved)
        data = self._know_crops(data)
        if saved is not None and saved.is_finished:
            _logger.info("%s: this run has ended; nothing is left to do", self.resume)
            return
        folder = self.group.of_first(self._begin(data) if self.group.is_first else None)
        if not self.group.is_first:
            self._train(folder, data, network, saved)
            return
        busy = folder / run_params.FILENAME
        with locking.exclusive(busy):
            ended = self._train(folder, data, network, saved)
            self._finish(folder, data, network, ended)

    def _read_data(self) -> TrainingSet:
        if not self.crops_dir.is_dir():
            raise ConfigurationError(
                f"{self.crops_dir}: no such folder; detect_and_crop "
                "--cropped-images-dir makes it"
            )
        self._check_hashes()
        data = self._read(_confidence_weight(self.params))
        if self.group.is_first:
            for note in self._notes(data):
                _logger.warning("%s", note)
        if self.params.epochs and not len(data.splits["train"]):
            raise ConfigurationError(
                f"{self.dataset_dir}: train has no crop; nothing can be learned"
            )
        return data

    def _read(self, confidence_weight: ConfidenceWeight | None) -> TrainingSet:
        return training_set.read(
            self.dataset_dir,
            label_weighted=self.params.label_weighted,
            confidence_weight=confidence_weight,
        )

    def _notes(self, data: TrainingSet) -> list[str]:
        return data.notes()

    def _check_hashes(self) -> None:
        """Notes what files the run reads, or sees that they are what they were."""
        known = self.params.data_sha256 if self.resume is not None else {}
        found: dict[str, str] = {}
        for name, path in self._files().items():
            if path.is_file():
                found[name] = registry.sha256_of(path)
            elif name in known and name not in _FILES:
                found[name] = known[name]  # no more needed, or missed where it is read
            if name in known and found.get(name) != known[name]:
                raise ConfigurationError(
                    f"{path} changed since the training run began; put back what it was, "
                    "or begin a new run"
                )
        self.params = msgspec.structs.replace(self.params, data_sha256=found)

    def _files(self) -> dict[str, Path]:
        """Returns the files that decide what is learnt, as ``data_sha256`` calls them."""
        files = {name: self.dataset_dir / name for name in _FILES}
        for key in ("pretrained", "weight_by_detection_conf"):
            told: bool | str = getattr(self.params, key)
            if isinstance(told, str):
                files[key] = Path(told)
        return files

    def _know_crops(self, data: TrainingSet) -> TrainingSet:
        """Returns the data with what each crop must hold.

        Raises:
            ConfigurationError: crops changed since the run began.
        """
        if not self.params.epochs:
            return data  # nothing was learnt, and all is measured anew
        if self.crops is None:
            noted = self._note_crops(data) if self.group.is_first else None
            self.crops = self.group.of_first(noted)
        return data.with_digests(self.crops.digests)

    def _note_crops(self, data: TrainingSet) -> KnownCrops:
        from classification.modeling import known_crops  # noqa: PLC0415 - as above

        known = None
        if self.resume is not None:
            sha256 = self.params.data_sha256[dataset_csv.FILENAME]
            known = known_crops.read(self.resume, data, sha256=sha256)
            if known is None:
                _logger.warning(
                    "%s: missing, so nobody knows whether crops changed since the run "
                    "began",
                    self.resume / known_crops.FILENAME,
                )
        found = known_crops.note(
            data,
            LocalStore(self.crops_dir),
            known=known,
            threads=max(1, self.options.workers),
        )
        if known is not None:
            known_crops.refuse_changed(data, known, found)
        return found

    def _open(self, data: TrainingSet, saved: Saved | None) -> nn.Module:
        """Returns the network to begin with; settles what was left open."""
        import torch  # noqa: PLC0415 - as above

        from classification.modeling import networks  # noqa: PLC0415 - as above

        self._settle()
        if saved is not None and (saved.model or saved.is_trained):
            return networks.build(
                self.params.model_name,
                len(data.labels),
                image_size=self.params.image_size,
                padding=self.params.padding,
            )
        torch.manual_seed(self.params.seed)
        if not self.group.is_first:
            self.group.of_first(None)  # the first fetches what is not there yet
            return self._start(data)
        network = self._start(data)
        self.group.of_first(self.params.padding)
        return network

    def _settle(self) -> None:
        from classification.modeling import optimisers  # noqa: PLC0415 - as above

        params = self.params
        architecture = catalog.find(params.model_name)
        if params.batch_size % self.group.world:
            raise ConfigurationError(
                f"--batch-size {params.batch_size} cannot be shared by "
                f"{self.group.world} processes"
            )
        if params.cache_features and self.group.world > 1:
            raise ConfigurationError(
                "--cache-features is for one process: what is left to do takes seconds"
            )
        optimizer = params.optimizer or optimisers.choose(params.model_name)
        self.params = msgspec.structs.replace(
            params,
            optimizer=optimizer,
            lr=params.lr or optimisers.default_rate(optimizer, params.batch_size),
            image_size=params.image_size or architecture.image_size,
            precision=self.choices.precision or _precision_of(self.group.device),
            processes=self.group.world,
        )

    def _start(self, data: TrainingSet) -> nn.Module:
        from classification.modeling import pretrained  # noqa: PLC0415 - as above

        told = self.params.pretrained
        weights: Path | Literal["imagenet"] | None = None
        if told is True:
            weights = pretrained.IMAGENET
        elif told:
            weights = Path(told)
        start = pretrained.start(
            self.params.model_name,
            data.labels,
            pretrained=weights,
            image_size=self.params.image_size,
            padding=self.choices.padding,
        )
        self.params = msgspec.structs.replace(self.params, padding=start.padding)
        if self.group.is_first:
            _logger.info("%s: %s", self.params.model_name, start.said)
        return start.network

    def _begin(self, data: TrainingSet) -> Path:
        """Makes the run folder."""
        from classification.modeling import known_crops  # noqa: PLC0415 - as above

        if self.resume is not None:
            return self.resume
        folder = _claim(Path(self.params.logdir))
        if self.crops is not None:
            sha256 = self.params.data_sha256[dataset_csv.FILENAME]
            known_crops.write(folder, data, self.crops, sha256=sha256)
        run_params.write(folder / run_params.FILENAME, self.params)
        _logger.info("run folder: %s", folder)
        return folder

    def _train(
        self,
        folder: Path,
        data: TrainingSet,
        network: nn.Module,
        saved: Saved | None,
    ) -> Saved:
        from classification.modeling.board import Board  # noqa: PLC0415 - as above
        from classification.modeling.resuming import Saved  # noqa: PLC0415 - as above
        from classification.modeling.training import Training  # noqa: PLC0415 - as above

        saved = saved or Saved()
        if saved.is_trained or not self.params.epochs:
            return saved
        setup = self._setup(folder, data)
        if not self.group.is_first:
            return Training(setup, self.group, network, None, saved).run()
        with Board(folder, purge_step=saved.epoch if self.resume else None) as board:
            ended = Training(setup, self.group, network, board, saved).run()
            _write_hparams(board, self.params, ended, data.labels)
        return ended

    def _setup(self, folder: Path, data: TrainingSet) -> Setup:
        from classification.modeling.training import Setup  # noqa: PLC0415 - as above

        params, options = self.params, self.options
        architecture = catalog.find(params.model_name)
        return Setup(
            params=params,
            labels=data.labels,
            splits=data.splits,
            store=LocalStore(self.crops_dir),
            folder=folder,
            optimizer=params.optimizer or "sgd",
            lr=params.lr or 0.0,
            image_size=params.image_size or architecture.image_size,
            normalisation=architecture.normalisation,
            padding=params.padding,
            threads=options.workers,
            cache_dir=(options.cache_dir or folder.parent / _CACHE)
            if params.crop_cache
            else None,
            cache_bytes=options.cache_bytes,
            save_steps=options.save_steps,
            save_s=options.save_s,
        )

    def _finish(
        self, folder: Path, data: TrainingSet, network: nn.Module, ended: Saved
    ) -> None:
        """Measures the best network on all splits, and writes down what there is.

        Raises:
            TooManyFailuresError: see ``cli.check_failures``.
        """
        from classification.modeling import resuming  # noqa: PLC0415 - as above

        found = self._measure(folder, data, network, ended)
        model_card.write(
            folder / model_card.FILENAME, self._card(folder, data, ended, found)
        )
        failed = ended.failed | dict(found.failures)
        log = StepLog(
            step=STEP,
            options=run_params.to_dict(self.params),
            started=self.started,
            failures=list(failed.items()),
            notes=[("training set", note) for note in data.notes()] + found.notes,
        )
        log.counts |= {
            **{split: len(rows) for split, rows in data.splits.items()},
            "failed": len(failed),
            "epochs": ended.epoch,
            "steps": ended.steps_trained,
            "steps_of_this_run": ended.steps_trained - self.steps_before,
        }
        log.extra |= {
            "best_epoch": ended.best_epoch,
            "weights_sha256": ended.weights_sha256,
        }
        path = step_log.write(folder, log)
        resuming.write(folder, replace(ended, is_finished=True))
        crops = sum(map(len, data.splits.values()))
        _logger.info(
            "%s: trained for %d epochs, the best was %s; %d of %d crops failed; log: %s",
            folder,
            ended.epoch,
            ended.best_epoch,
            len(failed),
            crops,
            path,
        )
        cli.check_failures(len(failed), crops, self.options.max_failures)

    def _measure(
        self, folder: Path, data: TrainingSet, network: nn.Module, ended: Saved
    ) -> Found:
        """Writes what ``evaluate_model`` writes, for all splits."""
        from classification.modeling import checkpoints, evaluating, trained  # noqa: PLC0415 - as above
        from classification.modeling.inference import Resources  # noqa: PLC0415 - as above
        from classification.modeling.preprocessing import Preprocessing  # noqa: PLC0415 - as above

        architecture = catalog.find(self.params.model_name)
        sha256 = checkpoints.fingerprint(network.state_dict())
        if ended.best_epoch is not None:
            path = folder / checkpoints.filename(ended.best_epoch)
            network = checkpoints.open_network(path, self.params)
            sha256 = registry.sha256_of(path)
        classifier = trained.of_network(
            network,
            Preprocessing(
                image_size=self.params.image_size or architecture.image_size,
                normalisation=architecture.normalisation,
            ),
            Resources(device=self.group.device, threads=parallel.cores()),
            sha256,
            data.labels,
        )
        if self.params.weight_by_detection_conf:  # which is for learning alone
            data = self._know_crops(self._read(None))
        return evaluating.evaluate(
            classifier,
            data,
            self._measured,
            folder,
            store=LocalStore(self.crops_dir),
            options=evaluating.Options(workers=max(1, self.options.workers)),
        )

    def _card(
        self, folder: Path, data: TrainingSet, ended: Saved, found: Found
    ) -> Card:
        labels = data.labels
        counts = {
            split: np.bincount(rows.labels, minlength=len(labels)).tolist()
            for split, rows in data.splits.items()
        }
        told = self.params.pretrained
        return Card(
            name=folder.name,
            params=self.params,
            start=_START[told] if isinstance(told, bool) else f"weights of {told}",
            counts={
                split: dict(zip(labels, by_label, strict=True))
                for split, by_label in counts.items()
            },
            locations={
                split: len(set(rows.locations.codes.tolist()))
                for split, rows in data.splits.items()
            },
            best_epoch=ended.best_epoch,
            evaluation=found.metrics,
            padding=self.params.padding
            if catalog.find(self.params.model_name).family == "efficientnet"
            else None,
        )


class _Fold(_Run):
    """The training without the locations of one fold, which it is then measured on."""

    _measured = ("test",)

    def __init__(self, whole: _Run, folder: Path, dealt: Dealt, number: int) -> None:
        cache = (whole.options.cache_dir or folder.parent) / f"{folder.name}_{_CACHE}"
        options = replace(whole.options, cache_dir=cache)
        super().__init__(whole.params, folder, options, whole.choices, whole.group)
        self.crops = whole.crops
        self._cache = cache
        self._split_by_location = dealt.splits(number).by_location()

    def _read(self, confidence_weight: ConfidenceWeight | None) -> TrainingSet:
        return training_set.read(
            self.dataset_dir,
            label_weighted=self.params.label_weighted,
            confidence_weight=confidence_weight,
            split_by_location=self._split_by_location,
        )

    def _notes(self, data: TrainingSet) -> list[str]:
        del data  # what matters of it, ``_Folds`` has said
        return []

    def _finish(
        self, folder: Path, data: TrainingSet, network: nn.Module, ended: Saved
    ) -> None:
        from classification.modeling import resuming  # noqa: PLC0415 - as above

        found = self._measure(folder, data, network, ended)
        failed = ended.failed | dict(found.failures)
        # No other fold has the same crops in train, so none can use it.
        shutil.rmtree(self._cache, ignore_errors=True)
        resuming.write(folder, replace(ended, failed=failed, is_finished=True))


class _Folds(_Run):
    """A run that trains a network for each fold, and joins what they say."""

    def go(self) -> None:
        if self.group.world > 1:
            raise ConfigurationError("--folds is for one process")
        data = self._read_data()
        if self.resume is None:
            self._open(data, None)  # settles what was left open
        data = self._know_crops(data)
        folder = self._begin(data)
        with locking.exclusive(folder / run_params.FILENAME):
            parts = [self._fold_folder(folder, i) for i in range(self.params.folds)]
            for number, part in enumerate(parts):
                _logger.info("fold %d of %d: %s", number + 1, len(parts), part)
                _Fold(self, part, self._dealt, number).go()
            self._join(folder, data, parts)

    def _fold_folder(self, folder: Path, number: int) -> Path:
        return folder / f"fold_{number + 1}"

    def _read(self, confidence_weight: ConfidenceWeight | None) -> TrainingSet:
        del confidence_weight  # which is for learning alone
        path = self.dataset_dir / dataset_csv.FILENAME
        self._dealt = folds.deal_rows(
            dataset_csv.read(path), self.params.folds, seed=self.params.seed
        )
        return training_set.read(
            self.dataset_dir,
            label_weighted=self.params.label_weighted,
            split_by_location=dict.fromkeys(self._dealt.locations, "train"),
        )

    def _notes(self, data: TrainingSet) -> list[str]:
        del data
        return self._dealt.notes()

    def _join(self, folder: Path, data: TrainingSet, parts: list[Path]) -> None:
        """Writes what the networks say, and the step log.

        Raises:
            TooManyFailuresError: see ``cli.check_failures``.
        """
        from classification.modeling import fold_outputs, resuming  # noqa: PLC0415 - as above

        rows = data.splits["train"]
        path = folder / predictions.outputs_name("folds")
        joined = fold_outputs.join(
            [part / predictions.outputs_name("test") for part in parts],
            rows,
            self._dealt.fold_by_row(rows.locations),
            data.labels,
            path,
        )
        ended = [saved for part in parts if (saved := resuming.read(part))]
        reasons = {name: why for saved in ended for name, why in saved.failed.items()}
        missing = [rows.paths[row] for row in joined.missing]
        log = StepLog(
            step=STEP,
            options=run_params.to_dict(self.params),
            started=self.started,
            failures=[(name, reasons.get(name, "not read")) for name in missing],
            notes=[("training set", note) for note in self._notes(data)],
        )
        log.counts |= {"crops": len(rows), "failed": len(missing)}
        log.extra["acc_top1"] = joined.right / max(1, joined.crops)
        _logger.info(
            "%s: %d crops, %d of them judged right by a network that had not seen their "
            "location; %d failed; log: %s",
            path,
            joined.crops,
            joined.right,
            len(missing),
            step_log.write(folder, log),
        )
        cli.check_failures(len(missing), len(rows), self.options.max_failures)


def _claim(base: Path) -> Path:
    """Makes a folder named by the time, which no other run has."""
    check_writable(base)
    name = time.strftime(step_log.TIMESTAMP)
    number = 1
    while True:
        folder = base / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror}") from error
        else:
            return folder


def _precision_of(device: str) -> Precision:
    """Returns the least precise sums that train well, where the device has them."""
    import torch  # noqa: PLC0415 - as above

    if device == "cpu":  # slower there
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def _confidence_weight(params: RunParams) -> ConfidenceWeight | None:
    told = params.weight_by_detection_conf
    if told is False:
        return None
    if told is True:
        return weighting.as_it_is
    return detector_calibration.read(Path(told))


def _write_hparams(
    board: Board, params: RunParams, ended: Saved, labels: Sequence[str]
) -> None:
    """Writes the original's hparams: what the run was told, and its best epoch."""
    from classification.modeling import epoch_sums  # noqa: PLC0415 - as above
    from classification.modeling.board import tag  # noqa: PLC0415 - as above

    if ended.best_epoch is None:
        return
    metrics: dict[str, float] = {"hparam/epoch": ended.best_epoch}
    for split, sums in ended.measured.items():
        found = epoch_sums.measured(sums)
        metrics |= {
            tag("hparam", split, "loss"): found.loss,
            tag("hparam", split, "acc_top1"): found.top1,
            tag("hparam", split, "acc_top3"): found.top3,
        }
        metrics |= {
            tag("hparam", split, "label_recall", label): recall
            for label, recall in found.recall_by_label(labels).items()
        }
    told: dict[str, bool | float | str] = {
        "model_name": params.model_name,
        "multilabel": params.multilabel,
        "finetune": params.finetune,
        "batch_size": params.batch_size,
        "epochs": params.epochs,
    }
    board.hparams(told, metrics)


def _params(args: Arguments) -> tuple[RunParams, Choices]:
    """Returns what the command line tells a new run."""
    params = RunParams(
        dataset_dir=str(args.dataset_dir),
        cropped_images_dir=str(args.cropped_images_dir),
        model_name=args.model_name,
        pretrained=args.pretrained,
        finetune=args.epochs if args.finetune == _ALL else args.finetune,
        label_weighted=args.label_weighted,
        weight_by_detection_conf=args.weight_by_detection_conf,
        epochs=args.epochs,
        folds=args.folds,
        batch_size=args.batch_size,
        lr=args.lr,
        weight_decay=args.weight_decay,
        num_workers=args.num_workers,
        logdir=str(args.logdir),
        log_extreme_examples=args.log_extreme_examples,
        seed=random.SystemRandom().randrange(_SEEDS)
        if args.seed is None
        else args.seed,
        image_size=args.image_size,
        padding=args.padding or "tf",
        augmentation=args.augmentation,
        optimizer=args.optimizer,
        lr_schedule=args.lr_schedule,
        finetune_lr=args.finetune_lr,
        label_smoothing=args.label_smoothing,
        average_weights=args.average_weights,
        freeze_batch_norm=args.freeze_batch_norm,
        keep=args.keep,
        cache_features=args.cache_features,
        crop_cache=not args.no_crop_cache and args.epochs > 1,
        version=version("cameratraps-classifier"),
    )
    return params, Choices(padding=args.padding, precision=args.precision)


def _check_usage(parser: argparse.ArgumentParser, args: Arguments) -> None:
    """Ends with a usage error where options do not go together."""
    if args.multilabel:
        parser.error(
            "--multilabel: a classifier is trained with one label per crop; the "
            "original's flag never worked either. Crop with one box per animal, so that "
            "each crop has its own label"
        )
    if args.resume is None:
        if args.dataset_dir is None or args.cropped_images_dir is None:
            parser.error("DATASET_DIR and CROPPED_IMAGES_DIR are required")
        for flag in ("cache_features", "finetune_lr"):
            if getattr(args, flag) and not args.finetune:
                spelled = flag.replace("_", "-")
                parser.error(f"--{spelled} is for epochs with --finetune")
        if args.label_smoothing == 1:
            parser.error("--label-smoothing: 1 leaves nothing of the truth")
        if args.folds and not args.epochs:
            parser.error("--folds needs --epochs: an untrained network knows no labels")
        return
    told = [
        action.option_strings[0]
        for action in parser._actions  # noqa: SLF001 - argparse has no other list
        if action.dest not in _TOLD_ANEW
        and getattr(args, action.dest) != action.default
    ]
    if told:
        parser.error(
            f"{', '.join(told)}: the run's own {run_params.FILENAME} says that; it cannot "
            "be told anew with --resume"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    _check_usage(parser, args)
    params, choices = None, Choices()
    gigabytes = args.crop_cache_gb
    if args.resume is None:
        params, choices = _params(args)
    return cli.exit_code(
        run,
        params,
        resume=args.resume,
        options=Options(
            dataset_dir=args.dataset_dir,
            crops_dir=args.cropped_images_dir,
            workers=min(args.num_workers, parallel.cores()),
            device=args.device,
            cache_dir=args.crop_cache,
            cache_bytes=None if gigabytes is None else int(gigabytes * 1e9),
            save_steps=args.save_steps,
            save_s=60 * args.save_minutes,
            max_failures=args.max_failures,
        ),
        choices=choices,
    )


if __name__ == "__main__":
    raise SystemExit(main())
