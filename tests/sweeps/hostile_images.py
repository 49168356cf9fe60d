"""Images that are broken, or meant to do harm, through every step that opens images.

Pillow's own test images, all called ``.jpg``, and special files of our own. Each step is a
process of its own, run on as many harmless images first, so that what it needs for these
is known.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import (
    dataset_csv,
    image_status,
    label_index,
    layout,
    mislabeled_candidates,
    predictions,
    splits,
)
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.mislabeled_candidates import Candidate
from classification.artifacts.splits import Location, Splits
from tests import training_world
from tests.classifiers import save_exported
from tests.commands import ROOT
from tests.detection.detectors.graphs import constant_detector
from tests.sweeps import Outcome, pillow_images, special_images
from tests.world import jpeg_bytes, photograph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_MOST_MIB = 400e6 / (1 << 20)
# These take as long as all others together, and are left out of a small share.
_SLOW = frozenset({"report_dataset", "train_classifier", "evaluate_model"})
_SMALL = 0.5
_LIMIT_S = 600
_SPLITS = ("train", "val", "test")
# Runs a command with one thread that opens images, as on a machine of one core, and says
# at the end how much memory its process ever held.
_CHILD = """
import os, sys
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from tests.commands import command
name, peak, *words = sys.argv[1:]
code = command(name).main(words)
with open("/proc/self/status") as status, open(peak, "w") as file:
    file.write(next(line for line in status if line.startswith("VmHWM")).split()[1])
sys.exit(code)
"""


@dataclass(frozen=True)
class Step:
    """A command that opens images.

    Attributes:
        name: what to call it.
        words: the command and its arguments; RUN is the newest folder of ``logdir``.
        count: returns how many images went in, how many were done, how many failed.
    """

    name: str
    words: str
    count: Callable[[Path], tuple[int, int, int]]


def missing() -> str:
    """Says what this machine lacks."""
    if sys.platform != "linux":
        return "/proc, which tells how much memory a process held"
    try:
        pillow_images.folder()
    except pillow_images.UnreachableError as error:
        return f"Pillow's test images: {error}"
    return ""


def run(share: float, folder: Path) -> Outcome:
    """Gives a share of Pillow's images, and all of ours, to each step."""
    every = max(1, round(1 / share))
    hostile = _make(folder / "hostile", lambda pics: _hostile(pics, every))
    _make(folder / "harmless", lambda pics: _harmless(pics, len(hostile)))
    broken: list[str] = []
    worst, longest = ("", 0.0), ("", 0.0)
    failed = 0
    steps = [step for step in STEPS if share > _SMALL or step.name not in _SLOW]
    for step in steps:
        idle, _ = _measure(step, folder / "harmless", broken)
        peak, took = _measure(step, folder / "hostile", broken)
        worst = max(worst, (step.name, peak - idle), key=lambda one: one[1])
        longest = max(longest, (step.name, took), key=lambda one: one[1])
        if peak - idle > _MOST_MIB:
            broken.append(
                f"{step.name}: {(peak - idle) * 1.048576:.0f} MB more than idle"
            )
        failed += _check_counts(step, folder / "hostile", broken)
    figures = {
        "images of Pillow's tests": len(hostile) - len(special_images.NAMES),
        "special files": len(special_images.NAMES),
        "steps": len(steps),
        "images that failed, in all steps": failed,
        "images that were neither done nor listed": sum(
            "of which" in b for b in broken
        ),
        "most memory above that for harmless images": (
            f"{worst[1] * 1.048576:.0f} MB ({worst[0]})"
        ),
        "longest step": f"{longest[1]:.0f} s ({longest[0]})",
    }
    return Outcome(figures=figures, broken=broken)


def _harmless(pics: Path, count: int) -> list[str]:
    bodies = [jpeg_bytes(photograph(320, 240, seed=seed)) for seed in range(8)]
    names = [f"ds/{number:04}.jpg" for number in range(count)]
    (pics / "ds").mkdir(parents=True)
    for number, name in enumerate(names):
        (pics / name).write_bytes(bodies[number % len(bodies)])
    return names


def _hostile(pics: Path, every: int) -> list[str]:
    names = [f"ds/special/{n}" for n in special_images.write_all(pics / "ds/special")]
    source = pillow_images.folder()
    found = sorted(path for path in source.rglob("*") if path.is_file())
    for path in found[::every]:
        name = path.relative_to(source).as_posix()
        name = name if layout.is_image_name(name) else f"{name}.jpg"
        target = pics / "ds/pillow" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        names.append(f"ds/pillow/{name}")
    return sorted(names)


