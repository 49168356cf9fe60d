"""The flags that say how to run a detector, the same in every command that runs one."""

from __future__ import annotations

import argparse
from typing import Protocol

from classification.runtime import cli, parallel
from detection import batches, detectors

BOXES_ALONE = batches.Include()

_MAX_IMAGE_SIZE_PX = 8192


class SpeedArguments(Protocol):
    """What ``add_speed`` puts into a namespace, and what else shapes a detector's work."""

    threshold: float
    max_pixels: int
    trust_model: bool
    batch_size: int
    loader_workers: int
    ncores: int | None
    image_size: int | None
    head: str | None
    device: str


def add_speed(parser: argparse.ArgumentParser) -> None:
    """Declares what shapes the network's input, and how fast it is."""
    group = parser.add_argument_group("the network, and speed")
    add = group.add_argument
    add(
        "--batch_size",
        type=cli.positive_int,
        default=1,
        metavar="N",
        help="images that go through the network together (default: %(default)s)",
    )
    add(
        "--loader_workers",
        type=cli.positive_int,
        default=max(2, parallel.cores()),
        metavar="N",
        help="threads that decode images beside the network (default: the number of "
        "cores, at least 2); 1 decodes in turn with it",
    )
    add(
        "--ncores",
        type=cli.positive_int,
        metavar="N",
        help="threads of the network (default: all cores)",
    )
    add(
        "--image_size",
        type=image_size,
        metavar="PX",
        help="longer side of the network's input (default: the model's own)",
    )
    add(
        "--head",
        metavar="LAYOUT",
        help="output layout of an ONNX model that does not tell it itself: yolox, "
        "yolox-raw, yolov5, yolov8 or end-to-end",
    )
    add(
        "--device",
        type=cli.device,
        default="auto",
        help="auto, cpu or cuda:N (default: %(default)s)",
    )


def image_size(text: str) -> int:
    """Parses the longer side of a network's input, for ``type=``."""
    size_px = cli.positive_int(text)
    if size_px > _MAX_IMAGE_SIZE_PX:
        raise argparse.ArgumentTypeError(
            f"{text} px are more than {_MAX_IMAGE_SIZE_PX}, which no detector needs"
        )
    return size_px


def engine_of(args: SpeedArguments) -> detectors.Options:
    """Returns how the command line says that the detector is run."""
    return detectors.Options(
        trust_model=args.trust_model,
        device=args.device,
        threads=args.ncores,
        image_size_px=args.image_size,
        head=args.head,
    )


def work_of(
    args: SpeedArguments, include: batches.Include = BOXES_ALONE
) -> batches.Work:
    """Returns how the command line says that images are taken through the detector.

    Args:
        args: the command line.
        include: what to say beside the boxes.
    """
    return batches.Work(
        threshold=args.threshold,
        batch_size=args.batch_size,
        threads=args.loader_workers,
        max_pixels=args.max_pixels,
        include=include,
    )
