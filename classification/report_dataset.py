"""Shows a training set on one HTML page: what is in it, and what may be wrong with it.

What matters most comes first: labels with little or nothing in a split, crops that look
the same in two splits, sequences that were torn apart, crops that cannot be read. Then,
label by label: crops and locations in each split, some crops, day and night, sequences
and hours, how sure the detector was, how crops spread over locations and datasets.

Every crop is opened once, to find near-duplicates (by a perceptual hash) and the grey
frames that cameras take at night; --no-pixels opens those alone that are shown. With
--megadb sequences, days and hours are told, as far as the metadata store knows them.

Reads   BASE_LOGDIR     classification_ds.csv and splits.json of
                        create_classification_dataset
        CROPS           the crops
        metadata store  --megadb: of import_metadata
        splits.json     --compare-splits: of another training set
Writes  HTML page       --output: one file, with all pictures in it
        step log        in --logdir: the crops that cannot be read, and why

Example:
    python report_dataset.py run crops --megadb megadb
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import kinds, step_log
from classification.artifacts.step_log import StepLog
from classification.reports import dataset_figures, dataset_page, render
from classification.reports.dataset_figures import Options, Source
from classification.runtime import cli, outputs, parallel
from classification.runtime.errors import ConfigurationError
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.reports.dataset_figures import Figures

STEP = "report_dataset"
FILENAME = "dataset_report.html"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    base_logdir: Path
    crops: Path
    output: Path
    megadb: Path | None
    compare_splits: Path | None
    crops_per_label: int
    thumbnails: int
    no_pixels: bool
    seed: int
    threads: int
    logdir: Path
    max_failures: int | None
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the step ends.

    Attributes:
        logdir: folder for the log.
        max_failures: more unreadable crops than this end it with exit code 4; None
            for no limit.
    """

    logdir: Path
    max_failures: int | None = None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    parser.add_argument(
        "base_logdir", type=Path, help="folder of classification_ds.csv and splits.json"
    )
    parser.add_argument("crops", type=Path, help="root folder of the crops")
    parser.add_argument(
        "-o",
        "--output",
        type=outputs.file(kinds.PAGE, default=lambda args: args.base_logdir / FILENAME),
        metavar="HTML",
        help=f"page to write (default: {FILENAME} in BASE_LOGDIR)",
    )
    cli.add_megadb(parser, "metadata store that knows sequences and times")
    parser.add_argument(
        "--compare-splits",
        type=Path,
        metavar="JSON",
        help="another splits.json, to compare which locations are in which split",
    )
    parser.add_argument(
        "--crops-per-label",
        type=cli.non_negative_int,
        default=Options.crops_per_label,
        metavar="N",
        help="how many crops of each label to show (default: %(default)s)",
    )
    parser.add_argument(
        "--thumbnails",
        type=cli.non_negative_int,
        default=Options.thumbnails,
        metavar="N",
        help="the most pictures on the page; one takes some 5 KB (default: %(default)s)",
    )
    parser.add_argument(
        "--no-pixels",
        action="store_true",
        help="open only the crops that are shown; near-duplicates, day and night are "
        "left out",
    )
    parser.add_argument(
        "--seed",
        type=cli.non_negative_int,
        default=Options.seed,
        help="of the crops that are drawn to be shown (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=cli.positive_int,
        default=parallel.cores(),
        help="threads that decode crops (default: %(default)s)",
    )
    parser.add_argument(
        "--logdir",
        type=outputs.folder(default=lambda args: args.base_logdir),
        help="folder for the log (default: BASE_LOGDIR)",
    )
    cli.add_max_failures(parser)
    return parser


def run(source: Source, options: Options, *, output: Path, settings: Settings) -> None:
    """Makes the page.

    Raises:
        ArtifactError: a file of the training set or the store is missing or malformed.
        ConfigurationError: there is no folder of crops, no crop in the training set, or
            the store is another's.
        TooManyFailuresError: more crops than allowed cannot be read; the page is there.
    """
    if not source.store.root.is_dir():
        raise ConfigurationError(f"no such folder: {source.store.root}, the crops")
    log = StepLog(step=STEP, options=_told(options))
    figures = dataset_figures.collect(source, options)
    _, per_label = dataset_figures.plan(options, len(figures.columns.labels))
    page = dataset_page.page(
        figures,
        name=source.dataset_dir.resolve().name,
        per_label=per_label,
        wanted_per_label=options.crops_per_label,
    )
    render.write(output, dataset_page.TEMPLATE, page, scripts=dataset_page.SCRIPTS)
    _finish(figures, log, output=output, settings=settings)


def _told(options: Options) -> dict[str, object]:
    return {
        "crops_per_label": options.crops_per_label,
        "thumbnails": options.thumbnails,
        "pixels": options.pixels,
        "seed": options.seed,
    }


def _finish(
    figures: Figures, log: StepLog, *, output: Path, settings: Settings
) -> None:
    """Writes the log, says what was done, and ends the step."""
    crops, failed = len(figures.columns), len(figures.failures)
    opened = crops if figures.looks is not None else len(figures.pictures)
    log.failures += figures.failures
    log.counts |= {"crops": crops, "opened": opened, "unreadable": failed}
    if figures.duplicates is not None:
        log.counts["near_duplicate_pairs"] = figures.duplicates.total
    log_path = step_log.write(settings.logdir, log)
    _logger.info(
        "wrote %s: %d crops of %d labels, %d pictures; %d of %d opened crops cannot be "
        "read; log: %s",
        output,
        crops,
        len(figures.columns.labels),
        len(figures.pictures),
        failed,
        opened,
        log_path,
    )
    cli.check_failures(failed, opened, settings.max_failures)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        _source(args),
        _options(args),
        output=args.output,
        settings=Settings(logdir=args.logdir, max_failures=args.max_failures),
    )


def _source(args: Arguments) -> Source:
    return Source(
        dataset_dir=args.base_logdir,
        store=LocalStore(args.crops),
        megadb=args.megadb,
        other_splits=args.compare_splits,
        work_dir=args.logdir,
    )


def _options(args: Arguments) -> Options:
    return Options(
        seed=args.seed,
        crops_per_label=args.crops_per_label,
        thumbnails=args.thumbnails,
        pixels=not args.no_pixels,
        threads=args.threads,
    )


if __name__ == "__main__":
    raise SystemExit(main())
