"""Importing metadata and querying it: seconds and peak memory.

Generates a CSV of images as a large project has them (bursts of three at 2,000
locations, 100 labels of which a few are common, a size, a URL and a licence for each
image) and imports it with the command, in a process of its own, whose peak memory
(``ru_maxrss``) is taken when it ends. Then every image of a specification by genus is
selected, at most a tenth of all images of the most common one.

Example:
  python benchmarks/metadata.py --images 10000000 --folder /data/bench
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import csv

from classification.artifacts import (
    image_table,
    label_spec,
    queried_images,
    taxonomy_csv,
)
from classification.artifacts.label_spec import LabelSpec, Selection, TaxonEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOCATIONS = 2_000
LABELS = 100
BURST = 3
DATASET = "bench"
COLUMNS = (
    "file=path,label=genus+species,location=site,sequence=burst,frame=number,"
    "datetime=time,width=wide,height=high,url=address,rights=licence"
)
_ROWS = 200_000


@dataclass(frozen=True)
class Cost:
    """What a process took.

    Attributes:
        seconds: of the clock.
        peak_mb: most memory that was resident at a time, in MiB.
    """

    seconds: float
    peak_mb: float


def rows(images: int, *, seed: int = 0) -> Iterator[pa.Table]:
    """Yields the table of a project, some images at a time."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, LABELS + 1)
    bursts = -(-images // BURST)
    labels = rng.choice(LABELS, bursts, p=share / share.sum()).astype(np.int16)
    sites = rng.integers(0, LOCATIONS, bursts).astype(np.int16)
    for first in range(0, images, _ROWS):
        number = np.arange(first, min(first + _ROWS, images))
        burst = number // BURST
        yield _table(number, burst, labels[burst], sites[burst])


def _table(
    number: np.ndarray, burst: np.ndarray, label: np.ndarray, site: np.ndarray
) -> pa.Table:
    path = [
        f"project_{s % 40:02d}/site_{s:04d}/IMG_{n:08d}.JPG"
        for n, s in zip(number.tolist(), site.tolist(), strict=True)
    ]
    seconds = 1_300_000_000 + burst * 37 + number % BURST
    return pa.table(
        {
            "path": path,
            "genus": [f"Genus {code // 4}" for code in label.tolist()],
            "species": [f"species {code % 4}" for code in label.tolist()],
            "site": [f"site {code}" for code in site.tolist()],
            "burst": [f"burst-{code:08d}-of-the-project" for code in burst.tolist()],
            "number": number % BURST,
            "time": pa.array(seconds, pa.timestamp("s")).cast(pa.string()),
            "wide": np.full(len(number), 2048),
            "high": np.full(len(number), 1536),
            "address": [f"https://images.example.org/camera-traps/{p}" for p in path],
            "licence": ["CDLA-Permissive-1.0"] * len(number),
        }
    )


def write_metadata(path: Path, images: int, *, seed: int = 0) -> None:
    """Writes a project's metadata as a CSV."""
    first, *_ = rows(1)
    with csv.CSVWriter(path, first.schema) as writer:
        for table in rows(images, seed=seed):
            writer.write_table(table)


def measure(command: Sequence[str]) -> Cost:
    """Runs a program to its end; returns what it took.

    Raises:
        RuntimeError: it failed.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(command)}: exit {code}")
    process.returncode = 0
    return Cost(time.perf_counter() - begin, usage.ru_maxrss / 1024)


def measure_import(source: Path, megadb: Path) -> Cost:
    """Imports a project's metadata into a store."""
    return measure(
        [
            *(sys.executable, "-m", "classification.import_metadata", str(source)),
            *("--megadb", str(megadb), "--dataset", DATASET, "--columns", COLUMNS),
            *("--logdir", str(megadb.parent)),
        ]
    )


def write_request(folder: Path, images: int) -> tuple[Path, Path]:
    """Writes a specification by genus and the taxonomy of the metadata's labels."""
    taxonomy, specification = folder / "taxonomy.csv", folder / "label_spec.json"
    lines = [",".join(taxonomy_csv.COLUMNS)]
    for code in range(LABELS):
        genus, species = f"genus {code // 4}", f"species {code % 4}"
        name = f"{genus} {species}"
        chain = [(code, "species", name, []), (1000 + code // 4, "genus", genus, [])]
        lines.append(f'{DATASET},{name},species,{name},"{chain}"')
    taxonomy.write_text("\n".join(lines) + "\n")
    spec_by_label = {
        f"genus {number}": LabelSpec(
            include=Selection(
                taxa=(TaxonEntry(level="genus", name=f"genus {number}"),)
            ),
            max_count=None if number else images // 10,
        )
        for number in range(LABELS // 4)
    }
    label_spec.write(specification, spec_by_label)
    return specification, taxonomy


def measure_query(specification: Path, taxonomy: Path, megadb: Path) -> Cost:
    """Selects the images of a store."""
    return measure(
        [
            *(sys.executable, "-m", "classification.json_validator"),
            *(str(specification), str(taxonomy), "--megadb", str(megadb)),
            *("--output-dir", str(megadb.parent / "run"), "--min-locs", "3"),
        ]
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument(
        "--folder", type=Path, help="for the files (default: temporary)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source, megadb = Path(folder) / "images.csv", Path(folder) / "megadb"
        write_metadata(source, args.images)
        cost = measure_import(source, megadb)
        table = image_table.path_of(megadb, DATASET)
        print(f"{args.images} images; CSV {source.stat().st_size / 1e6:.0f} MB")
        print(
            f"import {cost.seconds:8.1f} s  {cost.peak_mb:6.0f} MiB at most; "
            f"table {table.stat().st_size / 1e6:.0f} MB"
        )
        request = write_request(Path(folder), args.images)
        cost = measure_query(*request, megadb)
        queried = Path(folder) / "run" / queried_images.FILENAME
        print(
            f"query  {cost.seconds:8.1f} s  {cost.peak_mb:6.0f} MiB at most; "
            f"{queried.name} {queried.stat().st_size / 1e6:.0f} MB"
        )


if __name__ == "__main__":
    main()
