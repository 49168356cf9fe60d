"""The flags that say how crops are cut, the same in every command that cuts some."""

from __future__ import annotations

import argparse
import logging
from typing import Protocol

from classification.cropping.cut import Shape
from classification.cropping.harvest import DEFAULT_JPEG_QUALITY, Settings
from classification.cropping.images import DEFAULT_MAX_PIXELS
from classification.runtime import cli, parallel

_MAX_JPEG_QUALITY = 100

_logger = logging.getLogger(__name__)


class CropArguments(Protocol):
    """What ``add_shape`` and ``add_cutting`` put into a namespace."""

    square_crops: bool
    reference_squares: bool
    ignore_exif: bool
    jpeg_quality: int
    max_pixels: int
    check_crops_valid: bool
    threads: int


def add_shape(parser: argparse._ActionsContainer) -> None:
    """Declares the flags that say what a crop looks like."""
    parser.add_argument(
        "--square-crops",
        action="store_true",
        help="cut the smallest square around each box that stays inside the image; "
        "black is added only where the square is larger than the image",
    )
    parser.add_argument(
        "--reference-squares",
        action="store_true",
        help="cut squares exactly as MegaDetector's own crop_detections does, with "
        "black at the right and lower edges; for classifiers trained on such crops",
    )
    parser.add_argument(
        "--ignore-exif",
        action="store_true",
        help="do not turn images upright by their EXIF orientation; for boxes drawn "
        "on the pixels as they are stored",
    )
    parser.add_argument(
        "--jpeg-quality",
        type=_jpeg_quality,
        default=DEFAULT_JPEG_QUALITY,
        metavar="1-100",
        help="JPEG quality of the crops (default: %(default)s, as published "
        "classifiers were trained with)",
    )


def _jpeg_quality(text: str) -> int:
    value = cli.positive_int(text)
    if value > _MAX_JPEG_QUALITY:
        raise argparse.ArgumentTypeError(f"{text} is more than {_MAX_JPEG_QUALITY}")
    return value


def add_cutting(parser: argparse._ActionsContainer) -> None:
    """Declares the flags that say which boxes and images are worked on, and how fast."""
    parser.add_argument(
        "-t",
        "--threshold",
        type=cli.fraction,
        default=0.0,
        help="crop boxes of at least this confidence; boxes without one, which people "
        "drew, are always cropped (default: %(default)s)",
    )
    parser.add_argument(
        "--check-crops-valid",
        action="store_true",
        help="decode each crop that exists, and cut it again if it is damaged",
    )
    parser.add_argument(
        "--max-pixels",
        type=cli.positive_int,
        default=DEFAULT_MAX_PIXELS,
        help="skip images of more pixels, width times height (default: %(default)s)",
    )
    parser.add_argument(
        "-n",
        "--threads",
        type=cli.positive_int,
        default=parallel.cores(),
        help="images worked on at once; where they are on this machine, no more are used "
        "than the processor has cores, since that would only slow it down; a distant "
        "server wants many (default: %(default)s, the cores)",
    )


def settings_of(args: CropArguments) -> Settings:
    """Returns how the command line says that crops are cut and saved."""
    return Settings(
        shape=_shape(args),
        jpeg_quality=args.jpeg_quality,
        max_pixels=args.max_pixels,
        apply_exif=not args.ignore_exif,
        check_existing=args.check_crops_valid,
    )


def _shape(args: CropArguments) -> Shape:
    if args.reference_squares:
        return Shape.REFERENCE_SQUARE
    return Shape.SQUARE if args.square_crops else Shape.RECTANGLE


def threads_of(args: CropArguments, *, are_distant: bool) -> int:
    """Returns ``--threads``, or the number of cores where that is less, and says so.

    Args:
        args: the command line.
        are_distant: images may come from other machines, which are waited for most of
            the time; then as many threads are used as are wanted.
    """
    if are_distant:
        return args.threads
    threads = min(args.threads, parallel.cores())
    if threads < args.threads:
        _logger.info("--threads: %d, as many as there are cores", threads)
    return threads
