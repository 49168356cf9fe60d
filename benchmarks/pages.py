"""How large the pages are at 169 labels and 2,000 pictures, and how fast they open.

Makes a training set with planted near-duplicates, night frames, sequences and times,
writes its page by the command itself, and opens it in the installed Chromium from the
disk, with the network off. A page should be under 25 MB and open in under 3 seconds.

Example:
  python benchmarks/pages.py --crops 6000
"""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from classification import report_dataset
from classification.artifacts import dataset_csv, splits
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location, Splits
from classification.runtime import parallel
from tests.browser import BROWSER
from tests.world import photograph, save_jpeg, write_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LABELS = 169
LOCATIONS = 400
DATASETS = 6
PICTURES = 2000
MOST_BYTES = 25_000_000
MOST_SECONDS = 3.0
SIDE_PX = 224
NIGHT_HOURS = 6
REPEATED = 40  # every so many crops is a copy of the one before it


def write_training_set(folder: Path, crops: int, labels: int) -> None:
    """Writes crops, training set and metadata store."""
    rows = list(rows_of(crops, labels))
    dataset_csv.write(folder / "run" / dataset_csv.FILENAME, rows)
    places = sorted({Location(row.dataset, row.location) for row in rows})
    splits.write(
        folder / "run" / splits.FILENAME,
        Splits(
            train=tuple(places[::5] + places[1::5] + places[2::5]),
            val=tuple(places[3::5]),
            test=tuple(places[4::5]),
        ),
    )
    images: dict[str, list[dict[str, object]]] = {}
    for number, row in enumerate(rows):
        file = row.path.partition("/")[2].partition("___")[0]
        images.setdefault(row.dataset, []).append(
            {"file": file, "sequence": f"s{number // 4}", "datetime": moment(number)}
        )
    write_store(folder / "megadb", images)

    def save(number: int) -> None:
        seed = number - 1 if number % REPEATED == 1 else number
        picture = photograph(SIDE_PX, SIDE_PX, seed=seed)
        if moment(seed).hour < NIGHT_HOURS:
            picture = picture.convert("L").convert("RGB")
        save_jpeg(folder / "crops" / rows[number].path, picture)

    for _ in parallel.ordered_map(save, range(crops), threads=parallel.cores()):
        pass


def rows_of(crops: int, labels: int) -> Iterator[CropRow]:
    """Yields rows: common and rare labels, each at many locations."""
    rng = np.random.default_rng(0)
    common = 1 / np.arange(1, labels + 1)
    drawn = rng.choice(labels, crops, p=common / common.sum())
    drawn[:labels] = np.arange(labels)
    where = rng.integers(0, LOCATIONS, crops)
    confidence = np.round(rng.beta(8, 2, crops), 3)
    for number in range(crops):
        dataset = f"dataset {where[number] % DATASETS}"
        yield CropRow(
            path=f"{dataset}/{number:07d}.jpg___crop00_mdv5a.jpg",
            dataset=dataset,
            location=f"camera {where[number]}",
            dataset_class=f"class {drawn[number]}",
            confidence=float(confidence[number]),
            label=f"genus {drawn[number] // 4} species {drawn[number]}",
        )


def moment(number: int) -> dt.datetime:
    """Returns when an image was taken."""
    start = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - the camera's clock
    return start + dt.timedelta(minutes=37 * number)


def dataset_page(folder: Path, args: argparse.Namespace) -> Path:
    """Makes the page of a training set."""
    write_training_set(folder, args.crops, args.labels)
    start = time.perf_counter()
    words = ["--megadb", str(folder / "megadb"), "--thumbnails", str(PICTURES)]
    code = report_dataset.main(
        [str(folder / "run"), str(folder / "crops"), "--crops-per-label", "12", *words]
    )
    assert code == 0
    print(f"report_dataset took {time.perf_counter() - start:.1f} s")
    return folder / "run" / report_dataset.FILENAME


PAGES: Mapping[str, Callable[[Path, argparse.Namespace], Path]] = {
    "report_dataset": dataset_page
}


@dataclass(frozen=True, order=True, slots=True)
class Opened:
    """How a page opened.

    Attributes:
        seconds: until it was drawn, by the clock.
        busy: seconds that the page's own thread computed; unlike the clock, these do
            not grow where others use the machine.
        pictures: on the page.
    """

    seconds: float
    busy: float
    pictures: int


def open_page(path: Path) -> Opened:
    """Opens a page in a new browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox"]
        )
        page = browser.new_context(offline=True).new_page()
        tools = page.context.new_cdp_session(page)
        tools.send("Performance.enable", {"timeDomain": "threadTicks"})
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="load", timeout=120_000)
        page.evaluate("new Promise(done => requestAnimationFrame(() => done()))")
        seconds = time.perf_counter() - start
        told = tools.send("Performance.getMetrics")["metrics"]
        [busy] = [one["value"] for one in told if one["name"] == "TaskDuration"]
        opened = Opened(seconds, busy, page.locator("img").count())
        browser.close()
    return opened


def main() -> None:
    """Makes and opens each page, and says whether it keeps to its budget."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=list(PAGES))
    parser.add_argument("--crops", type=int, default=6000)
    parser.add_argument("--labels", type=int, default=LABELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder to leave everything in")
    args = parser.parse_args()
    Image.init()
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        for name in args.pages:
            path = PAGES[name](args.keep or Path(folder), args)
            opened = sorted(open_page(path) for _ in range(args.rounds))
            middle = opened[len(opened) // 2]
            size = path.stat().st_size
            print(
                f"{name}: {args.labels} labels, {middle.pictures} pictures, "
                f"{size / 1e6:.1f} MB (at most {MOST_BYTES / 1e6:.0f}), opens in "
                f"{middle.seconds:.2f} s (at most {MOST_SECONDS:.0f}), of which its "
                f"thread computes {middle.busy:.2f} s"
            )
            assert size < MOST_BYTES
            assert middle.seconds < MOST_SECONDS, "is the machine idle?"


if __name__ == "__main__":
    main()
