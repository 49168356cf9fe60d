"""A training set with everything that its page tells of, and its figures."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from classification.artifacts import dataset_csv, splits
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location, Splits
from classification.reports import dataset_figures
from classification.reports.dataset_figures import Options, Source
from classification.storage.local import LocalStore
from tests.world import photograph, save_jpeg, write_store

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from classification.reports.dataset_figures import Figures

# Location, label, hour, and seed of the picture; the same seed is the same picture.
CROPS = (
    ("1", "fox", 2, 1),
    ("1", "fox", 3, 2),
    ("1", "elk", 12, 3),
    ("2", "elk", 13, 4),
    ("3", "fox", 14, 5),
    ("3", "elk", 1, 1),
    ("4", "fox", 15, 6),
    ("4", "owl", 16, 7),
)
SPLIT_BY_LOCATION = {"1": "train", "2": "train", "3": "val", "4": "test"}
GONE, BROKEN = 4, 6
NIGHT = range(6)


def path_of(number: int) -> str:
    """Names a crop; every other box was drawn by a person."""
    suffix = "" if number % 2 else "_mdv4"
    return f"d/{number}.jpg___crop00{suffix}.jpg"


def rows() -> list[CropRow]:
    """Returns the rows of the training set."""
    return [
        CropRow(
            path_of(number),
            "d",
            location,
            label,
            1.0 if number % 2 else 0.5 + number / 20,
            label,
        )
        for number, (location, label, _, _) in enumerate(CROPS)
    ]


def picture(hour: int, seed: int) -> Image.Image:
    """Draws a crop; at night it is grey."""
    scene = photograph(80, 60, seed=seed)
    return scene.convert("L").convert("RGB") if hour in NIGHT else scene


def make(base: Path) -> Path:
    """Writes ``run``, ``crops`` and ``megadb``; one crop is missing, one broken."""
    dataset_csv.write(base / "run" / dataset_csv.FILENAME, rows())
    places = {
        split: tuple(
            Location("d", n) for n, s in SPLIT_BY_LOCATION.items() if s == split
        )
        for split in ("train", "val", "test")
    }
    splits.write(
        base / "run" / splits.FILENAME,
        Splits(train=places["train"], val=places["val"], test=places["test"]),
    )
    images = []
    for number, (_, _, hour, seed) in enumerate(CROPS):
        when = dt.datetime(2026, 5, 1, hour)  # noqa: DTZ001 - the camera's clock
        image = {
            "file": f"{number}.jpg",
            "datetime": when,
            "sequence": f"{number // 4}",
        }
        images.append(image)
        if number != GONE:
            save_jpeg(base / "crops" / path_of(number), picture(hour, seed))
    (base / "crops" / path_of(BROKEN)).write_bytes(b"broken")
    write_store(base / "megadb", {"d": images})
    return base


def figures(base: Path, *, megadb: bool = True, **options: int) -> Figures:
    """Returns the figures of what ``make`` wrote."""
    source = Source(
        dataset_dir=base / "run",
        store=LocalStore(base / "crops"),
        megadb=base / "megadb" if megadb else None,
        other_splits=base / "run" / splits.FILENAME,
        work_dir=base / "work",
    )
    return dataset_figures.collect(source, Options(**options))  # type: ignore[arg-type]  # bool is an int
