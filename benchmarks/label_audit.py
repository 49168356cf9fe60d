"""How many wrong labels are found, by how much looking: margin against confident learning.

Draws a world of crops: ten kinds of animals at forty cameras, of uneven numbers, some of
them dark, blurred or behind a trunk. One in twenty labels is then made another one, drawn
at random. Both training sets, before and after, go through ``train_classifier --folds``, so
that each crop is judged by a network that never saw its camera; the first tells how hard
the world is. Then ``identify_mislabeled_candidates`` ranks the crops of the second by each
method, and the table says how many of the wrong labels a person has found who looked at so
many crops from the top of the list.

The network is EfficientNet-Lite0 with ImageNet's weights, of which the last layer learns.

Example:
  python -m benchmarks.label_audit
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
from PIL import Image, ImageDraw, ImageFilter

from classification import identify_mislabeled_candidates
from classification.artifacts import (
    dataset_csv,
    label_index,
    mislabeled_candidates,
    predictions,
)
from classification.artifacts.dataset_csv import CropRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CAMERAS = 40
SIDE = 128  # drawn at twice the size of a crop
NETWORK = (
    "-m efficientnet-lite0 --pretrained --finetune --cache-features --image-size 64"
)
# The decay takes away what the new last layer begins with at random, which is large beside
# what a thousand crops teach it.
LEARNING = (
    "--epochs 60 --batch-size 64 --optimizer adamw --lr 0.005 --weight-decay 1 --seed 1"
)
EFFORTS = (25, 50, 75, 100, 125, 150, 200, 250, 300)
METHODS = {
    "margin": ["--margin", "0"],
    "confident-learning": ["--method", "confident-learning"],
}


@dataclass(frozen=True)
class Kind:
    """How an animal looks; lengths as shares of the picture's side.

    Attributes:
        coat: its colour.
        marks: colour of what is on the coat.
        pattern: ``plain``, ``spots``, ``bands``, ``stripes`` or ``belly``.
        legs: their length.
        body: its length.
        neck: its length.
    """

    coat: tuple[int, int, int]
    marks: tuple[int, int, int]
    pattern: str
    legs: float
    body: float
    neck: float


KINDS = {
    "red_deer": Kind((150, 95, 50), (60, 40, 25), "plain", 0.26, 0.50, 0.22),
    "fallow_deer": Kind((140, 100, 65), (235, 225, 210), "spots", 0.26, 0.48, 0.22),
    "boar": Kind((95, 95, 100), (40, 40, 45), "plain", 0.10, 0.56, 0.04),
    "badger": Kind((95, 90, 85), (225, 220, 210), "bands", 0.10, 0.54, 0.04),
    "tiger": Kind((215, 150, 70), (30, 25, 20), "stripes", 0.16, 0.58, 0.06),
    "leopard": Kind((205, 165, 95), (70, 45, 25), "spots", 0.16, 0.56, 0.06),
    "zebra": Kind((235, 230, 225), (25, 25, 25), "stripes", 0.24, 0.54, 0.14),
    "bear": Kind((45, 40, 40), (20, 20, 20), "plain", 0.18, 0.52, 0.08),
    "skunk": Kind((60, 45, 35), (200, 195, 185), "bands", 0.16, 0.46, 0.05),
    "fox": Kind((185, 110, 60), (240, 235, 230), "belly", 0.12, 0.44, 0.06),
}
LABELS = sorted(KINDS)


def background(rng: np.random.Generator, camera: int) -> Image.Image:
    """Draws what is behind the animal: a camera's own colour, and leaves that move."""
    own = np.random.default_rng(camera)
    base = own.uniform(70, 150) * np.array([0.9, 1, 0.8]) + own.normal(0, 12, 3)
    leaves = base + own.normal(0, 22, (7, 7, 1)) + rng.normal(0, 8, (7, 7, 3))
    scene = Image.fromarray(np.clip(leaves, 0, 255).astype(np.uint8))
    return scene.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def coat(rng: np.random.Generator, kind: Kind, tone: float) -> Image.Image:
    """Draws a square of an animal's coat."""
    colour, marks = (
        tuple(int(np.clip(value * tone, 0, 255)) for value in one)
        for one in (kind.coat, kind.marks)
    )
    cloth = Image.new("RGB", (SIDE, SIDE), colour)
    draw = ImageDraw.Draw(cloth)
    for at in range(0, SIDE, 12):
        if kind.pattern == "stripes":
            draw.line([(at, 0), (at + 6, SIDE)], fill=marks, width=4)
        if kind.pattern == "bands":
            draw.line([(0, at), (SIDE, at)], fill=marks, width=4)
    if kind.pattern == "spots":
        for x, y in rng.uniform(0, SIDE, (150, 2)):
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=marks)
    if kind.pattern == "belly":
        draw.rectangle([0, SIDE * 0.5, SIDE, SIDE], fill=marks)
    return cloth


