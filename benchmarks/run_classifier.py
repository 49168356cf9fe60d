"""Classifying crops against the plain way, and its memory against the number of crops.

Speed: an EfficientNet-B3 at 300 px with random weights (its batch norms are fitted to
noise, so that values keep a natural size) over JPEG crops of 400 to 800 px. The baseline
is what the original does: TorchScript, one crop at a time, Pillow and torchvision in a
DataLoader with 8 or 2 worker processes, a gzip member appended to the CSV for each crop.
Ours is the command on the same network exported to ONNX, and on the TorchScript file
itself. Loading of model and libraries is in neither time. Probabilities of all are
compared with eager float32. Runs are interleaved; ratios are of medians. All of it is
measured on a machine that does nothing else, and again beside a program that keeps a
core busy: torch splits every layer over all cores and waits for the last of them, so a
busy core costs it much more than the share it takes.

Memory: peak resident set of the command for more and more small crops.

Example:
  python -m benchmarks.run_classifier --crops 600 --rounds 5 --most-crops 100000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from classification.artifacts import predictions
from classification.cropping.images import open_image
from classification.modeling import catalog, export, networks, preprocessing
from classification.modeling.export import ModelFacts
from tests import classifiers
from tests.world import jpeg_bytes, photograph

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDE = 300
CATEGORIES = 169
COMPARED = 16

# The original's way, in its own process; prints the seconds it took.
BASELINE = """
import sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
import torch
from pathlib import Path
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

model_path, crops, output, workers = sys.argv[1:]

