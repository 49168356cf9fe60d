"""How far one detector agrees with another, taken as the truth, on the same images.

A box is right if it shares at least half of the joint area (IoU 0.5) with a box of the
truth that no surer box has taken. Images are paired by name; one that failed in either
file is left out::

    python benchmarks/detector_agreement.py truth.json found.json --truth-threshold 0.3

prints, for each threshold, precision and recall of boxes, how many images with animals
were found, and how many without were left alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from classification.artifacts import detections
from detection.boxes import Box, intersection_over_union
from detection.records import ANIMAL, Detection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHARED = 0.5
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


class Score(NamedTuple):
    """Counts over all images."""

    found: int
    true: int
    right: int
    animal_images: int
    animal_images_found: int
    blank_images: int
    blank_images_left_alone: int


def main(argv: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path, help="detections JSON taken as the truth")
    parser.add_argument("found", type=Path, help="detections JSON to compare with it")
    parser.add_argument(
        "--truth-threshold", type=float, default=0.3, help="truth: boxes from here on"
    )
    parser.add_argument(
        "--thresholds", type=float, nargs="+", default=THRESHOLDS, metavar="T"
    )
    args = parser.parse_args(argv)
    truth = {
        name: [box for box, conf in boxes if conf >= args.truth_threshold]
        for name, boxes in read_animals(args.truth).items()
    }
    found = read_animals(args.found)
    common = sorted(truth.keys() & found.keys())
    print(f"{len(common)} images in both files")
    print("threshold  boxes  precision  recall  animal images  blank images")
    for threshold in args.thresholds:
        score = score_of(truth, found, common, threshold)
        print(
            f"{threshold:9.2f}{score.found:7}"
            f"{score.right / max(1, score.found):11.3f}"
            f"{score.right / max(1, score.true):8.3f}"
            f"{score.animal_images_found:10} of {score.animal_images}"
            f"{score.blank_images_left_alone:9} of {score.blank_images}"
        )


def read_animals(path: Path) -> dict[str, list[tuple[Box, float]]]:
    """Returns the animal boxes and their confidence by image, surest first."""
    file = detections.open_file(path)
    animals = {
        number
        for number, name in file.header.detection_categories.items()
        if name == ANIMAL
    }
    return {
        image.file: _sorted(one for one in image.detections if one.category in animals)
        for image in file.images()
        if image.detections is not None
    }


def _sorted(found: Iterable[Detection]) -> list[tuple[Box, float]]:
    boxes = [(one.bbox, one.conf or 0.0) for one in found]
    return sorted(boxes, key=lambda pair: -pair[1])


def score_of(
    truth: Mapping[str, list[Box]],
    found: Mapping[str, list[tuple[Box, float]]],
    names: Iterable[str],
    threshold: float,
) -> Score:
    """Adds up the images of ``names``, counting boxes from ``threshold`` on."""
    total = Score(0, 0, 0, 0, 0, 0, 0)
    for name in names:
        boxes = [box for box, conf in found[name] if conf >= threshold]
        one = Score(
            found=len(boxes),
            true=len(truth[name]),
            right=right_boxes(boxes, truth[name]),
            animal_images=bool(truth[name]),
            animal_images_found=bool(truth[name] and boxes),
            blank_images=not truth[name],
            blank_images_left_alone=not truth[name] and not boxes,
        )
        total = Score(*(a + b for a, b in zip(total, one, strict=True)))
    return total


def right_boxes(boxes: list[Box], truth: list[Box]) -> int:
    """Counts the boxes, surest first, that find a box of the truth for themselves."""
    left = list(truth)
    for box in boxes:
        best = max(
            left, key=lambda true: intersection_over_union(box, true), default=None
        )
        if best is not None and intersection_over_union(box, best) >= SHARED:
            left.remove(best)
    return len(truth) - len(left)


if __name__ == "__main__":
    main()
