"""Teaches a network the labels of a training set.

An epoch draws as many examples as train has, looks at val, and at test where val is better
than ever, which is when the network is kept. After eight epochs in a row that are not, the
run ends. Where the last network is to be kept, all epochs run, and test is looked at then.
In the first ``finetune`` epochs only the last layer learns, and the rest is as it is in
evaluation; if the whole network learns after them, the eight epochs count from there.

What a step does follows from (seed, epoch, step) and the weights alone: order and pixels of
its examples, what dropout drops, the rate. So a run that goes on from ``resume.pt`` ends
with the same bits, as long as its processes, threads and libraries are the same.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.nn import functional

from classification.cropping.images import open_image
from classification.modeling import (
    checkpoints,
    epoch_sums,
    extremes,
    features,
    networks,
    optimisers,
    pace,
    preprocessing,
    resuming,
    training_data,
)
from classification.modeling.averaging import Average
from classification.modeling.checkpoints import Checkpoint
from classification.modeling.epoch_sums import EpochSums
from classification.modeling.extremes import Extremes
from classification.modeling.optimisers import Schedule
from classification.modeling.pace import Pace
from classification.modeling.training_data import TrainLoader
from classification.runtime import progress
from classification.runtime.errors import (
    ConfigurationError,
    ItemError,
    TooManyFailuresError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from classification.artifacts.run_params import Optimizer, RunParams
    from classification.dataset.training_set import SplitRows
    from classification.modeling.board import Board
    from classification.modeling.catalog import Normalisation, Padding
    from classification.modeling.distributed import Group
    from classification.modeling.epoch_sums import Measured
    from classification.modeling.features import Features
    from classification.modeling.resuming import Saved
    from classification.modeling.training_data import Batch
    from classification.storage.local import LocalStore

PATIENCE = 8  # epochs without a better val accuracy
_FEWEST = 2  # examples that batch normalisation can be taught with
_LEAST_S = 60.0  # after which the end of an epoch is noted even if it was no better
_CURVE_CELLS = 20_000_000  # probabilities kept for curves: 80 MB

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What to train on, and how.

    Attributes:
        params: what the run was told.
        labels: names in id order.
        splits: examples of ``train``, ``val`` and ``test``.
        store: where the crops are.
        folder: the run's.
        optimizer: which one.
        lr: learning rate of the first epoch.
        image_size: side of the input in pixels.
        normalisation: of the input.
        padding: of the network.
        threads: that read crops, per process.
        cache_dir: of crops made small; None to decode each whole each time.
        cache_bytes: most bytes of it per split, or None.
        save_steps: note where the run is after so many steps; None: by the clock.
        save_s: so many seconds after it was noted last.
    """

    params: RunParams
    labels: tuple[str, ...]
    splits: Mapping[str, SplitRows]
    store: LocalStore
    folder: Path
    optimizer: Optimizer
    lr: float
    image_size: int
    normalisation: Normalisation
    padding: Padding
    threads: int
    cache_dir: Path | None = None
    cache_bytes: int | None = None
    save_steps: int | None = None
    save_s: float = 600.0


