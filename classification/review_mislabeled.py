r"""Makes a page on which a person says which labels are wrong.

The page is one file that opens in any browser, without a network: pictures, what each is
labelled, what the classifier says. Right, wrong and unsure are a key each, and the right
class is typed with completion. What was said stays in the browser until it is saved as a
CSV file, which save_mislabeled takes.

Candidates come from identify_mislabeled_candidates, likeliest to be wrong first; or from
a merged detections JSON, whose pictures are whole images with their boxes: a box's label
is its true label where the file tells it (merge_classification_detection_output --label),
and its best classification otherwise.

A correction names a class of the dataset. With --dataset-csv the page knows these, and
which of them the classifier's labels stand for; without it, it offers the labels.

Reads   mislabeled_candidates.csv   or a merged detections JSON
        crops, or images            the pictures; one that is missing is listed on the page
        classification_ds.csv       --dataset-csv
Writes  the page                    -o

Example:
    python review_mislabeled.py run/20261122_204715/mislabeled_candidates.csv crops \
        --dataset-csv run/classification_ds.csv -o review.html
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import kinds
from classification.reports import (
    render,
    review_candidates,
    review_detections,
    review_layout,
    review_page,
)
from classification.reports.review_detections import MOST_SUBJECTS, Rule
from classification.reports.review_layout import Layout
from classification.runtime import atomic, cli, outputs
from classification.runtime.errors import TooManyFailuresError
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.reports.review_page import Page, Queue

CROP_PX = 320
IMAGE_PX = 800
BOX_THRESHOLD = 0.2

_JSON = ".json"
_NAMED = 5
_MEGA = 1_000_000

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    candidates: Path
    crops: Path | None
    images_dir: Path | None
    output: Path
    dataset_csv: Path | None
    dataset: str
    threshold: float
    most: int | None
    skip: int
    picture_px: int | None
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, slots=True)
class Source:
    """What to review.

    Attributes:
        path: table of candidates, or detections JSON.
        pictures: folder of the crops, or of the images.
        rule: what to review of a detections JSON; None for a table.
    """

    path: Path
    pictures: Path
    rule: Rule | None = None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("review_mislabeled", __doc__)
    parser.add_argument(
        "candidates",
        type=Path,
        help="mislabeled_candidates.csv, or a merged detections JSON (.json)",
    )
    parser.add_argument(
        "crops",
        type=Path,
        nargs="?",
        help="folder of the crops that mislabeled_candidates.csv names",
    )
    parser.add_argument(
        "-i",
        "--images-dir",
        type=Path,
        metavar="DIR",
        help="folder of the images that a detections JSON names",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=outputs.file(kinds.PAGE),
        required=True,
        help="page to write, .html",
    )
    parser.add_argument(
        "--dataset-csv",
        type=Path,
        metavar="CSV",
        help="classification_ds.csv: what each dataset calls its animals",
    )
    _add_detections(parser)
    _add_size(parser)
    return parser


def _add_detections(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset",
        default="",
        metavar="NAME",
        help="dataset of a detections JSON whose images' names do not begin with one",
    )
    parser.add_argument(
        "-t",
        "--threshold",
        type=cli.fraction,
        default=BOX_THRESHOLD,
        help="least confidence of a box of a detections JSON (default: %(default)s)",
    )


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--most",
        type=cli.positive_int,
        metavar="N",
        help="at most N labels on the page (default: as many as fit into 25 MB)",
    )
    parser.add_argument(
        "--skip",
        type=cli.non_negative_int,
        default=0,
        metavar="N",
        help="leave out the first N, which an earlier page has (default: %(default)s)",
    )
    parser.add_argument(
        "--picture-px",
        type=cli.positive_int,
        metavar="PX",
        help=f"longer side of a picture (default: {CROP_PX}, of whole images {IMAGE_PX})",
    )


def run(source: Source, output: Path, *, layout: Layout) -> None:
    """Makes the page.

    Raises:
        ArtifactError: a file is missing or breaks its format.
        ConfigurationError: nothing in the detections JSON is classified.
        StorageError: the page cannot be written.
        TooManyFailuresError: the page is written, but without a single picture.
    """
    atomic.check_writable(output.parent)
    queue = (
        review_candidates.read(source.path)
        if source.rule is None
        else review_detections.read(source.path, source.rule)
    )
    page = review_layout.lay_out(queue, LocalStore(source.pictures), layout)
    render.write(output, review_page.TEMPLATE, page, scripts=review_page.SCRIPTS)
    _tell(page, queue, output)
    pictures = sum(len(entry.views) for entry in page.entries)
    if page.faults and len(page.faults) == pictures:
        raise TooManyFailuresError(
            f"none of {pictures} pictures can be shown; {source.pictures} holds no "
            f"{page.faults[0].sighting.name!r}, for one: {page.faults[0].fault}"
        )


def _tell(page: Page, queue: Queue, output: Path) -> None:
    for view in page.faults[:_NAMED]:
        _logger.warning("%s: %s", cli.one_line(view.sighting.name), view.fault)
    if page.left_out_count:
        _logger.info(
            "%d labels did not fit; --skip %d makes a page of the next ones",
            page.left_out_count,
            queue.count - page.left_out_count,
        )
    _logger.info(
        "wrote %s: %d of %d labels, %d pictures could not be shown; %.1f MB",
        output,
        len(page.entries),
        queue.count,
        len(page.faults),
        output.stat().st_size / _MEGA,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    source = _source(parser, args)
    side_px = args.picture_px or (CROP_PX if source.rule is None else IMAGE_PX)
    return cli.exit_code(
        run,
        source,
        args.output,
        layout=Layout(
            side_px=side_px,
            most=args.most,
            skip=args.skip,
            dataset_csv=args.dataset_csv,
        ),
    )


def _source(parser: argparse.ArgumentParser, args: Arguments) -> Source:
    """Tells the two kinds of input apart, and refuses what belongs to the other."""
    if args.candidates.suffix.lower() == _JSON:
        if args.images_dir is None or args.crops is not None:
            parser.error("a detections JSON needs --images-dir, and no folder of crops")
        most = MOST_SUBJECTS + args.skip
        rule = Rule(threshold=args.threshold, dataset=args.dataset, most=most)
        return Source(args.candidates, args.images_dir, rule)
    if args.crops is None or args.images_dir is not None or args.dataset:
        parser.error(
            "a table of candidates needs the folder of its crops, and neither "
            "--images-dir nor --dataset"
        )
    return Source(args.candidates, args.crops)


if __name__ == "__main__":
    raise SystemExit(main())