def put_animal(rng: np.random.Generator, scene: Image.Image, kind: Kind) -> None:
    """Draws an animal into a scene, no two alike."""
    draw = ImageDraw.Draw(scene)
    cloth = coat(rng, kind, rng.normal(1, 0.1))
    colour = tuple(int(np.clip(v + rng.normal(0, 8), 0, 255)) for v in kind.coat)
    body, height, legs, neck = (
        SIDE * share * rng.normal(1, 0.12)
        for share in (kind.body, 0.26, kind.legs, kind.neck)
    )
    x, y = SIDE * 0.5 + rng.normal(0, 6), SIDE * 0.46 + rng.normal(0, 6)
    side = rng.choice([-1, 1])
    for share in (-0.36, -0.26, 0.26, 0.36):
        hip = x + share * body
        foot = hip + rng.normal(0, 3), y + height * 0.45 + legs
        draw.line([(hip, y + height * 0.2), foot], fill=colour, width=6)
    head_x, head_y = x + side * (body * 0.5 + neck * 0.3), y - height * 0.2 - neck
    shoulder = x + side * body * 0.38, y - height * 0.1
    draw.line([shoulder, (head_x, head_y)], fill=colour, width=13)
    outline = Image.new("L", (SIDE, SIDE), 0)
    box = [x - body / 2, y - height / 2, x + body / 2, y + height / 2]
    ImageDraw.Draw(outline).ellipse(box, fill=255)
    scene.paste(cloth, (0, 0), outline)
    radius = SIDE * 0.07
    head = [head_x - 1.3 * radius, head_y - radius, head_x + 1.3 * radius]
    draw.ellipse([*head, head_y + radius], fill=colour)


