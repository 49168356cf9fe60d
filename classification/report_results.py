"""Shows how good a classifier is, as one HTML page that opens anywhere.

Reads what evaluate_model, or training at its end, left in a folder, and writes a page
that needs no network and no other file: numbers with their intervals, what is taken for
what (a click on a cell shows the crops), each label's precision and recall, what
probabilities are worth, the worst locations, accuracy by night and by size, and the surest
errors. With --compare it shows two runs side by side, and the crops that only one of them
gets right: a network before and after a change, or MegaClassifier, evaluated with a target
mapping, against a classifier of one's own.

Reads   outputs_{split}.csv.gz    every crop's label and probabilities
        label_index.json          of the folder or the one above
        metrics.json              intervals, where it is there
        confusion_matrices.npz    of splits whose outputs are gone
        params.json               where the crops and the training set are
        MODEL.manifest.json       with --manifest: the calibration
Writes  results_report.html

Example:
    python report_results.py run/20261122_204715 --manifest deer.manifest.json
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import dataset_csv, kinds, run_params
from classification.modeling import calibration, manifest
from classification.reports import render, results_assembly, results_plan
from classification.reports.evaluated import Calibration
from classification.reports.results_assembly import Source
from classification.reports.results_page import SCRIPTS, TEMPLATE
from classification.runtime import cli, outputs
from classification.runtime.errors import ConfigurationError
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.artifacts.run_params import RunParams

OUTPUT = "results_report.html"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    logdir: Path
    output: Path
    splits: list[str]
    compare: Path | None
    manifest: Path | None
    crops: Path | None
    dataset_dir: Path | None
    thumbnails: int
    sample: int
    seed: int
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to show; None where params.json says it.

    Attributes:
        output: the page.
        splits: names of those to show; empty for all.
        compare: folder of another evaluation, or None.
        manifest: whose calibration is shown, or None.
        crops: folder of the crops.
        dataset_dir: folder of the training set.
        thumbnails: pictures on the page, at most.
        sample: crops of each split that are looked at for their light and size.
        seed: of what is drawn.
    """

    output: Path
    splits: Sequence[str] = ()
    compare: Path | None = None
    manifest: Path | None = None
    crops: Path | None = None
    dataset_dir: Path | None = None
    thumbnails: int = results_plan.DEFAULT_THUMBNAILS
    sample: int = results_assembly.DEFAULT_SAMPLE
    seed: int = 0


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("report_results", __doc__)
    parser.add_argument(
        "logdir", type=Path, help="folder that evaluate_model wrote into"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=outputs.file(kinds.PAGE, default=lambda args: args.logdir / OUTPUT),
        metavar="HTML",
        help=f"the page (default: {OUTPUT} in the folder)",
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        default=[],
        metavar="SPLIT",
        help="splits to show, in this order (default: all there are, test first)",
    )
    parser.add_argument(
        "--compare",
        type=cli.existing_dir,
        metavar="OTHER_LOGDIR",
        help="folder of another evaluation of the same crops: tell what is better and "
        "what is worse now than there; it may have other labels, if what is true is the "
        "same",
    )
    parser.add_argument(
        "--manifest",
        type=cli.existing_file,
        metavar="JSON",
        help="manifest of the exported model, after calibrate_classifier: show the "
        "probabilities after calibration, too",
    )
    parser.add_argument(
        "--crops",
        type=cli.existing_dir,
        metavar="DIR",
        help="folder that holds the crops (default: that of params.json)",
    )
    parser.add_argument(
        "--dataset-dir",
        type=cli.existing_dir,
        metavar="DIR",
        help="folder of the training set, whose classification_ds.csv says where crops "
        "were taken (default: that of params.json)",
    )
    parser.add_argument(
        "--thumbnails",
        type=cli.non_negative_int,
        default=Options.thumbnails,
        metavar="N",
        help="pictures on the page, at most; each takes some 5 KB (default: %(default)s)",
    )
    parser.add_argument(
        "--sample",
        type=cli.non_negative_int,
        default=Options.sample,
        metavar="N",
        help="crops of each split, at most, that are opened to tell day from night and "
        "to measure them (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=cli.non_negative_int,
        default=Options.seed,
        help="of what is drawn (default: %(default)s)",
    )
    return parser


def run(logdir: Path, *, options: Options) -> None:
    """Makes the page.

    Raises:
        ArtifactError: a file is missing or breaks its format.
        ConfigurationError: files do not belong together.
        StorageError: a folder cannot be read or written.
    """
    params_json = logdir / run_params.FILENAME
    params = run_params.read(params_json) if params_json.exists() else None
    crops, dataset = _folders(params, options)
    page = results_assembly.assemble(
        Source(
            logdir=logdir,
            splits=tuple(options.splits),
            store=None if crops is None else LocalStore(crops),
            dataset_csv=None if dataset is None else dataset / dataset_csv.FILENAME,
            calibration=None
            if options.manifest is None
            else _calibration(options.manifest),
            other=options.compare,
            thumbnails=options.thumbnails,
            sample=options.sample,
            seed=options.seed,
            lead="" if params is None else f"A network of {params.model_name}.",
            notes=_lacking(crops, dataset) + _changed(params, dataset),
        )
    )
    render.write(options.output, TEMPLATE, page, scripts=SCRIPTS)
    for note in page.notes:
        _logger.warning("%s", note)
    _logger.info(
        "%s: %s; %d pictures, %d crops could not be read",
        options.output,
        ", ".join(f"{one.name} {one.crops} crops" for one in page.splits),
        page.thumbnails,
        page.gone,
    )


def _folders(
    params: RunParams | None, options: Options
) -> tuple[Path | None, Path | None]:
    """Returns the folders of crops and training set; None for one that is not there."""
    crops, dataset = options.crops, options.dataset_dir
    if params is not None:
        crops = crops or Path(params.cropped_images_dir)
        dataset = dataset or Path(params.dataset_dir)
    if crops is not None and not crops.is_dir():
        crops = None
    if dataset is not None and not (dataset / dataset_csv.FILENAME).is_file():
        if options.dataset_dir is not None:
            raise ConfigurationError(f"{dataset} holds no {dataset_csv.FILENAME}")
        dataset = None
    return crops, dataset


def _lacking(crops: Path | None, dataset: Path | None) -> tuple[str, ...]:
    notes = []
    if crops is None:
        notes.append("no pictures: --crops says where the crops are")
    if dataset is None:
        notes.append("crops without locations: --dataset-dir says where the set is")
    return tuple(notes)


def _changed(params: RunParams | None, dataset: Path | None) -> tuple[str, ...]:
    if params is None or dataset is None:
        return ()
    changed = run_params.find_changed(params, dataset)
    said = f"{', '.join(changed)} in {dataset} changed since the network was trained"
    return (said,) * bool(changed)


def _calibration(path: Path) -> Calibration:
    model = manifest.read(path)
    found = model.calibration
    if found is None:
        raise ConfigurationError(
            f"{path}: not calibrated; calibrate_classifier does that"
        )
    return Calibration(
        labels=model.labels,
        apply=partial(calibration.rescaled, found.scaling),
        title=str(found.scaling),
        outputs_sha256=found.outputs_sha256,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.logdir,
        options=Options(
            output=args.output,
            splits=args.splits,
            compare=args.compare,
            manifest=args.manifest,
            crops=args.crops,
            dataset_dir=args.dataset_dir,
            thumbnails=args.thumbnails,
            sample=args.sample,
            seed=args.seed,
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