def _make(base: Path, fill: Callable[[Path], list[str]]) -> list[str]:
    """Makes a folder with images, and what each step needs beside them."""
    names = fill(base / "pics")
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (20, 32, 16, 24, 0.9, 1, 0, 0)
    constant_detector(base / "detector.onnx", output)
    save_exported(base / "classifier.onnx")
    _write_json(base / "list.json", names)
    _write_json(base / "boxes.json", _boxes(names))
    _write_json(base / "queried.json", _queried(names))
    _write_set(base, names)
    return names


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


def _boxes(names: Sequence[str]) -> dict[str, object]:
    box = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.8, 0.8]}
    return {
        "info": {"detector": "md", "format_version": "1.3"},
        "detection_categories": {"1": "animal"},
        "images": [{"file": name, "detections": [box]} for name in names],
    }


def _queried(names: Sequence[str]) -> dict[str, object]:
    """Every second image has a box that somebody drew."""
    drawn = [{"category": "animal", "bbox": [0.1, 0.1, 0.8, 0.8]}]
    entry = {"dataset": "ds", "class": "elk", "label": ["deer"]}
    return {
        name: {**entry, "bbox": drawn} if number % 2 else entry
        for number, name in enumerate(names)
    }


def _as_crop(name: str) -> str:
    """Returns the name of the crop that holds the same bytes as an image."""
    return f"{name}___crop00.jpg"


def _write_set(base: Path, names: Sequence[str]) -> None:
    """Writes a training set of the images, and some sound ones in each split."""
    sound = training_world.make(base / "sound")
    shutil.copytree(base / "sound/crops/d", base / "pics/d")
    places = {"train": ("0", "1"), "val": ("2",), "test": ("3",)}
    rows = list(sound) + [
        CropRow(
            path=name,
            dataset="ds",
            location=f"of {_SPLITS[number % 3]}",
            dataset_class="x",
            confidence=1.0,
            label=training_world.LABELS[number % 3],
        )
        for number, name in enumerate(names)
    ]
    run = base / "run"
    dataset_csv.write(run / dataset_csv.FILENAME, rows)
    label_index.write(run / label_index.FILENAME, training_world.LABELS[:3])
    found = {
        split: tuple(
            sorted(
                [
                    Location("ds", f"of {split}"),
                    *(Location("d", n) for n in places[split]),
                ]
            )
        )
        for split in _SPLITS
    }
    splits.write(run / splits.FILENAME, Splits(**found))
    candidates = [
        Candidate(name, "ds", "test", "bear", "deer", 0.1, 0.9, 0.8)
        for name in map(_as_crop, names)
    ]
    mislabeled_candidates.write(run / mislabeled_candidates.FILENAME, candidates)
    for name in names:
        link = base / "as_crops" / _as_crop(name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((base / "pics" / name).absolute())


def _measure(step: Step, base: Path, broken: list[str]) -> tuple[float, float]:
    """Runs a step; returns the most memory that it held in MiB, and how long it took."""
    newest = max((base / "logdir").glob("2*"), default=base)
    name, *words = step.words.replace("RUN", str(newest)).split()
    began = time.monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _CHILD, name, "peak", *words],
            cwd=base,
            env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(base)},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        broken.append(f"{step.name}: not done after {_LIMIT_S} s")
        return 0, _LIMIT_S
    took = time.monotonic() - began
    if ended.returncode not in (0, 4) or "Traceback" in ended.stderr:
        broken.append(f"{step.name}: {ended.returncode}: {ended.stderr[-500:]}")
        return 0, took
    peak = base / "peak"
    mib = int(peak.read_text()) / 1024
    peak.unlink()
    return mib, took


def _check_counts(step: Step, base: Path, broken: list[str]) -> int:
    """Sees that each image was done or is listed; returns how many failed."""
    try:
        taken, done, failed = step.count(base)
    except (OSError, ValueError, KeyError) as error:
        broken.append(f"{step.name}: {error!r}")
        return 0
    if taken != done + failed:
        broken.append(
            f"{step.name}: {taken} images, of which {done} done, {failed} failed"
        )
    return failed


