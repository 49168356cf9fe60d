"""Processor time of an epoch of training, against the original's loop.

The baseline is the original's loop, written plainly from its description: its loader (see
``benchmarks.training_loader``), the network as its library makes it, one step after the
other, the loss fetched in each. Ours is ``Training`` as the command runs it, with the same
augmentation, checkpoints and all, and a cache of crops that an epoch before has filled.
Both train in float32, in one thread; each in a process of its own, since the allocator's
setting is one of a process. They take turns and medians of the processor time are shown,
so that what else the machine does hardly matters.

Then what ``--cache-features`` saves where only the last layer learns: an epoch after the
first against one without it.

Example:
  python -m benchmarks.training --crops 48 --rounds 3
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.run_classifier import draw_crops
from benchmarks.training_loader import Crops, make_loader
from classification.artifacts.run_params import RunParams
from classification.modeling import allocator, catalog, networks, optimisers
from classification.modeling.distributed import Group
from classification.modeling.resuming import Saved
from classification.modeling.training import Setup, Training
from classification.storage.local import LocalStore

NETWORKS = ("efficientnet-lite0", "resnet18", "efficientnet-b0")
LABELS = 20
BATCH = 16
WAYS = ("original", "ours", "last layer", "last layer, cached")


def original_network(name: str) -> nn.Module:
    """Returns the network as its library makes it."""
    if not name.startswith("efficientnet-b"):
        return networks.build(name, LABELS)
    from efficientnet_pytorch import EfficientNet  # noqa: PLC0415 - this one alone

    made: nn.Module = EfficientNet.from_name(name, num_classes=LABELS)
    return made


def time_original(name: str, folder: Path, names: list[str], epochs: int) -> float:
    """Returns the processor time of epochs as the original runs them."""
    crops = Crops(folder, names, catalog.find(name).image_size)
    network = original_network(name).train()
    optimizer = optimisers.build(
        optimisers.choose(name), network.parameters(), lr=1e-3, weight_decay=1e-5
    )
    start = time.process_time()
    for _ in range(epochs):
        loss = hits = 0.0
        for images in DataLoader(crops, batch_size=BATCH, shuffle=True):
            labels = torch.arange(len(images)) % LABELS
            optimizer.zero_grad()
            logits = network(images)
            losses = functional.cross_entropy(logits, labels, reduction="none")
            losses.mean().backward()
            optimizer.step()
            loss += losses.mean().item()
            hits += (logits.topk(3, dim=1).indices == labels[:, None]).sum().item()
    return time.process_time() - start


def make_setup(name: str, folder: Path, names: list[str], way: str, run: Path) -> Setup:
    """Returns a run over crops, with one of them in val and test."""
    architecture = catalog.find(name)
    rows = make_loader(folder, names, architecture.image_size).rows
    rows.labels[:] = np.arange(len(rows)) % LABELS
    one = make_loader(folder, names[:1], architecture.image_size).rows
    only_head = way.startswith("last layer")
    params = RunParams(
        dataset_dir="",
        cropped_images_dir=str(folder),
        model_name=name,
        finetune=1000 if only_head else 0,
        batch_size=BATCH,
        augmentation="none" if only_head else "original",
        cache_features=way.endswith("cached"),
    )
    return Setup(
        params=params,
        labels=tuple(map(str, range(LABELS))),
        splits={"train": rows, "val": one, "test": one},
        store=LocalStore(folder),
        folder=run,
        optimizer=optimisers.choose(name),
        lr=1e-3,
        image_size=architecture.image_size,
        normalisation=architecture.normalisation,
        padding="tf",
        threads=0,
        cache_dir=run / "cache",
    )


def time_ours(setup: Setup, epochs: int) -> float:
    """Returns the processor time of a run of ours."""
    params = msgspec.structs.replace(setup.params, epochs=epochs)
    network = networks.build(params.model_name, LABELS)
    training = Training(replace(setup, params=params), Group(), network, None, Saved())
    start = time.process_time()
    training.run()
    return time.process_time() - start


def time_way(way: str, name: str, folder: Path, names: list[str]) -> float:
    """Returns the processor time of one epoch that is not the first."""
    torch.set_num_threads(1)
    if way == "original":
        once, more = (time_original(name, folder, names, epochs) for epochs in (1, 3))
        return (more - once) / 2
    allocator.keep_freed_memory()
    with tempfile.TemporaryDirectory() as run:
        setup = make_setup(name, folder, names, way, Path(run))
        time_ours(setup, 1)  # fills the cache of crops
        further = 8 if way.endswith("cached") else 2  # fewer than end a run early
        once, more = (time_ours(setup, epochs) for epochs in (1, 1 + further))
        return (more - once) / further


def in_own_process(way: str, name: str, folder: Path, crops: int) -> float:
    """Returns the same, measured in a process of its own."""
    words = ["--way", way, "--network", name, "--crops-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", *words, "--crops", str(crops)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout)


def measure(folder: Path, crops: int, rounds: int) -> None:
    """Prints the time of each way for each network."""
    print("| network | way | ms a crop | times faster |\n|---|---|---|---|")
    for name in NETWORKS:
        table = [
            [in_own_process(way, name, folder, crops) for way in WAYS]
            for _ in range(rounds)
        ]
        medians = [statistics.median(column) for column in zip(*table, strict=True)]
        original, ours, head, cached = (1000 * median / crops for median in medians)
        print(f"| {name} | the original's loop | {original:.1f} | |")
        print(f"| {name} | ours | {ours:.1f} | {original / ours:.2f} |")
        print(f"| {name} | last layer alone | {head:.1f} | |")
        print(
            f"| {name} | last layer alone, cached | {cached:.3f} | {head / cached:.0f} |",
            flush=True,
        )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=48, help="crops of an epoch")
    parser.add_argument("--crops-dir", type=Path, help="take these (default: drawn)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    parser.add_argument("--way", choices=WAYS, help="measure this alone")
    parser.add_argument("--network", choices=NETWORKS, help="with --way")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = args.crops_dir or Path(name, "crops")
        if args.crops_dir is None:
            draw_crops(folder, args.crops)
        paths = sorted(path for path in folder.rglob("*") if path.suffix == ".jpg")
        names = [str(path.relative_to(folder)) for path in paths[: args.crops]]
        if args.way:
            print(time_way(args.way, args.network, folder, names))
        else:
            measure(folder, len(names), args.rounds)


if __name__ == "__main__":
    main()