class Source(Protocol):
    """What batches come from: crops, or features computed from them."""

    @property
    def steps(self) -> int:
        """Returns the number of batches of an epoch."""
        ...

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, from a step on."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What was seen of a split in an epoch.

    Attributes:
        sums: over all processes (see ``epoch_sums``).
        extremes: likewise.
        curve: probabilities of some examples of this process, [n, C], and their labels,
            [n]; of train none, whose network changes meanwhile.
    """

    sums: torch.Tensor
    extremes: Extremes
    curve: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None


class Training:
    """A run that is under way."""

    def __init__(
        self,
        setup: Setup,
        group: Group,
        network: nn.Module,
        board: Board | None,
        saved: Saved,
    ) -> None:
        """Puts network and optimiser where the run is.

        Args:
            setup: of the run.
            group: its processes.
            network: as it was before the run; its weights are replaced by those of a
                run that goes on.
            board: where the first process writes what happens.
            saved: where the run is; a new one for a new run.
        """
        params = setup.params
        self.saved = saved
        self._setup = setup
        self._group = group
        self._board = board
        if saved.model:
            networks.load_weights(network, saved.model)
        self._network = network.to(group.device).to(memory_format=torch.channels_last)
        self._head = networks.head_names(network)
        self._optimizer = optimisers.build(
            setup.optimizer,
            self._network.parameters(),
            lr=setup.lr,
            weight_decay=params.weight_decay,
        )
        self._scaler = torch.amp.GradScaler(
            group.device.partition(":")[0], enabled=params.precision == "float16"
        )
        if saved.optimizer:
            self._optimizer.load_state_dict(saved.optimizer)
            self._scaler.load_state_dict(saved.scaler)
        self._failed = dict(saved.failed)
        self._loaders = {split: self._loader(split) for split in setup.splits}
        self._schedule = self._scheduled()
        self._average = self._averaged()
        self._features: dict[str, Features] = {}
        self._model: tuple[bool, nn.Module] | None = None
        self._saved_at = time.monotonic()
        self._pace = Pace(
            epochs=params.epochs,
            steps=self._loaders["train"].steps,
            head_epochs=params.finetune,
        )

    def run(self) -> Saved:
        """Trains until the end; returns where the run is then.

        Raises:
            TooManyFailuresError: no crop of train could be read.
            ConfigurationError: the loss is no number any more.
        """
        with ExitStack() as stack:
            self._open_caches(stack)
            for epoch in range(self.saved.epoch, self._setup.params.epochs):
                if self._is_hopeless(epoch):
                    best = self.saved.best_epoch
                    self._say("no better epoch than %d in %d: done", best, PATIENCE)
                    break
                self._run_epoch(epoch)
        self.saved = replace(
            self.saved,
            is_trained=True,
            model={},
            optimizer={},
            average={},
            sums=None,
            failed=self._failed,
            weights_sha256=checkpoints.fingerprint(self._shown.state_dict()),
        )
        self._write()
        return self.saved

    def _scheduled(self) -> Schedule:
        setup, params = self._setup, self._setup.params
        return Schedule(
            kind=params.lr_schedule,
            optimizer=setup.optimizer,
            lr=setup.lr,
            head_lr=params.finetune_lr or setup.lr,
            head_epochs=params.finetune,
            epochs=params.epochs,
            steps=self._loaders["train"].steps,
        )

    def _is_hopeless(self, epoch: int) -> bool:
        """Says whether no epoch was better for too long, in the phase that it is in."""
        best, params = self.saved.best_epoch, self._setup.params
        # Where the whole network is still to learn, the last layer alone may stand still.
        begin = params.finetune if params.finetune < params.epochs else 0
        return best is not None and epoch > max(best, begin) + PATIENCE

    def _averaged(self) -> Average | None:
        """Returns the mean of the weights so far, where it is wanted."""
        epochs = self._setup.params.average_weights
        if not epochs:
            return None
        average = Average(self._network, epochs * self._loaders["train"].steps)
        if self.saved.average:
            networks.load_weights(average.network, self.saved.average)
        return average

    @property
    def _shown(self) -> nn.Module:
        """Returns the network that is measured and kept."""
        return self._network if self._average is None else self._average.network

    def _say(self, text: str, *values: object) -> None:
        if self._group.is_first:
            _logger.info(text, *values)

    def _loader(self, split: str) -> TrainLoader:
        setup, params = self._setup, self._setup.params
        learns = split == "train"
        weighted = params.label_weighted or bool(params.weight_by_detection_conf)
        return TrainLoader(
            store=setup.store,
            rows=setup.splits[split],
            image_size=setup.image_size,
            batch_size=params.batch_size // self._group.world,
            augmentation=params.augmentation if learns else "none",
            seed=params.seed,
            weighted=learns and weighted,
            in_order=not learns,
            threads=setup.threads,
            pin_memory=self._group.device != "cpu",
            rank=self._group.rank,
            world=self._group.world,
        )

    def _open_caches(self, stack: ExitStack) -> None:
        folder = self._setup.cache_dir
        if folder is None:
            return
        for split, loader in self._loaders.items():
            cache = stack.enter_context(
                training_data.open_cache(
                    folder, loader, max_bytes=self._setup.cache_bytes
                )
            )
            self._loaders[split] = replace(loader, cache=cache)

    def _run_epoch(self, epoch: int) -> None:
        params = self._setup.params
        started, first_step = time.monotonic(), self.saved.step
        train = self._learn_epoch(epoch, first_step)
        seconds = time.monotonic() - started
        measured = {"train": self._report("train", epoch, train)}
        self._check(epoch, measured["train"])
        self._failed = _merged(self._group.gathered(self._failed))
        sums = {"train": train.sums, "val": self._look("val", epoch, measured)}
        is_best = self._is_best(epoch, measured["val"])
        if is_best:
            sums["test"] = self._look("test", epoch, measured)
        self._pace.looked()
        if self._board is not None:
            every = self._schedule.steps
            steps = every - first_step
            self._board.scalar("lr", self._schedule.at(epoch, every // 2), epoch)
            speed = steps * params.batch_size / max(seconds, 1e-9)
            self._board.scalar("images_per_second", speed, epoch)
            self._board.flush()
        self._note(epoch, measured["val"], sums, is_best=is_best)
        self._tell(epoch, measured, is_best=is_best)

    def _check(self, epoch: int, train: Measured) -> None:
        """Ends a run that can lead nowhere.

        Raises:
            TooManyFailuresError: no crop of train could be read.
            ConfigurationError: the loss is no number any more.
        """
        if not train.examples:
            raise TooManyFailuresError("no crop of train could be read")
        if math.isfinite(train.loss):
            return
        best = self.saved.best_epoch
        kept = "" if best is None else f"; {checkpoints.filename(best)} is kept"
        raise ConfigurationError(
            f"epoch {epoch}: the loss is no number any more; a smaller --lr than "
            f"{self._setup.lr:g} may help{kept}"
        )

    def _is_best(self, epoch: int, val: Measured) -> bool:
        if self._setup.params.keep == "last":
            return epoch + 1 == self._setup.params.epochs
        # Without a crop in val nothing tells epochs apart: the last is the best.
        return not val.examples or val.top1 > self.saved.best_accuracy

    def _note(
        self,
        epoch: int,
        val: Measured,
        sums: dict[str, torch.Tensor],
        *,
        is_best: bool,
    ) -> None:
        """Keeps the network if it is the best, and notes where the run is."""
        before = self.saved.best_epoch
        if is_best:
            self._keep(epoch, val)
            self.saved = replace(
                self.saved,
                best_epoch=epoch,
                best_accuracy=val.top1 if val.examples else -1.0,
                measured=sums,
            )
        self.saved = replace(self.saved, epoch=epoch + 1, step=0, sums=None)
        passed = time.monotonic() - self._saved_at
        if is_best or self._setup.save_steps is not None or passed >= _LEAST_S:
            self._save(sums=None)
        if is_best and before is not None and self._group.is_first:
            # Only now: until here a run that is taken up may need it.
            old = self._setup.folder / checkpoints.filename(before)
            old.unlink(missing_ok=True)

    def _keep(self, epoch: int, val: Measured) -> None:
        if not self._group.is_first:
            return
        setup = self._setup
        checkpoints.write(
            setup.folder / checkpoints.filename(epoch),
            Checkpoint(
                model=self._shown.state_dict(),
                epoch=epoch,
                val_accuracy=val.top1,
                optimizer=self._optimizer.state_dict(),
                padding=setup.padding,
                labels=setup.labels,
                architecture=setup.params.model_name,
                image_size=setup.image_size,
            ),
        )

    def _tell(
        self, epoch: int, measured: Mapping[str, Measured], *, is_best: bool
    ) -> None:
        train, val = measured["train"], measured["val"]
        best = ""
        if is_best:
            best = f", best so far (test top-1 {measured['test'].top1:.1f} %)"
        self._say(
            "epoch %d: train loss %.3f, top-1 %.1f %%; val loss %.3f, top-1 %.1f %%%s; "
            "at most %s left",
            epoch,
            train.loss,
            train.top1,
            val.loss,
            val.top1,
            best,
            pace.readable(self._pace.left_s(epoch + 1, 0)),
        )

    def _learn_epoch(self, epoch: int, first_step: int) -> _Seen:
        params = self._setup.params
        only_head = epoch < params.finetune
        self._prepare(only_head=only_head)
        source = self._source("train", only_head=only_head)
        model = self._wrapped(only_head=only_head)
        sums = EpochSums(len(self._setup.labels), self._group.device)
        if self.saved.sums is not None and self._group.is_first:
            sums.take(self.saved.sums)
        found = Extremes(len(self._setup.labels), params.log_extreme_examples)
        self._pace.begin(epoch)
        with progress.bar(source.steps, unit="steps", initial=first_step) as bar:
            batches = source.epoch(epoch, first_step=first_step)
            for step, batch in enumerate(batches, first_step):
                is_due = self._learn(model, batch, sums, found, (epoch, step))
                self.saved = replace(
                    self.saved,
                    step=step + 1,
                    steps_trained=self.saved.steps_trained + 1,
                )
                if is_due and step + 1 < source.steps:
                    self._save(sums=self._group.total(sums.values()))
                bar.update()
                self._tell_pace(epoch, step + 1)
        return _Seen(
            sums=self._group.total(sums.values()),
            extremes=self._merged_extremes(found),
        )

    def _wrapped(self, *, only_head: bool) -> nn.Module:
        """Returns the network with shared gradients; made anew when others learn."""
        if self._model is None or self._model[0] != only_head:
            self._model = only_head, self._group.wrap(self._network)
        return self._model[1]

    def _prepare(self, *, only_head: bool) -> None:
        """Lets the last layer learn alone, or everything."""
        self._network.train(not only_head)
        if self._setup.params.freeze_batch_norm:
            networks.freeze_batch_norm(self._network)
        prefixes = tuple(f"{name}." for name in self._head)
        for name, parameter in self._network.named_parameters():
            parameter.requires_grad_(not only_head or name.startswith(prefixes))

    def _learn(
        self,
        model: nn.Module,
        batch: Batch,
        sums: EpochSums,
        found: Extremes,
        place: tuple[int, int],
    ) -> bool:
        """Learns from a batch; returns whether it is time to note where the run is."""
        self._note_failed("train", batch)
        told = torch.tensor([len(batch.labels), self._is_due(place[1])])
        total, is_due = self._group.total(told).tolist()
        if total:
            params = self._setup.params
            torch.manual_seed(step_seed(params.seed, *place, self._group.rank))
            optimisers.set_rate(self._optimizer, self._schedule.at(*place))
            logits, labels, losses = self._compute(model, batch, learns=True)
            # Gradients are averaged over processes, whose batches may differ in size.
            loss = losses.sum() * (self._group.world / total)
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimizer)
            self._scaler.update()
            self._optimizer.zero_grad(set_to_none=True)
            if self._average is not None:
                self._average.add(self.saved.steps_trained + 1)
            sums.add(logits, labels, losses)
            if params.log_extreme_examples:
                found.add(_probabilities(logits), batch.labels.numpy(), batch.places)
        self._pace.stepped()
        return bool(is_due)

    def _is_due(self, step: int) -> bool:
        if not self._group.is_first:
            return False
        if self._setup.save_steps is not None:
            return (step + 1) % self._setup.save_steps == 0
        return time.monotonic() - self._saved_at >= self._setup.save_s

    def _compute(
        self, model: nn.Module, batch: Batch, *, learns: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns logits, labels and losses, where the network computes."""
        count = len(batch.labels)
        images = batch.images
        if learns and count < _FEWEST:
            images = _filled_up(images)
        logits = self._logits(model, images)[:count].float()
        labels = batch.labels.to(logits.device, non_blocking=True)
        return (
            logits,
            labels,
            functional.cross_entropy(
                logits,
                labels,
                reduction="none",
                label_smoothing=self._setup.params.label_smoothing if learns else 0.0,
            ),
        )

    def _logits(self, model: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Returns logits of uint8 images, or of features."""
        device, precision = self._group.device, self._setup.params.precision
        values = images.to(device, non_blocking=True)
        with torch.autocast(
            device.partition(":")[0],
            dtype=torch.float16 if precision == "float16" else torch.bfloat16,
            enabled=precision != "float32",
        ):
            if images.dtype == torch.uint8:
                values = training_data.normalise(values, self._setup.normalisation)
                logits: torch.Tensor = model(values)
            else:
                logits = model.get_submodule(self._head[0])(values)
        return logits

    def _look(
        self, split: str, epoch: int, measured: dict[str, Measured]
    ) -> torch.Tensor:
        """Measures a split, tells the board, and returns the sums."""
        seen = self.measure(split, only_head=epoch < self._setup.params.finetune)
        measured[split] = self._report(split, epoch, seen)
        return seen.sums

    def measure(self, split: str, *, only_head: bool = False) -> _Seen:
        """Looks at all examples of a split, as they are."""
        setup = self._setup
        network = self._shown.eval()
        self._group.share_buffers(network)
        sums = EpochSums(len(setup.labels), self._group.device)
        found = Extremes(len(setup.labels), setup.params.log_extreme_examples)
        every = 1 + len(setup.splits[split]) * len(setup.labels) // _CURVE_CELLS
        curve: list[NDArray[np.float32]] = []
        true: list[NDArray[np.int64]] = []
        with torch.inference_mode():
            for batch in self._source(split, only_head=only_head).epoch(0):
                self._note_failed(split, batch)
                if not len(batch.labels):
                    continue
                logits, labels, losses = self._compute(network, batch, learns=False)
                weights = batch.weights.to(logits.device)
                sums.add(
                    logits,
                    labels,
                    losses,
                    weights if setup.params.label_weighted else None,
                )
                if self._board is None and not setup.params.log_extreme_examples:
                    continue
                probabilities = _probabilities(logits)
                found.add(probabilities, batch.labels.numpy(), batch.places)
                is_kept = batch.places % every == 0
                curve.append(probabilities[is_kept])
                true.append(batch.labels.numpy()[is_kept])
        return _Seen(
            sums=self._group.total(sums.values()),
            extremes=self._merged_extremes(found),
            curve=(np.concatenate(curve), np.concatenate(true)) if curve else None,
        )

    def _merged_extremes(self, found: Extremes) -> Extremes:
        first, *others = self._group.gathered(found)
        for other in others:
            first.merge(other)
        return first

    def _source(self, split: str, *, only_head: bool) -> Source:
        loader = self._loaders[split]
        if not (only_head and self._setup.params.cache_features):
            return loader
        if split not in self._features:
            self._say("%s: computing the features of %d crops", split, len(loader.rows))
            if loader.augmentation != "none":
                self._say("crops are not varied while their features are kept")
            self._network.eval()
            self._pace.lap()
            self._features[split] = features.compute(
                loader,
                features.head_of(self._network, self._head),
                lambda images: self._logits(self._network, images),
                self._setup.folder,
                lambda done: self._tell_computing(split, done),
            )
            self._pace.computed(loader.steps)
        return self._features[split]

    def _report(self, split: str, epoch: int, seen: _Seen) -> Measured:
        """Writes what was seen to the board, and returns it."""
        labels = self._setup.labels
        found = epoch_sums.measured(seen.sums)
        if self._board is None or not found.examples:
            return found
        self._board.epoch(
            split,
            epoch,
            loss=found.loss,
            top1=found.top1,
            top3=found.top3,
            recall_by_label=found.recall_by_label(labels),
        )
        self._board.confusion(split, epoch, found.confusion, labels)
        if seen.curve is not None:
            self._board.pr_curves(split, epoch, *seen.curve, labels)
        if self._setup.params.log_extreme_examples:
            extremes.show(
                self._board,
                seen.extremes,
                split=split,
                step=epoch,
                labels=labels,
                paths=self._setup.splits[split].paths,
                read=lambda row: self._pixels(split, row),
            )
        return found

    def _pixels(self, split: str, row: int) -> NDArray[np.uint8] | None:
        try:
            data = self._setup.store.read(self._setup.splits[split].paths[row])
            image = open_image(data).image
        except ItemError:
            return None
        return preprocessing.square(image, self._setup.image_size)

    def _note_failed(self, split: str, batch: Batch) -> None:
        paths = self._setup.splits[split].paths
        for row, reason in batch.failed.items():
            self._failed[paths[row]] = reason

    def _save(self, *, sums: torch.Tensor | None) -> None:
        self.saved = replace(
            self.saved,
            model=self._network.state_dict(),
            optimizer=self._optimizer.state_dict(),
            scaler=self._scaler.state_dict(),
            average={} if self._average is None else self._shown.state_dict(),
            sums=sums,
            failed=self._failed,
        )
        self._write()
        self._saved_at = time.monotonic()

    def _write(self) -> None:
        if self._group.is_first:
            resuming.write(self._setup.folder, self.saved)

    def _tell_pace(self, epoch: int, step: int) -> None:
        if self._group.is_first and self._pace.is_time_to_tell():
            _logger.info(
                "epoch %d, step %d of %d; at most %s left",
                epoch,
                step,
                self._pace.steps,
                pace.readable(self._pace.left_s(epoch, step)),
            )

    def _tell_computing(self, split: str, done: int) -> None:
        if not self._pace.is_time_to_tell():
            return
        left = sum(
            loader.steps
            for name, loader in self._loaders.items()
            if name not in self._features
        )
        self._say(
            "%s: features, step %d of %d; about %s left",
            split,
            done,
            self._loaders[split].steps,
            pace.readable(self._pace.computing_left_s(done, left - done)),
        )


def step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """Returns the seed of what is random in a step beside its examples."""
    state = np.random.SeedSequence([seed, epoch, step, rank]).generate_state(
        1, np.uint64
    )
    return int(state[0] >> np.uint64(1))


def _filled_up(images: torch.Tensor) -> torch.Tensor:
    """Returns at least two images; the further ones count for nothing."""
    if not len(images):
        return images.new_zeros((_FEWEST, *images.shape[1:]))
    return torch.cat([images] * _FEWEST)


def _probabilities(logits: torch.Tensor) -> NDArray[np.float32]:
    return logits.softmax(dim=1).numpy(force=True)


def _merged(dictionaries: list[dict[str, str]]) -> dict[str, str]:
    return {key: value for one in dictionaries for key, value in one.items()}
