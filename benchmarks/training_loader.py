"""Images a second and core of the training loader, against the original's loader.

Crops are JPEG of 400 to 800 pixels a side, or those of ``--crops-dir``. The baseline is
the original's loader, written plainly from its description: Pillow and torchvision's
transforms one after the other in a DataLoader that makes a normalised float tensor of
each crop. Ours is ``TrainLoader`` in one thread, with and without a cache of crops made
small, and with the normalisation that a GPU would do done on the processor or left out.

What is counted is processor time of the whole process, so that what else the machine does
hardly matters; the ways take turns and medians are shown. Then the wall time of more and
more threads, which says how far one process gets; that table needs an idle machine.

Example:
  python -m benchmarks.training_loader --crops 300 --rounds 5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.run_classifier import draw_crops
from classification.dataset.training_set import SplitRows
from classification.modeling import allocator, catalog
from classification.modeling.training_data import TrainLoader, normalise, open_cache
from classification.runtime import parallel
from classification.runtime.name_list import CodedList, NameList
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 32
WAYS = (
    "the original's loader",
    "original, no cache",
    "original, cache, first epoch",
    "original, cache",
    "original, cache, device normalises",
    "standard, no cache",
    "standard, cache",
    "standard, cache, device normalises",
)
BASELINE = WAYS[0]


class Crops(Dataset[torch.Tensor]):
    """The original's training examples."""

    def __init__(self, folder: Path, names: list[str], side: int) -> None:
        """Takes the crops' folder, their names, and the square's side in pixels."""
        self.folder, self.names = folder, names
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(side),
                transforms.RandomRotation((-90, 90)),
                transforms.RandomHorizontalFlip(0.5),
                transforms.RandomVerticalFlip(0.1),
                transforms.RandomGrayscale(0.1),
                transforms.ColorJitter(0.25, 0.25, 0.25),
                transforms.ToTensor(),
                transforms.Normalize(catalog.IMAGENET.mean, catalog.IMAGENET.std),
            ]
        )

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self.names)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Returns one, varied."""
        image = Image.open(self.folder / self.names[index]).convert("RGB")
        made: torch.Tensor = self.transform(image)
        return made


def make_loader(folder: Path, names: list[str], side: int) -> TrainLoader:
    """Returns ours over the same crops."""
    count = len(names)
    rows = SplitRows(
        paths=NameList(names),
        labels=np.zeros(count, np.int64),
        weights=np.ones(count),
        locations=CodedList(["d/1"] * count),
        datasets=CodedList(["d"] * count),
        confidences=np.ones(count),
        numbers=np.arange(count),
    )
    return TrainLoader(
        store=LocalStore(folder),
        rows=rows,
        image_size=side,
        batch_size=BATCH,
        augmentation="original",
        seed=0,
    )


def drain_original(crops: Crops) -> None:
    """Runs an epoch of the baseline."""
    for _ in DataLoader(crops, batch_size=BATCH, shuffle=True):
        pass


def drain(loader: TrainLoader, epoch: int, *, normalised: bool = True) -> None:
    """Runs an epoch of ours."""
    for batch in loader.epoch(epoch):
        if normalised:
            normalise(batch.images, catalog.IMAGENET)


def cpu_seconds(run: Callable[[], None]) -> float:
    """Returns the processor time that something takes."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measure_round(crops: Crops, loader: TrainLoader) -> list[float]:
    """Returns the seconds of each way, in the order of ``WAYS``."""
    seconds = [cpu_seconds(lambda: drain_original(crops))]
    for name in ("original", "standard"):
        varied = replace(loader, augmentation=name)
        seconds.append(cpu_seconds(lambda: drain(varied, 0)))  # noqa: B023 - called at once
        with (
            tempfile.TemporaryDirectory() as folder,
            open_cache(Path(folder), varied) as cache,
        ):
            cached = replace(varied, cache=cache)
            first = cpu_seconds(lambda: drain(cached, 0))  # noqa: B023
            if name == "original":
                seconds.append(first)
            seconds.append(cpu_seconds(lambda: drain(cached, 1)))  # noqa: B023
            seconds.append(cpu_seconds(lambda: drain(cached, 2, normalised=False)))  # noqa: B023
    return seconds


def measure_speed(crops: Crops, loader: TrainLoader, rounds: int) -> None:
    """Prints images per second and core."""
    table = [measure_round(crops, loader) for _ in range(rounds)]
    medians = [statistics.median(column) for column in zip(*table, strict=True)]
    print("| loader | images/s and core | times the original |\n|---|---|---|")
    for way, seconds in zip(WAYS, medians, strict=True):
        print(f"| {way} | {len(crops) / seconds:.0f} | {medians[0] / seconds:.2f} |")


def measure_threads(loader: TrainLoader) -> None:
    """Prints images per second of wall time by number of threads."""
    print("\n| threads | images/s, cached, device normalises |\n|---|---|")
    with (
        tempfile.TemporaryDirectory() as folder,
        open_cache(Path(folder), loader) as cache,
    ):
        drain(replace(loader, cache=cache), 0)
        threads = 1
        while threads <= parallel.cores():
            cached = replace(loader, cache=cache, threads=threads)
            start = time.perf_counter()
            for epoch in range(1, 4):
                drain(cached, epoch, normalised=False)
            speed = 3 * len(loader.rows) / (time.perf_counter() - start)
            print(f"| {threads} | {speed:.0f} |")
            threads *= 2


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=300, help="crops of an epoch")
    parser.add_argument("--crops-dir", type=Path, help="take these (default: drawn)")
    parser.add_argument("--image-size", type=int, default=300, help="side, px")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    allocator.keep_freed_memory()  # as training does; it helps the baseline, too
    with tempfile.TemporaryDirectory() as name:
        folder = args.crops_dir or Path(name, "crops")
        if args.crops_dir is None:
            draw_crops(folder, args.crops)
        paths = sorted(path for path in folder.rglob("*") if path.suffix == ".jpg")
        names = [str(path.relative_to(folder)) for path in paths[: args.crops]]
        loader = make_loader(folder, names, args.image_size)
        crops = Crops(folder, names, args.image_size)
        print(f"{len(names)} crops, {args.image_size} px, {parallel.cores()} cores\n")
        measure_speed(crops, loader, args.rounds)
        measure_threads(loader)


if __name__ == "__main__":
    main()
