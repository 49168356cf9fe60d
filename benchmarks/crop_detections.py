"""Cropping against the plain way, and its memory against the number of images.

Speed: JPEG photographs of 2048 x 1536 and 4000 x 3000 pixels with one or two boxes each.
The baseline does what the original does, with as many threads: Pillow decodes the whole
image, converts it to RGB, cuts, and saves with its defaults. Both write the same pixels,
which is checked. Runs are interleaved; ratios are of medians.

Memory: peak resident set of the command for detections JSONs of more and more images,
when nothing is to be cropped, when every crop is there, and when crops are cut.

Example:
  python benchmarks/crop_detections.py --images 60 --rounds 5 --most-images 100000
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from classification import crop_detections
from classification.artifacts.layout import CropName
from classification.cropping import jpeg
from classification.runtime import parallel
from tests.world import photograph

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator

SIZES = ((2048, 1536), (4000, 3000))
DETECTOR = "bench"
QUALITY = 70
PEAK = r"""
import re, sys
from pathlib import Path
from classification import crop_detections
assert crop_detections.main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
"""

Boxes = list[list[float]]
Times = tuple[float, float]


def draw_boxes(rng: Generator) -> Boxes:
    """Draws one or two boxes of sides as animals have them, anywhere in the image."""
    boxes = []
    for _ in range(rng.integers(1, 3)):
        width, height = rng.uniform(0.08, 0.4, 2)
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        boxes.append([round(float(v), 4) for v in (left, top, width, height)])
    return boxes


def write_photographs(
    folder: Path, size: tuple[int, int], count: int
) -> dict[str, Boxes]:
    """Writes ``count`` JPEGs, four scenes in turn; returns the boxes by file name.

    Quality and colour resolution are those of camera traps: about 2 bits per pixel.
    """
    rng = np.random.default_rng(0)
    scenes = []
    for seed in range(4):
        buffer = io.BytesIO()
        scene = photograph(*size, seed=seed)
        scene.save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:2")
        scenes.append(buffer.getvalue())
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:04}.jpg").write_bytes(scenes[number % len(scenes)])
    return {f"{number:04}.jpg": draw_boxes(rng) for number in range(count)}


def write_detections(path: Path, boxes_by_name: dict[str, Boxes], conf: float) -> Path:
    """Writes a detections JSON in which every box is an animal."""
    with path.open("w") as file:
        head = {"format_version": "1.6", "detector": DETECTOR}
        file.write(f'{{"info": {json.dumps(head)},\n')
        file.write('"detection_categories": {"1": "animal"},\n"images": [')
        comma = "\n"
        for name, boxes in boxes_by_name.items():
            found = [{"category": "1", "conf": conf, "bbox": box} for box in boxes]
            file.write(comma + json.dumps({"file": name, "detections": found}))
            comma = ",\n"
        file.write("\n]}\n")
    return path


def crop_plainly(
    images: Path, crops: Path, boxes_by_name: dict[str, Boxes], threads: int
) -> None:
    """The baseline: whole decode, cut, save, an image after the other per thread."""
    with ThreadPoolExecutor(threads) as pool:
        jobs = [
            pool.submit(crop_one_plainly, images, crops, name, boxes)
            for name, boxes in sorted(boxes_by_name.items())
        ]
        for job in jobs:
            job.result()


def crop_one_plainly(images: Path, crops: Path, name: str, boxes: Boxes) -> None:
    """Cuts squares that stay inside the image out of the whole image."""
    with Image.open(images / name) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    for index, (left, top, box_width, box_height) in enumerate(boxes):
        x, y = int(left * width), int(top * height)
        w, h = int(box_width * width), int(box_height * height)
        side = max(w, h)
        x = max(0, min(x - (side - w) // 2, width - min(width, side)))
        y = max(0, min(y - (side - h) // 2, height - min(height, side)))
        path = crops / str(CropName(name, index, DETECTOR))
        path.parent.mkdir(parents=True, exist_ok=True)
        image.crop((x, y, x + side, y + side)).save(path)


def crop_with_command(
    images: Path, crops: Path, boxes_json: Path, threads: int
) -> None:
    """Runs the command itself, in this process."""
    argv = [boxes_json, crops, "--images-dir", images, "--square-crops"]
    options = ["--threads", threads, "--logdir", crops]
    if crop_detections.main([str(word) for word in (*argv, *options)]):
        raise SystemExit("crop_detections failed")


def measure_speed(
    root: Path, size: tuple[int, int], count: int, rounds: int
) -> tuple[Times, Times]:
    """Returns the medians of (baseline, command), and checks the crops."""
    images = root / "images"
    boxes_by_name = write_photographs(images, size, count)
    boxes_json = write_detections(root / "detections.json", boxes_by_name, 0.9)
    threads = parallel.cores()
    plain = partial(crop_plainly, images, boxes_by_name=boxes_by_name, threads=threads)
    ours = partial(crop_with_command, images, boxes_json=boxes_json, threads=threads)
    runs: dict[str, list[Times]] = {"plain": [], "ours": []}
    for number in range(rounds):
        for way, crop in (("plain", plain), ("ours", ours)):
            runs[way].append(timed(partial(crop, root / f"{way}{number}")))
    check_same_pixels(root / "plain0", root / "ours0")
    return medians(runs["plain"]), medians(runs["ours"])


def timed(function: Callable[[], object]) -> Times:
    """Returns the seconds that ``function`` takes: of the clock, and of all cores."""
    clock, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - clock, time.process_time() - cpu


def medians(runs: list[Times]) -> Times:
    """Returns the median of each of the two times."""
    clocks, cpus = zip(*runs, strict=True)
    return statistics.median(clocks), statistics.median(cpus)


def check_same_pixels(one: Path, other: Path) -> None:
    """Ends the benchmark unless both folders hold the same crops."""
    names = sorted(path.name for path in one.glob("*.jpg"))
    assert names == sorted(path.name for path in other.glob("*.jpg"))
    for name in names:
        with Image.open(one / name) as a, Image.open(other / name) as b:
            assert np.array_equal(np.asarray(a), np.asarray(b)), name


def measure_memory(root: Path, counts: list[int]) -> dict[str, list[str]]:
    """Returns the peak memory per case, for each number of images.

    A thousand images lie in a folder. Photographs and crops are links to single ones;
    crops are really cut for a tenth of the images.
    """
    image, crop = root / "image.jpg", root / "crop.jpg"
    photograph(640, 480).save(image, quality=85)
    photograph(320, 240).save(crop)
    peaks: dict[str, list[str]] = {}
    for count in counts:
        names = [f"{n // 1000:05}/{n:07}.jpg" for n in range(count)]
        boxes = {name: [[0.25, 0.25, 0.5, 0.5]] for name in names}
        boxes_json = write_detections(root / "all.json", boxes, 0.5)
        place = root / str(count)
        link_all(crop, place / "crops", [str(CropName(n, 0, DETECTOR)) for n in names])
        link_all(image, place / "images", names)
        measure = partial(measure_peak_mib, boxes_json, place)
        peaks.setdefault("nothing reaches the threshold", []).append(measure("0.9"))
        peaks.setdefault("every crop is there", []).append(measure("0.1"))
        some = dict(list(boxes.items())[: count // 10])
        write_detections(boxes_json, some, 0.5)
        (place / "crops").rename(place / "put aside")
        peaks.setdefault("crops are cut (a tenth)", []).append(measure("0.1"))
    return peaks


def link_all(file: Path, folder: Path, names: list[str]) -> None:
    """Puts ``file`` into the folder under many names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(file)


