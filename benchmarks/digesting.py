"""What it costs to know which image a result is of: processor seconds, with and without.

Each step runs over the same JPEG photographs of 4000 x 3000 pixels, in one process, in
turns with digests and with a digest that looks at no byte; the ratio is of the least
processor seconds of each, of all threads together. Reading is not part of it: digests are
made of bytes that are in memory anyway. Of crop_detections, the records in crops and their
index count, too.

Example:
  python benchmarks/digesting.py --images 24 --rounds 3
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from classification import crop_detections
from classification.runtime import contents
from detection import run_detector_batch
from tests.world import photograph

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIZE = (4000, 3000)
QUALITY = 70
NO_DIGEST = "0" * (2 * contents.DIGEST_BYTES)


def write_photographs(folder: Path, count: int) -> int:
    """Write JPEGs of four scenes in turn; return their bytes, all together."""
    scenes = []
    for seed in range(4):
        buffer = io.BytesIO()
        photograph(*SIZE, seed=seed).save(buffer, "JPEG", quality=QUALITY)
        scenes.append(buffer.getvalue())
    for number in range(count):
        (folder / f"{number:04}.jpg").write_bytes(scenes[number % 4])
    return sum(len(scenes[number % 4]) for number in range(count))


def processor_s(step: Callable[[], int]) -> float:
    """Return the processor seconds that a step takes; it has to end with 0."""
    began = time.process_time()
    if step():
        raise SystemExit("the step failed")
    return time.process_time() - began


def compare(
    step: Callable[[], int], without: Mapping[str, object], rounds: int
) -> tuple[float, float]:
    """Return the least processor seconds of a step, with digests and without.

    Args:
        step: runs it.
        without: what takes the place of what, by dotted name.
        rounds: how often each is run, in turns; once more to warm up.
    """
    step()
    with_s, without_s = [], []
    for _ in range(rounds):
        with_s.append(processor_s(step))
        with ExitStack() as stack:
            for name, instead in without.items():
                stack.enter_context(mock.patch(name, instead))
            without_s.append(processor_s(step))
    return min(with_s), min(without_s)


def detect(images: Path, output: Path) -> int:
    """Run the small detector over the images, from the beginning."""
    words = [str(images), str(output), "--device", "cpu", "--restart"]
    return run_detector_batch.main(["default", *words])


def write_boxes(images: Path, output: Path) -> None:
    """Write a detections JSON of two boxes an image."""
    boxes = ([0.1, 0.1, 0.3, 0.3], [0.5, 0.4, 0.2, 0.3])
    found = [{"category": "1", "conf": 0.9, "bbox": box} for box in boxes]
    names = sorted(path.name for path in images.iterdir())
    document = {
        "info": {"format_version": "1.3", "detector": "bench"},
        "detection_categories": {"1": "animal"},
        "images": [{"file": name, "detections": found} for name in names],
    }
    output.write_text(json.dumps(document), encoding="utf-8")


def crop(images: Path, boxes: Path, output: Path) -> int:
    """Cut all crops, from the beginning."""
    shutil.rmtree(output, ignore_errors=True)
    words = [
        boxes,
        output,
        "--images-dir",
        images,
        "--square-crops",
        "--logdir",
        output,
    ]
    return crop_detections.main([str(word) for word in words])


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        size = write_photographs(images, args.images)
        sys.stdout.write(
            f"{args.images} images, {size / args.images / 1e6:.2f} MB each\n"
        )
        steps = {
            "run_detector_batch": (
                lambda: detect(images, folder / "detections.json"),
                {"detection.batches.digest": lambda _: NO_DIGEST},
            ),
            "crop_detections": (
                lambda: crop(images, folder / "boxes.json", folder / "crops"),
                {
                    "classification.cropping.harvest.digest": lambda _: NO_DIGEST,
                    "classification.artifacts.crop_record.insert": lambda jpeg, _: jpeg,
                    "classification.artifacts.crop_index.CropIndex.add": lambda *_: (
                        None
                    ),
                },
            ),
        }
        write_boxes(images, folder / "boxes.json")
        for step, (run, without) in steps.items():
            with_s, without_s = compare(run, without, args.rounds)
            share = 100 * (with_s / without_s - 1)
            sys.stdout.write(
                f"{step}: {with_s:.2f} s with digests, {without_s:.2f} s without "
                f"({share:+.1f} %)\n"
            )


if __name__ == "__main__":
    main()
