"""Putting a run of a detector into a cache that has as many images already.

Half of the run's images are in the cache, a tenth of which had failed there. The run is
in no order, so it has to be sorted. The baseline does what the original does: both files
as Python objects, a dict of images by name, sorted and written with an indent of 1; but
like ours, a success replaces a failure. Each way runs in a process of its own,
interleaved; seconds are of the processor. The images of both are compared.

  plain   json.load, dict, json.dump
  ours    cache_batchapi_outputs
  again   ours, once more: nothing is new

Example:
  python benchmarks/detection_cache.py --images 1000000 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.artifacts import detections

if TYPE_CHECKING:
    from collections.abc import Iterable

TOP = {
    "info": {"format_version": "1.6", "detector": "md_v5a.0.0.pt"},
    "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
}
PLAIN = r"""
def load(path):
    with open(path) as file:
        return json.load(file)

def run(fresh, cache):
    target = cache / "v5a.0.0" / "caltech.json"
    cached, new = load(target), load(fresh)
    image_by_name = {image["file"].replace("\\", "/"): image for image in cached["images"]}
    for image in new["images"]:
        name = image["file"].replace("\\", "/")
        if name not in image_by_name or image_by_name[name].get("detections") is None:
            image_by_name[name] = image
    cached["images"] = [image_by_name[name] for name in sorted(image_by_name)]
    with open(target, "w") as file:
        json.dump(cached, file, indent=1)
"""
OURS = r"""
def run(fresh, cache):
    argv = [str(fresh), "-d", "caltech", "-c", str(cache), "--logdir", str(cache.parent)]
    assert cache_batchapi_outputs.main(argv) == 0
"""
# VmHWM is the peak of the process's own memory; ru_maxrss would begin with its parent's.
MEASURE = r"""
import json, re, sys, time
from pathlib import Path
from classification import cache_batchapi_outputs
{way}
begin = time.process_time()
run(Path(sys.argv[1]), Path(sys.argv[2]))
print(time.process_time() - begin)
print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def draw_image(rng: random.Random, number: int, *, failing: float) -> dict[str, Any]:
    """Draws an image with 0 to 3 boxes, or one that failed."""
    name = f"site{number // 1000:04d}/cam{number // 100 % 10}/IMG_{number:07d}.JPG"
    if rng.random() < failing:
        return {"file": name, "detections": None, "failure": "image access failure"}
    boxes = [
        {
            "category": rng.choice("1123"),
            "conf": round(rng.random(), 3),
            "bbox": [round(rng.random(), 4) for _ in range(4)],
        }
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))
    ]
    return {"file": name, "detections": boxes}


def write_file(
    path: Path, numbers: Iterable[int], *, seed: int, failing: float
) -> None:
    """Writes a detections JSON with an indent of 1, as the original does, streaming."""
    rng = random.Random(seed)  # noqa: S311 - not for cryptography
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(TOP, indent=1)[:-2] + ',\n "images": [')
        for place, number in enumerate(numbers):
            image = draw_image(rng, number, failing=failing)
            file.write(",\n" if place else "\n")
            file.write(json.dumps(image, indent=1))
        file.write("\n ]\n}\n")


def measure(way: str, fresh: Path, cache: Path) -> tuple[float, float]:
    """Merges in a new process; returns seconds and peak MiB."""
    program = MEASURE.format(way=way)
    command = [sys.executable, "-c", program, str(fresh), str(cache)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    took, peak_kib = done.stdout.split()
    return float(took), int(peak_kib) / 1024


def compare(caches: list[Path]) -> int:
    """Checks that two caches hold the same images; returns how many."""
    files = [
        detections.open_file(cache / "v5a.0.0" / "caltech.json") for cache in caches
    ]
    pairs = zip(files[0].images(), files[1].images(), strict=True)
    assert all(one == other for one, other in pairs)
    return files[0].image_count


def main() -> None:
    """Prints the table of times and peaks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    results: dict[str, list[tuple[float, float]]] = {
        "plain": [],
        "ours": [],
        "again": [],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before, plain, ours = folder / "before", folder / "plain", folder / "ours"
        cached = before / "v5a.0.0" / "caltech.json"
        write_file(cached, range(args.images), seed=0, failing=0.1)
        numbers = list(range(args.images // 2, args.images * 3 // 2))
        random.Random(2).shuffle(numbers)  # noqa: S311 - likewise
        fresh = folder / "fresh.json"
        write_file(fresh, numbers, seed=1, failing=0.0)
        size = (cached.stat().st_size + fresh.stat().st_size) / 2**20
        for _ in range(args.rounds):
            for way, cache in ((PLAIN, plain), (OURS, ours)):
                shutil.rmtree(cache, ignore_errors=True)
                shutil.copytree(before, cache)
                results[cache.name].append(measure(way, fresh, cache))
            results["again"].append(measure(OURS, fresh, ours))
        total = compare([plain, ours])
    print(f"{args.images} images into {args.images}: {total}, {size:.0f} MiB of JSON")
    median = {
        way: statistics.median(took for took, _ in all_)
        for way, all_ in results.items()
    }
    for way, all_ in results.items():
        ratio = median["plain"] / median[way]
        peak = max(peak for _, peak in all_)
        print(f"{way:>6} {median[way]:7.2f} s  {ratio:4.1f} x  peak {peak:6.0f} MiB")


if __name__ == "__main__":
    main()
