"""Making a training set's table of crops, and splitting it: seconds and peak memory.

Generates the images of a large project as json_validator writes them (four datasets,
2,000 locations, 100 labels of which a few are common, people drew the boxes of every
tenth), a detection cache that has more than is wanted (boxes that are not sure enough,
people, images that failed), and an empty file for each crop, save one in fifty that is
missing. Then the command runs in a process of its own, whose peak memory is taken when it
ends; a line for each way to run it, the medians of its rounds.

  csv          the table of crops
  METHOD       the splits by each method
  megadb       the splits by the default method, with a metadata store to find sequences
  csv, picky   the table with --min-locs and a test set that is taken over

Example:
  python benchmarks/dataset_csv.py --images 1000000 --folder /data/bench
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from classification.artifacts import (
    dataset_csv,
    dataset_list,
    detection_cache,
    image_table,
    queried_images,
    splits,
)
from classification.artifacts.dataset_list import DatasetEntry
from classification.artifacts.detections import Header
from classification.artifacts.layout import CropName
from classification.artifacts.queried_images import QueriedBox, QueriedImage
from classification.create_classification_dataset import METHODS
from detection.boxes import Box

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LOCATIONS = 2_000
LABELS = 100
DATASETS = 4
BURST = 3
VERSION = "4.1"
HEADER = Header(
    detection_categories={"1": "animal", "2": "person"},
    info={"detector": "md_v4.1.0.pb", "format_version": "1.3"},
)
# VmHWM is the peak of the process's own memory; ru_maxrss would begin with its parent's.
MEASURE = r"""
import re, sys, time
from pathlib import Path
from classification import create_classification_dataset
assert create_classification_dataset.main(sys.argv[1:]) == 0
print(time.process_time())
print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
"""
DRAWN = (QueriedBox("animal", Box(0.1, 0.1, 0.5, 0.5)),)


class Image(NamedTuple):
    """A generated image.

    Attributes:
        dataset: its dataset.
        file: path below the dataset's folder.
        location: number of its location.
        label: number of its label.
        burst: number of its sequence.
        crops: number of sure animals, 1 to 3.
        drawn: whether people drew its box.
    """

    dataset: str
    file: str
    location: int
    label: int
    burst: int
    crops: int
    drawn: bool


class Cost(NamedTuple):
    """What a process took.

    Attributes:
        seconds: of the clock.
        busy: seconds of the processor, of all threads.
        peak_mb: most memory that was resident at a time, in MiB.
    """

    seconds: float
    busy: float
    peak_mb: float


def draw_images(count: int, *, seed: int = 0) -> Iterator[Image]:
    """Yields images, about one and a half crops each, in the order of their names."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, LABELS + 1)
    bursts = -(-count // BURST)
    label = rng.choice(LABELS, bursts, p=share / share.sum()).tolist()
    crops = rng.choice((1, 2, 3), count, p=(0.6, 0.3, 0.1)).tolist()
    drawn = (rng.random(count) < 0.1).tolist()
    for number in range(count):
        burst = number // BURST
        location = burst * LOCATIONS // bursts
        yield Image(
            f"dataset_{location * DATASETS // LOCATIONS}",
            f"site_{location:04d}/IMG_{number:08d}.JPG",
            location,
            label[burst],
            burst,
            1 if drawn[number] else crops[number],
            drawn[number],
        )


def to_queried(image: Image) -> tuple[str, QueriedImage]:
    """Returns what queried_images.json says of an image, by its name."""
    return f"{image.dataset}/{image.file}", QueriedImage(
        dataset=image.dataset,
        dataset_label=f"class {image.label}",
        labels=(f"label {image.label:03d}",),
        location=f"site {image.location:04d}",
        boxes=DRAWN if image.drawn else None,
    )


def to_cached(image: Image, number: int) -> bytes:
    """Returns what the cache says of an image: also boxes that nobody wants."""
    document: dict[str, Any] = {"file": image.file, "detections": None}
    if number % 1000 == 0:
        document["failure"] = "image access failure"
    else:
        unsure = {"category": "1", "conf": 0.1, "bbox": [0.1, 0.2, 0.3, 0.4]}
        person = {"category": "2", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]}
        sure = [
            {"category": "1", "conf": 0.8 + number % 190 / 1000, "bbox": [0, 0, 1, 1]}
        ]
        document["detections"] = [unsure, *sure * image.crops, person]
    return json.dumps(document).encode()


def write_caches(folder: Path, count: int) -> None:
    """Writes the detection cache."""
    for number in range(DATASETS):
        dataset = f"dataset_{number}"
        detection_cache.write(
            folder,
            VERSION,
            dataset,
            HEADER,
            (
                to_cached(image, i)
                for i, image in enumerate(draw_images(count))
                if image.dataset == dataset
            ),
        )