def look(
    rng: np.random.Generator, scene: Image.Image, camera: int, hard: float
) -> Image.Image:
    """Takes the picture: well, or, by ``hard``, dark, blurred or half hidden."""
    own = np.random.default_rng(camera)
    blur, light = rng.uniform(0.3, 1.5), rng.uniform(0.7, 1.2)
    how = rng.choice(["dark", "blurred", "hidden"]) if rng.random() < hard else ""
    if how == "dark":
        light = rng.uniform(0.08, 0.25)
    if how == "blurred":
        blur = rng.uniform(4, 9)
    if how == "hidden":
        left, width = SIDE * rng.uniform(0.1, 0.6), SIDE * rng.uniform(0.35, 0.6)
        trunk = [left, 0, left + width, SIDE]
        ImageDraw.Draw(scene).rectangle(trunk, fill=(90, 75, 60))
    pixels = np.asarray(scene.filter(ImageFilter.GaussianBlur(blur))) * light
    if own.random() < 0.4 and rng.random() < 0.6:  # by night
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    noisy = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(noisy).resize((SIDE // 2, SIDE // 2))


def draw_world(folder: Path, crops: int, hard: float, seed: int) -> list[CropRow]:
    """Draws the crops of a world below ``folder``; returns their rows."""
    rng = np.random.default_rng(seed)
    often = 1 / np.arange(1, len(KINDS) + 1) ** 0.6
    rows = []
    for number in range(crops):
        camera = int(rng.integers(CAMERAS))
        here = often * np.random.default_rng(1000 + camera).gamma(0.8, 1, len(KINDS))
        label = list(KINDS)[rng.choice(len(KINDS), p=here / here.sum())]
        scene = background(rng, camera)
        put_animal(rng, scene, KINDS[label])
        path = f"world/{camera}/{number:05}.jpg___crop00.jpg"
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        look(rng, scene, camera, hard).save(file, quality=92)
        rows.append(CropRow(path, "world", str(camera), label, 1.0, label))
    return rows


def flip(rows: Sequence[CropRow], share: float, seed: int) -> list[CropRow]:
    """Returns the rows, some of them with another label."""
    rng = np.random.default_rng(seed)
    flipped = set(
        rng.choice(len(rows), round(share * len(rows)), replace=False).tolist()
    )
    found = []
    for number, row in enumerate(rows):
        others = [label for label in LABELS if label != row.label]
        wrong = others[rng.integers(len(others))]
        found.append(row._replace(label=wrong) if number in flipped else row)
    return found


def train(folder: Path, crops: Path, rows: Sequence[CropRow], folds: int) -> Path:
    """Trains the networks of all folds; returns the run folder."""
    dataset_csv.write(folder / dataset_csv.FILENAME, rows)
    label_index.write(folder / label_index.FILENAME, LABELS)
    words = [str(folder), str(crops), *NETWORK.split(), *LEARNING.split()]
    words += ["--folds", str(folds), "--logdir", str(folder)]
    subprocess.run(
        [sys.executable, "-m", "classification.train_classifier", *words],
        check=True,
        env={"OMP_WAIT_POLICY": "passive", **os.environ},
        stderr=subprocess.DEVNULL,
    )
    [run] = folder.glob("2*")
    return run


def accuracy(run: Path, truth: dict[str, str]) -> float:
    """Returns the share of crops whose most probable label is the true one."""
    file = predictions.open_file(run / "outputs_folds.csv.gz")
    right = [
        file.categories[best] == truth[path]
        for batch in file.batches()
        for path, best in zip(
            batch.paths, batch.probabilities.argmax(axis=1), strict=True
        )
    ]
    return float(np.mean(right))


def found_by(run: Path, method: str, wrong: set[str]) -> NDArray[np.int64]:
    """Returns how many wrong labels are among the first 1, 2, … candidates."""
    words = [str(run), "--splits", "folds", *METHODS[method]]
    if identify_mislabeled_candidates.main(words):
        sys.exit(1)
    table = mislabeled_candidates.read(run / mislabeled_candidates.FILENAME)
    return np.cumsum([row.path in wrong for row in table], dtype=np.int64)


def recall_at(found: NDArray[np.int64], precision: float, wrong: int) -> float:
    """Returns the most that is found while so many of the crops looked at are wrong."""
    enough = found[found / np.arange(1, len(found) + 1) >= precision]
    return float(enough.max(initial=0)) / wrong


def tell(found: dict[str, NDArray[np.int64]], wrong: int) -> None:
    """Prints the curve of each method."""
    print(
        f"| crops looked at | {' | '.join(f'{m}: found, precision' for m in found)} |"
    )
    print(f"|---|{'---|' * len(found)}")
    for effort in EFFORTS:
        cells = [
            f"{curve[effort - 1] / wrong:.0%}, {curve[effort - 1] / effort:.0%}"
            if effort <= len(curve)
            else ""
            for curve in found.values()
        ]
        print(f"| {effort} | {' | '.join(cells)} |")
    for method, curve in found.items():
        print(
            f"{method}: {len(curve)} candidates hold {curve[-1] / wrong:.0%} of the wrong "
            f"labels; {recall_at(curve, 0.5, wrong):.0%} at a precision of 50 %"
        )
    margin, learned = found.values()
    ahead = (learned - margin[: len(learned)])[: len(margin)]
    print(
        f"confident learning is ahead of margin by {ahead.mean():.1f} wrong labels on "
        f"average over all efforts, by {ahead.min()} at the worst one"
    )


def main() -> None:
    """Draws, trains, ranks and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=2000)
    parser.add_argument("--flipped", type=float, default=0.05, help="share of labels")
    parser.add_argument(
        "--hard", type=float, default=0.15, help="share of bad pictures"
    )
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        rows = draw_world(base / "crops", args.crops, args.hard, args.seed)
        truth = {row.path: row.label for row in rows}
        clean = train(base / "clean", base / "crops", rows, args.folds)
        print(
            f"accuracy without wrong labels: {accuracy(clean, truth):.3f}", flush=True
        )
        given = flip(rows, args.flipped, args.seed)
        wrong = {row.path for row in given if row.label != truth[row.path]}
        run = train(base / "flipped", base / "crops", given, args.folds)
        print(
            f"accuracy, learned with {len(wrong)} of them: {accuracy(run, truth):.3f}"
        )
        tell({method: found_by(run, method, wrong) for method in METHODS}, len(wrong))
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
