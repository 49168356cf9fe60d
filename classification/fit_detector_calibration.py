r"""Fits how often a detector is right when it is so sure, from images with drawn boxes.

A detector's confidences are not chances: a box of 0.8 may be an animal in half of all
cases, or in nearly all. Where people drew the boxes of some images, this command compares
them with what the detector found there, and fits the share of right boxes as a curve that
never falls (isotonic regression). Training then counts each example by how likely it
shows an animal at all.

A box is right if it shares at least --iou of its area, as intersection over union, with a
drawn box of the same kind (animal, person, vehicle; a group is an animal); each drawn box
is found once, by the surest. Only images count whose boxes are all drawn, be there none, and
only boxes of the detections JSON: fit with the lowest threshold that training will see.

Reads   detections JSON     of the detector
        drawn boxes         COCO Camera Traps JSON, also .gz or .zip (its bounding-box
                            file, where there is one apart), or a detections JSON whose
                            boxes people drew
Writes  calibration .npz    -o: for train_classifier --weight-by-detection-conf

Example:
    python fit_detector_calibration.py detections.json caltech_bboxes.json \
        --output md_isotonic_calibration.npz
"""

from __future__ import annotations

import argparse
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from classification.artifacts import detections, detector_calibration, kinds
from classification.artifacts.queried_images import QueriedBox
from classification.megadb import box_categories
from classification.runtime import cli, outputs
from classification.runtime.errors import ArtifactError, ConfigurationError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from classification.artifacts.detections import DetectionsFile, Header
    from classification.artifacts.detector_calibration import DetectorCalibration
    from detection.records import ImageDetections

    Drawn = Mapping[str, Sequence[QueriedBox]]

_COCO_KEY = b'"annotations"'
_CHUNK_BYTES = 1 << 20

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    detections_json: Path
    drawn_boxes: Path
    output: Path
    iou: float
    overwrite: bool
    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("fit_detector_calibration", __doc__)
    parser.add_argument("detections_json", type=Path, help="what the detector found")
    parser.add_argument(
        "drawn_boxes",
        type=Path,
        help="COCO Camera Traps JSON, or a detections JSON whose boxes people drew; "
        "names of images as in detections_json",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=outputs.file(kinds.NPZ),
        default=Path(detector_calibration.FILENAME),
        help="calibration .npz to write (default: %(default)s)",
    )
    parser.add_argument(
        "--iou",
        type=cli.fraction,
        default=0.5,
        help="least intersection over union of a box that is right (default: 0.5)",
    )
    return parser


def run(detections_json: Path, drawn_boxes: Path, output: Path, *, iou: float) -> None:
    """Fits a calibration and writes it.

    Args:
        detections_json: of the detector.
        drawn_boxes: COCO Camera Traps JSON or detections JSON.
        output: calibration to write.
        iou: least intersection over union of a box that is right.

    Raises:
        ArtifactError: a file is missing or malformed.
        ConfigurationError: the two files share no image, or there is no box to fit.
    """
    from classification.dataset import detector_fit  # noqa: PLC0415 - imports NumPy

    drawn = _read_drawn(drawn_boxes)
    file = detections.open_file(detections_json)
    verdicts = Verdicts()
    for image in _looked_at(file):
        if image.file in drawn:
            found = _found(image, file.header)
            boxes = [box for box, _ in found]
            verdicts.right += detector_fit.judge(boxes, drawn[image.file], iou=iou)
            verdicts.confidences += [confidence for _, confidence in found]
            verdicts.images += 1
    _refuse_nothing(verdicts, file, drawn, drawn_boxes)
    fitted = detector_fit.fit(verdicts.confidences, verdicts.right)
    detector_calibration.write(output, fitted)
    _report(verdicts, fitted, file, output)


@dataclass
class Verdicts:
    """What was found in the images whose boxes are drawn.

    Attributes:
        images: their number.
        confidences: of each box that a detector found.
        right: whether it is.
    """

    images: int = 0
    confidences: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)


def _read_drawn(path: Path) -> Drawn:
    """Returns the drawn boxes of each image that has all of them."""
    if path.suffix in {".gz", ".zip"} or _is_coco(path):
        from classification.megadb import drawn_boxes  # noqa: PLC0415 - needs DuckDB

        return drawn_boxes.read(path)
    file = detections.open_file(path)
    return {
        image.file: [box for box, _ in _boxes(image, file.header)]
        for image in _looked_at(file)
    }


def _is_coco(path: Path) -> bool:
    """Says whether a JSON file has the key that detections JSON lacks."""
    before = b""
    with in_file(path), _opened(path) as file:
        while block := file.read(_CHUNK_BYTES):
            if _COCO_KEY in before + block:
                return True
            before = block[-len(_COCO_KEY) :]
    return False


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ArtifactError(f"cannot read: {error.strerror}") from error


def _looked_at(file: DetectionsFile) -> Iterator[ImageDetections]:
    return (image for image in file.images() if image.detections is not None)


def _boxes(image: ImageDetections, header: Header) -> list[tuple[QueriedBox, float]]:
    """Returns the boxes that hold something, with their confidences."""
    named = [
        (box_categories.categorize(header.detection_categories[box.category]), box)
        for box in image.detections or ()
    ]
    return [
        (QueriedBox(name, box.bbox), 1.0 if box.conf is None else box.conf)
        for name, box in named
        if name is not None
    ]


def _found(image: ImageDetections, header: Header) -> list[tuple[QueriedBox, float]]:
    """Returns the boxes of a detector, the surest first."""
    # A box below 0 was taken back, and no threshold takes it.
    boxes = [pair for pair in _boxes(image, header) if pair[1] >= 0]
    return sorted(boxes, key=lambda pair: -pair[1])


def _refuse_nothing(
    verdicts: Verdicts, file: DetectionsFile, drawn: Drawn, path: Path
) -> None:
    if not verdicts.images:
        found = next((image.file for image in _looked_at(file)), None)
        raise ConfigurationError(
            f"{file.path} and {path} have no image in common; the first of each: "
            f"{found!r}, {next(iter(drawn), None)!r}"
        )
    if not verdicts.confidences:
        raise ConfigurationError(
            f"{file.path} has no box in the {verdicts.images} images whose boxes are drawn"
        )


def _report(
    verdicts: Verdicts,
    fitted: DetectorCalibration,
    file: DetectionsFile,
    output: Path,
) -> None:
    _logger.info(
        "wrote %s: %d points from %d boxes in %d images, %d boxes right; confidences from "
        "%g to %g stand for %.2f to %.2f; %d images without drawn boxes left out",
        output,
        len(fitted.x),
        len(verdicts.right),
        verdicts.images,
        sum(verdicts.right),
        fitted.x[0],
        fitted.x[-1],
        fitted.y[0],
        fitted.y[-1],
        file.image_count - verdicts.images,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if not args.iou:
        parser.error("--iou: with 0, boxes that lie apart would be right")
    return cli.exit_code(
        run, args.detections_json, args.drawn_boxes, args.output, iou=args.iou
    )


if __name__ == "__main__":
    raise SystemExit(main())