def write_crops(folder: Path, images: Iterable[Image]) -> None:
    """Makes the file of each crop but every fiftieth, empty."""
    made, parent = 0, ""
    for image in images:
        name = f"{image.dataset}/{image.file}"
        if (here := name.rpartition("/")[0]) != parent:
            parent = here
            (folder / parent).mkdir(parents=True)
        for index in range(image.crops):
            made += 1
            # The cache's first box is one that nobody wants.
            found = CropName(name, index + 1, f"mdv{VERSION}")
            crop = CropName(name, index) if image.drawn else found
            if made % 50:
                os.close(os.open(folder / str(crop), os.O_CREAT | os.O_WRONLY))


def write_store(folder: Path, count: int) -> None:
    """Writes the metadata store of the images."""
    entry_by_dataset = {}
    for number in range(DATASETS):
        dataset = f"dataset_{number}"
        rows = (
            {
                "dataset": dataset,
                "file": image.file,
                "location": f"site {image.location:04d}",
                # Of every hundred locations, two share a burst.
                "sequence": f"burst-{_sequence(image, count):08d}-of-the-project",
                "labels": [f"class {image.label}"],
            }
            for image in draw_images(count)
            if image.dataset == dataset
        )
        written = image_table.write(
            image_table.path_of(folder, dataset), _batches(rows)
        )
        entry_by_dataset[dataset] = msgspec.convert({"images": written}, DatasetEntry)
    dataset_list.write(folder, entry_by_dataset)


def _sequence(image: Image, count: int) -> int:
    first = -(-image.location * -(-count // BURST) // LOCATIONS)
    shares = image.location % 100 == 1 and image.burst == first
    return image.burst - 1 if shares else image.burst


def _batches(rows: Iterable[Mapping[str, object]]) -> Iterator[pa.RecordBatch]:
    waiting: list[Mapping[str, object]] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == 50_000:
            yield from _to_batches(waiting)
            waiting = []
    yield from _to_batches(waiting)


def _to_batches(rows: list[Mapping[str, object]]) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = pa.Table.from_pylist(
        rows, schema=image_table.schema()
    ).to_batches()
    return batches


def measure(words: Sequence[str], log: Path) -> Cost:
    """Runs the command to its end; returns what it took.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-c", MEASURE, *words, "--logdir", str(log)]
    begin = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    *_, busy, peak_kib = done.stdout.split()
    return Cost(time.perf_counter() - begin, float(busy), int(peak_kib) / 1024)


def ways(base: Path) -> dict[str, list[str]]:
    """Returns the words of the command line of each way to run it, in order."""
    crops = ["-c", str(base / "crops"), "-d", str(base / "mdcache")]
    table = [str(base / "run"), "--mode", "csv", *crops]
    old = [str(base / "old.csv"), str(base / "old.json")]
    picky = [str(base / "picky"), *table[1:], "--min-locs", "3", "--match-test", *old]
    picky += ["-q", str(base / "run" / queried_images.FILENAME)]
    fractions = ["--val-frac", "0.2", "--test-frac", "0.2"]
    split = [str(base / "run"), "--mode", "splits", *fractions]
    return {
        "csv": table,
        **{method: [*split, "--method", method] for method in METHODS},
        "megadb": [*split, "--megadb", str(base / "megadb")],
        "csv, picky": picky,
    }


def prepare(base: Path, count: int) -> None:
    """Writes all that the command reads."""
    (base / "run").mkdir()
    write_crops(base / "crops", draw_images(count))
    queried_images.write(
        base / "run" / queried_images.FILENAME, map(to_queried, draw_images(count))
    )
    write_caches(base / "mdcache", count)
    write_store(base / "megadb", count)


def keep_as_old(base: Path) -> None:
    """Keeps the training set that was made as the one to take a test set from."""
    shutil.copy(base / "run" / dataset_csv.FILENAME, base / "old.csv")
    shutil.copy(base / "run" / splits.FILENAME, base / "old.json")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="for the files (default: temporary)"
    )
    parser.add_argument("--ways", nargs="+", help="which lines (default: all)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        base = Path(folder)
        prepare(base, args.images)
        made = sum(image.crops for image in draw_images(args.images))
        print(f"{args.images} images, {made} crops")
        for way, words in ways(base).items():
            if args.ways and way not in args.ways:
                continue
            costs = [measure(words, base) for _ in range(args.rounds)]
            if way == METHODS[0]:
                keep_as_old(base)
            seconds, busy, peak_mb = map(statistics.median, zip(*costs, strict=True))
            print(
                f"{way:16}{seconds:8.1f} s  {busy:8.1f} s of the processor  "
                f"{peak_mb:6.0f} MiB at most",
                flush=True,
            )


if __name__ == "__main__":
    main()