def measure_peak_mib(boxes_json: Path, place: Path, threshold: str) -> str:
    """Returns the peak resident memory of the command, and how long it took."""
    argv = [boxes_json, place / "crops", "-i", place / "images"]
    options = ["--threshold", threshold, "--logdir", place]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, argv), *map(str, options)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    seconds = time.perf_counter() - start
    return f"{int(done.stdout) / 1024:.1f} MiB {seconds:.1f} s"


def main() -> None:
    """Runs both parts and prints their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=24, help="images per size")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    parser.add_argument(
        "--most-images",
        type=int,
        default=10_000,
        help="images of the largest memory run; the smallest has a tenth",
    )
    args = parser.parse_args()
    decoder = "whole images" if jpeg.load_decoder() is None else "parts (nvImageCodec)"
    print(f"{parallel.cores()} threads; crop_detections decodes {decoder}")
    print(f"{'image':>12} {'plain/s':>9} {'ours/s':>9} {'ratio':>6} {'CPU ratio':>9}")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            plain, ours = measure_speed(Path(folder), size, args.images, args.rounds)
        rates = f"{args.images / plain[0]:9.1f} {args.images / ours[0]:9.1f}"
        ratios = f"{plain[0] / ours[0]:5.2f}x {plain[1] / ours[1]:8.2f}x"
        print(f"{size[0]:>7}x{size[1]} {rates} {ratios}  identical pixels")
    counts = [args.most_images // 10, args.most_images]
    with tempfile.TemporaryDirectory() as folder:
        peaks = measure_memory(Path(folder), counts)
    print(f"\npeak memory and time for {counts[0]} and {counts[1]} images")
    for case, (few, many) in peaks.items():
        print(f"{case:>30}: {few:>20} {many:>20}")


if __name__ == "__main__":
    main()
