"""Kills the detection service in the middle of each of three tasks, and starts it again.

In each round a service is given three tasks over the same images. In the middle of each,
after a random number of images, the process is killed with SIGKILL and started again.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detection import run_detector_batch
from tests.detection.detectors.graphs import red_detector
from tests.serving import Service, draw, start
from tests.sweeps import Outcome

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS, TASKS, IMAGES = 30, 3, 24
LAYERS = 3  # of the detector, so that it takes its time
LAST = 6  # images that are still to be done, at least, when it is killed


@dataclass
class Found:
    """What was counted, and what went wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def missing() -> str:
    """Says what this machine lacks; nothing."""
    return ""


def run(share: float, folder: Path) -> Outcome:
    """Tries it in so many rounds."""
    model = red_detector(folder / "md_red_v9.0.onnx", layers=LAYERS)
    draw(folder / "images", IMAGES)
    expected = _expected(model, folder)
    found, chance = Found(), random.Random(6)
    rounds = max(1, round(ROUNDS * share))
    for number in range(rounds):
        _try(
            model, folder / f"round{number}", folder / "images", expected, chance, found
        )
    counts = found.counts
    return Outcome(
        figures={
            "tasks": counts["tasks"],
            "images of all tasks": counts["images"],
            "kills in the middle of a task": counts["kills"],
            "tasks completed": counts["completed"],
            "outputs equal to that of run_detector_batch": counts["equal"],
            "images that a kill found done": counts["done when killed"],
            "of these, detected again": counts["again"],
            "images recorded twice": counts["twice"],
        },
        broken=found.broken,
    )


def _expected(model: Path, folder: Path) -> bytes:
    output = folder / "detections.json"
    flags = ("--recursive", "--output_relative_filenames", "--device", "cpu")
    line = (str(model), str(folder / "images"), str(output), *flags)
    if run_detector_batch.main(line):
        raise AssertionError("run_detector_batch failed")
    return output.read_bytes()


def _try(  # noqa: PLR0913, PLR0917 - what a round consists of
    model: Path,
    folder: Path,
    images: Path,
    expected: bytes,
    chance: random.Random,
    found: Found,
) -> None:
    """One round: three tasks, three kills."""
    flags = ("--allow-root", images, "--device", "cpu")
    service = start(model, folder, *flags)
    try:
        ids = [
            service.submit(request_name=f"task{number}", images_dir=str(images))
            for number in range(TASKS)
        ]
        killed: dict[str, list[str]] = {}
        for task_id in ids:
            _wait_for(service, task_id, chance.randint(1, IMAGES - LAST))
            service.kill()
            killed[task_id] = _recorded(folder / task_id / "journal")
            service = start(model, folder, *flags)
        states = [status["request_status"] for status in service.wait(*ids)]
    finally:
        service.kill()
    for task_id, state in zip(ids, states, strict=True):
        _compare(folder / task_id, state, killed[task_id], expected, found)


def _wait_for(service: Service, task_id: str, count: int) -> None:
    journal = service.folder / task_id / "journal"
    end_s = time.monotonic() + 120
    while len(_recorded(journal)) < count:
        if time.monotonic() > end_s:
            raise AssertionError(f"{journal} has less than {count} images")
        time.sleep(0.002)


def _recorded(journal: Path) -> list[str]:
    """Returns the images that a journal has a whole record of."""
    try:
        _, *lines = journal.read_bytes().split(b"\n")[:-1]
    except (FileNotFoundError, ValueError):
        return []
    return [json.loads(line[9:])["image"]["file"] for line in lines]


def _compare(
    folder: Path, state: str, killed: list[str], expected: bytes, found: Found
) -> None:
    """Counts how a task went, and says what should not have been."""
    counts = found.counts
    if state != "completed":
        found.broken.append(f"{folder.name} is {state}")
        return
    output = (folder / "detections.json").read_bytes()
    (log,) = folder.glob("batch_service_log_*.json")
    said = json.loads(log.read_bytes())["counts"]
    again = len(killed) - said["images_of_earlier_runs"]
    names = [image["file"] for image in json.loads(output)["images"]]
    twice = len(names) - len(set(names)) + len(killed) - len(set(killed))
    counts.update(
        {
            "tasks": 1,
            "images": said["images_of_earlier_runs"] + said["images_of_this_run"],
            "kills": 0 < len(killed) < IMAGES,
            "completed": 1,
            "equal": output == expected,
            "done when killed": len(killed),
            "again": again,
            "twice": twice,
        }
    )
    if output != expected:
        found.broken.append(f"{folder.name}: not what run_detector_batch writes")
    if again or twice:
        found.broken.append(f"{folder.name}: {again} images again, {twice} twice")
    if said["images_of_earlier_runs"] + said["images_of_this_run"] != IMAGES:
        found.broken.append(f"{folder.name}: {said} for {IMAGES} images")
