"""Reading a detections JSON against ``json.load``: seconds, and peak memory.

The file is as MegaDetector writes it: indented, images first, 0 to 3 boxes each. Each way
of reading runs in a process of its own, interleaved; seconds are of the processor, since
all of them use one core:

  json.load   the whole document as Python objects, unchecked
  read        ours: the whole document as typed values, checked
  open_file   ours: checked from end to end, nothing kept
  stream      ours: open_file, then all images one by one, nothing kept

Example:
  python benchmarks/detections_json.py --images 1000000 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# The peak is of the process's own memory: unlike ru_maxrss, VmHWM does not begin with
# that of the process it was forked from.
READERS = {
    "json.load": "import json; run = lambda path: json.load(open(path))",
    "read": "run = detections.read",
    "open_file": "run = detections.open_file",
    "stream": "run = lambda path: sum(1 for _ in detections.open_file(path).images())",
}
MEASURE = r"""
import re, sys, time
from pathlib import Path
from classification.artifacts import detections
{reader}
begin = time.process_time()
kept = run(Path(sys.argv[1]))
print(time.process_time() - begin)
print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def draw_image(rng: random.Random, number: int) -> dict[str, Any]:
    """Draws an image with 0 to 3 boxes."""
    boxes = [
        {
            "category": rng.choice("1123"),
            "conf": round(rng.random(), 3),
            "bbox": [round(rng.random(), 4) for _ in range(4)],
        }
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))
    ]
    name = f"site{number // 1000:03d}/cam{number // 100 % 10}/IMG_{number:07d}.JPG"
    return {"file": name, "detections": boxes}


def write_file(path: Path, images: int) -> None:
    """Writes a detections JSON in MegaDetector's key order, streaming."""
    rng = random.Random(0)  # noqa: S311 - not for cryptography
    end = {
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "info": {"format_version": "1.6", "detector": "md_v5a.0.0.pt"},
    }
    with path.open("w", encoding="utf-8") as file:
        file.write('{\n "images": [')
        for number in range(images):
            text = json.dumps(draw_image(rng, number), indent=1).replace("\n", "\n  ")
            file.write((",\n  " if number else "\n  ") + text)
        file.write("\n ],\n" + json.dumps(end, indent=1)[2:])


def measure(reader: str, path: Path) -> tuple[float, float]:
    """Reads the file in a new process; returns seconds and peak MiB."""
    program = MEASURE.format(reader=READERS[reader])
    command = [sys.executable, "-c", program, str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    took, peak_kib = output.split()
    return float(took), int(peak_kib) / 1024


def main() -> None:
    """Prints the table of times and peaks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in READERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detections.json"
        write_file(path, args.images)
        size = path.stat().st_size / 2**20
        for _ in range(args.rounds):
            for name, measured in results.items():
                measured.append(measure(name, path))
    print(f"{args.images} images, {size:.0f} MiB, {args.rounds} rounds")
    median = {
        name: statistics.median(t for t, _ in all_) for name, all_ in results.items()
    }
    for name, all_ in results.items():
        ratio = median["json.load"] / median[name]
        peak = max(peak for _, peak in all_)
        print(f"{name:>10} {median[name]:7.2f} s  {ratio:4.1f} x  peak {peak:6.0f} MiB")


if __name__ == "__main__":
    main()