def _log(base: Path, pattern: str) -> dict[str, dict[str, int]]:
    newest = max(base.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    document: dict[str, dict[str, int]] = json.loads(newest.read_bytes())
    return document


def _names(base: Path) -> set[str]:
    return set(json.loads((base / "list.json").read_bytes()))


def _count_detected(base: Path) -> tuple[int, int, int]:
    images = json.loads((base / "detections.json").read_bytes())["images"]
    found = {image["file"]: image for image in images}
    own = [found[name] for name in _names(base) if name in found]
    failed = sum(image.get("failure") is not None for image in own)
    done = sum(image["detections"] is not None for image in own)
    return len(_names(base)), done, failed


def _count_crops(crops: str, pattern: str) -> Callable[[Path], tuple[int, int, int]]:
    def count(base: Path) -> tuple[int, int, int]:
        log = _log(base, pattern)
        failed = {str(one["item"]) for one in log["failures"]}  # type: ignore[call-overload, index]  # a list in JSON
        failed |= {
            str(one["item"]).partition("___crop")[0]  # type: ignore[call-overload, index]  # as above
            for one in log["notes"]
            if "holds no image" in str(one)
        }
        made = {
            path.relative_to(base / crops).as_posix().rpartition("___crop")[0]
            for path in (base / crops).rglob("*___crop*")
        }
        return len(_names(base)), len(made), len(failed & _names(base) - made)

    return count


def _count_rows(base: Path) -> tuple[int, int, int]:
    log = _log(base, "logs/run_classifier_log_*.json")
    file = predictions.open_file(base / "out.csv.gz")
    rows = sum(len(batch.paths) for batch in file.batches())
    return log["counts"]["crops"], rows, len(log["failures"])


def _count_statuses(base: Path) -> tuple[int, int, int]:
    rows = list(image_status.read(base / "status.csv"))
    good = sum(row.status == image_status.Status.GOOD for row in rows)
    return len(_names(base)), good, len(rows) - good


def _count_opened(base: Path) -> tuple[int, int, int]:
    log = _log(base, "logs/report_dataset_log_*.json")
    total = len(list(dataset_csv.read(base / "run" / dataset_csv.FILENAME)))
    failed = log["counts"]["unreadable"]
    return total, log["counts"]["opened"] - failed, failed


def _count_trained(base: Path) -> tuple[int, int, int]:
    newest = max((base / "logdir").glob("2*"))
    log = _log(newest, "train_classifier_log_*.json")
    total = sum(log["counts"][split] for split in _SPLITS)
    return total, total - log["counts"]["failed"], len(log["failures"])


def _count_evaluated(base: Path) -> tuple[int, int, int]:
    log = _log(base, "out/evaluate_model_log_*.json")
    rows = 0
    for split in _SPLITS:
        file = predictions.open_file(base / "out" / predictions.outputs_name(split))
        rows += sum(len(batch.paths) for batch in file.batches())
    return log["counts"]["crops"], rows, len(log["failures"])


def _count_page(base: Path) -> tuple[int, int, int]:
    total = len(_names(base))
    page = (base / "page.html").read_text(encoding="utf-8")
    return total, total if page.rstrip().endswith("</html>") else 0, 0


_NETWORK = "--model-name timm/test_resnet --image-size 32 --epochs 1 --batch-size 8 --lr 0.02 --seed 1 --device cpu"
STEPS = (
    Step(
        "run_detector_batch",
        "detection.run_detector_batch detector.onnx pics detections.json --recursive "
        "--output_relative_filenames --threshold 0.1 --loader_workers 1 --logdir logs",
        _count_detected,
    ),
    Step(
        "crop_detections",
        "classification.crop_detections boxes.json crops --images-dir pics --logdir logs",
        _count_crops("crops", "logs/crop_detections_log_*.json"),
    ),
    Step(
        "detect_and_crop",
        "classification.detect_and_crop queried.json logs -c mdcache -v 1 --run-detector "
        "--detector detector.onnx --images-dir pics --cropped-images-dir crops2",
        _count_crops("crops2", "logs/detect_and_crop_log_*.json"),
    ),
    Step(
        "run_classifier",
        "classification.run_classifier classifier.onnx pics out.csv.gz --logdir logs",
        _count_rows,
    ),
    Step(
        "analyze_failed_images",
        "classification.analyze_failed_images list.json --images-dir pics "
        "--output-csv status.csv",
        _count_statuses,
    ),
    Step(
        "report_dataset",
        "classification.report_dataset run pics --logdir logs",
        _count_opened,
    ),
    Step(
        "train_classifier",
        f"classification.train_classifier run pics {_NETWORK} --logdir logdir",
        _count_trained,
    ),
    Step(
        "evaluate_model",
        "classification.evaluate_model RUN/params.json RUN/ckpt_0.pt --output-dir out "
        "--splits train val test --device cpu",
        _count_evaluated,
    ),
    Step(
        "review_mislabeled",
        "classification.review_mislabeled run/mislabeled_candidates.csv as_crops -o page.html",
        _count_page,
    ),
)