class Crops(Dataset):
    def __init__(self, names):
        self.names = names
        self.transform = transforms.Compose([
            transforms.Resize(300, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(300),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ])
    def __len__(self):
        return len(self.names)
    def __getitem__(self, index):
        name = self.names[index]
        return self.transform(Image.open(Path(crops, name)).convert("RGB")), name

model = torch.jit.load(model_path, map_location="cpu").eval()
with torch.no_grad():
    model(torch.zeros(1, 3, 300, 300)), model(torch.zeros(1, 3, 300, 300))
    start = time.perf_counter()
    names = sorted(path.name for path in Path(crops).iterdir())
    loader = DataLoader(Crops(names), batch_size=1, num_workers=int(workers))
    for number, (images, paths) in enumerate(loader):
        rows = torch.nn.functional.softmax(model(images), dim=1).numpy()
        frame = pd.DataFrame(rows, index=pd.Index(paths, name="path"))
        frame.to_csv(output, mode="a", header=number == 0)
print(time.perf_counter() - start)
"""

# Our command, its model loading taken off; prints the seconds it took.
OURS = """
import sys, time
from classification import run_classifier

load = run_classifier._open_classifier
loading = []

def timed(*arguments):
    start = time.perf_counter()
    model = load(*arguments)
    loading.append(time.perf_counter() - start)
    return model

run_classifier._open_classifier = timed
import onnxruntime, pyarrow.csv
start = time.perf_counter()
assert run_classifier.main(sys.argv[1:]) == 0
print(time.perf_counter() - start - loading[0])
"""

PEAK = r"""
import re, sys
from pathlib import Path
from classification import run_classifier
assert run_classifier.main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def draw_crops(folder: Path, number: int) -> None:
    """Writes JPEG crops of 400 to 800 pixels a side."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(number):
        width, height = (int(side) for side in rng.integers(400, 801, 2))
        scene = photograph(width, height, seed=index % 32)
        (folder / f"{index:06d}.jpg").write_bytes(jpeg_bytes(scene))


def make_models(folder: Path) -> torch.nn.Module:
    """Writes the network as TorchScript and as ONNX; returns it."""
    torch.manual_seed(0)
    network = classifiers.lively(networks.build("efficientnet-b3", CATEGORIES), SIDE)
    (folder / "b3.pt").write_bytes(classifiers.traced_bytes(network, SIDE))
    facts = ModelFacts(
        architecture="efficientnet-b3", labels=[str(n) for n in range(CATEGORIES)]
    )
    export.export_onnx(network, folder / "b3.onnx", facts)
    return network


def call(program: str, *arguments: object) -> float:
    """Runs a program in a process of its own; returns the number it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def run_once(way: str, folder: Path) -> float:
    """Classifies all crops in one way; returns the seconds."""
    output = folder / f"{way}.csv.gz"
    output.unlink(missing_ok=True)
    crops = folder / "crops"
    if way.startswith("baseline"):
        workers = way.rpartition("_")[2]
        return call(BASELINE, folder / "b3.pt", crops, output, workers)
    model = folder / ("b3.onnx" if way == "ours_onnx" else "b3.pt")
    return call(
        *(OURS, model, crops, output, "--device", "cpu", "--logdir", folder / "logs"),
        *(() if way == "ours_onnx" else ("--image-size", SIDE)),
    )


WAYS = ("baseline_8", "baseline_2", "ours_torchscript", "ours_onnx")


def compare(network: torch.nn.Module, folder: Path) -> dict[str, float]:
    """Returns each way's largest difference from eager float32, in probability."""
    names = sorted(path.name for path in (folder / "crops").iterdir())[:COMPARED]
    opened = [open_image((folder / "crops" / name).read_bytes()) for name in names]
    squares = np.stack([preprocessing.square(crop.image, SIDE) for crop in opened])
    images = preprocessing.normalise(squares, catalog.IMAGENET)
    with torch.inference_mode():
        expected = torch.softmax(network(torch.from_numpy(images)), dim=1).numpy()
    differences = {}
    for way in WAYS:
        first = next(
            predictions.open_file(folder / f"{way}.csv.gz").batches(rows=COMPARED)
        )
        assert first.paths == names
        differences[way] = float(np.abs(first.probabilities - expected).max())
    return differences


@contextmanager
def busy_programs(number: int) -> Iterator[None]:
    """Keeps ``number`` cores busy until the block ends."""
    words = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(words) for _ in range(number)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def measure_speed(folder: Path, crops: int, rounds: int) -> None:
    """Prints the tables of speeds."""
    draw_crops(folder / "crops", crops)
    network = make_models(folder)
    for beside in (0, 1):
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        with busy_programs(beside):
            for _ in range(rounds):
                for way in WAYS:
                    seconds[way].append(run_once(way, folder))
        print(
            f"\n{crops} crops, EfficientNet-B3 {SIDE} px, {os.cpu_count()} cores, "
            f"{beside} busy programs beside"
        )
        print_speeds(seconds, compare(network, folder), crops)


def print_speeds(
    seconds: dict[str, list[float]], differences: dict[str, float], crops: int
) -> None:
    """Prints one table of speeds."""
    baseline = statistics.median(seconds["baseline_8"])
    print("| way | ms a crop | times baseline | largest difference from eager |")
    print("|---|---|---|---|")
    for way in WAYS:
        median = statistics.median(seconds[way])
        print(
            f"| {way} | {1000 * median / crops:.0f} | {baseline / median:.2f} | "
            f"{differences[way]:.1e} |",
            flush=True,
        )


def measure_memory(folder: Path, most_crops: int) -> None:
    """Prints the table of peak memory."""
    labels = [str(number) for number in range(CATEGORIES)]
    model = classifiers.save_exported(folder / "tiny" / "m.onnx", labels=labels)
    data = jpeg_bytes(photograph(32, 32))
    print("\n| crops | folders | peak MiB |\n|---|---|---|")
    for number in (most_crops // 10, most_crops):
        crops = folder / f"crops_{number}"
        boxes = _link_crops(data, crops, number)
        peak = call(
            *(PEAK, model, crops, folder / f"{number}.csv.gz", "-d", boxes),
            *("--device", "cpu", "--logdir", folder / "logs"),
        )
        print(f"| {number} | {number // 1000 or 1} | {peak / 1024:.0f} |")


def _link_crops(data: bytes, crops: Path, number: int) -> Path:
    """Makes ``number`` crops, 1000 to a folder, and their detections JSON."""
    images = []
    first = crops
    box = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.5]}
    for index in range(number):
        name = f"camera_{index // 1000:03d}/{index:06d}.jpg"
        images.append({"file": name, "detections": [box]})
        crop = crops / f"{name}___crop00_bench.jpg"
        if index % 1000 == 0:  # a file has a limited number of links
            crop.parent.mkdir(parents=True)
            first = crop
            first.write_bytes(data)
        else:
            os.link(first, crop)
    document = {
        "info": {"format_version": "1.6", "detector": "bench"},
        "detection_categories": {"1": "animal"},
        "images": images,
    }
    path = crops.with_suffix(".json")
    path.write_text(json.dumps(document))
    return path


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=48, help="crops to classify")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    parser.add_argument(
        "--most-crops", type=int, default=10_000, help="crops of the memory table"
    )
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # torch deprecates TorchScript, the baseline
    with tempfile.TemporaryDirectory() as name:
        measure_speed(Path(name), args.crops, args.rounds)
        measure_memory(Path(name), args.most_crops)


if __name__ == "__main__":
    main()
