"""Measures a classifier on the splits of its training set.

Reads params.json of a training run, the training set and the crops that it names, and a
model: a checkpoint, a TorchScript file, or an exported model (.onnx or .pt beside its
.manifest.json). Paths in params.json are as they were given to train_classifier; where
the data has moved, --dataset-dir and --cropped-images-dir say where it is now.

Writes into the output folder, split by split:
  outputs_{split}.csv.gz  each crop's label, weight and probability of every label
  overall_metrics.csv     loss, top-1 and top-3 accuracy, plain and weighted
  label_stats.csv         precision and recall of each label
  location_stats.csv      accuracy at each location
  confusion_matrices.npz  what is taken for what
  metrics.json            macro-F1, balanced accuracy, calibration error, accuracy along
                          the taxonomy, each with an interval from locations drawn anew
and evaluate_model_log_<time>.json, which names the crops that could not be read. Beside a
checkpoint, <checkpoint>_compiled.pt (TorchScript) is kept for other programs; without
--splits that is all that is done.

A classifier of other labels is measured by --target-mapping, which says which of its
categories make up each label of the training set, and --label-index, which names its
categories.

Example:
  evaluate_model.py run/params.json run/ckpt_14.pt --output-dir run --splits train val test
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import (
    confusion_matrices,
    evaluation,
    kinds,
    label_index,
    label_spec,
    label_stats,
    location_stats,
    overall_metrics,
    predictions,
    run_params,
    step_log,
    target_mapping,
    taxonomy_csv,
)
from classification.artifacts.evaluation import Bootstrap
from classification.artifacts.step_log import StepLog
from classification.cropping.images import DEFAULT_MAX_PIXELS
from classification.dataset import training_set
from classification.dataset.counts import SPLITS
from classification.labels import judging, kinship
from classification.labels.wording import some_of
from classification.modeling import evaluating, manifest, trained
from classification.modeling.inference import Resources
from classification.modeling.trained import Subject
from classification.runtime import atomic, cli, locking, outputs, parallel
from classification.runtime.errors import ConfigurationError, in_file
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.artifacts.run_params import RunParams
    from classification.dataset.training_set import TrainingSet
    from classification.labels.judging import Judged
    from classification.labels.kinship import Kinship
    from classification.modeling.evaluating import Found
    from classification.modeling.inference import Classifier

STEP = "evaluate_model"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    params_json: Path
    ckpt_path: Path
    output_dir: Path
    splits: list[str]
    target_mapping: Path | None
    label_index: Path | None
    model_name: str | None
    batch_size: int | None
    num_workers: int
    dataset_dir: Path | None
    cropped_images_dir: Path | None
    label_weighted: bool | None
    taxonomy_csv: Path | None
    label_spec: Path | None
    bootstrap: int
    seed: int
    device: str
    trust_model: bool
    no_calibration: bool
    max_pixels: int
    max_failures: int | None
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and how; None where params.json says it.

    Attributes:
        splits: in the order of the tables; none for the TorchScript file alone.
        dataset_dir: holds the training set.
        cropped_images_dir: holds the crops.
        label_weighted: whether all labels count the same in weighted metrics.
        model_name: architecture.
        target_mapping: categories of each label.
        label_index: names of the classifier's categories.
        taxonomy_csv: of the labels.
        label_spec: what the labels stand for.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        trust_model: load TorchScript with torch, which runs whatever it says.
        calibrate: let an exported model's calibration act.
        max_failures: more failed crops than this end the run with exit code 4.
        measuring: how probabilities become numbers.
    """

    splits: tuple[str, ...] = ()
    dataset_dir: Path | None = None
    cropped_images_dir: Path | None = None
    label_weighted: bool | None = None
    model_name: str | None = None
    target_mapping: Path | None = None
    label_index: Path | None = None
    taxonomy_csv: Path | None = None
    label_spec: Path | None = None
    device: str = "auto"
    trust_model: bool = False
    calibrate: bool = True
    max_failures: int | None = None
    measuring: evaluating.Options


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    parser.add_argument("params_json", type=Path, help="params.json of a training run")
    parser.add_argument(
        "ckpt_path",
        type=Path,
        help="checkpoint, TorchScript file, or exported model (.onnx or .pt beside its "
        "manifest)",
    )
    parser.add_argument(
        "-o",
        "--output-dir",
        type=outputs.Output(files=_written, is_folder=True),
        required=True,
        help="folder to write into",
    )
    parser.add_argument(
        "--splits",
        nargs="*",
        choices=SPLITS,
        default=[],
        help="splits to measure, in this order (default: none)",
    )
    _add_judging(parser)
    _add_overrides(parser)
    cli.add_device(parser)
    parser.add_argument(
        "--trust-model",
        action="store_true",
        help="load a TorchScript file with torch, which runs whatever is in it; only for "
        "a file you made or whose maker you trust",
    )
    parser.add_argument(
        "--no-calibration",
        action="store_true",
        help="measure the probabilities as the network gives them, though the model is "
        "calibrated",
    )
    parser.add_argument(
        "--max-pixels",
        type=cli.positive_int,
        default=DEFAULT_MAX_PIXELS,
        help="skip crops of more pixels, width times height (default: %(default)s)",
    )
    cli.add_max_failures(parser)
    return parser


def _written(folder: Path, args: Arguments) -> outputs.Files:
    """Returns the files of fixed names that are written, with their kinds."""
    compiled = trained.compiled_path(args.ckpt_path)
    labels = {label_index.FILENAME: kinds.LABEL_INDEX} if args.target_mapping else {}
    kind_by_name = labels | {
        overall_metrics.FILENAME: kinds.OVERALL_METRICS,
        label_stats.FILENAME: kinds.LABEL_STATS,
        location_stats.FILENAME: kinds.LOCATION_STATS,
        confusion_matrices.FILENAME: kinds.NPZ,
        evaluation.FILENAME: kinds.EVALUATION,
        **{predictions.outputs_name(one): kinds.PREDICTIONS for one in args.splits},
    }
    return {
        compiled: kinds.MODEL,
        manifest.path_beside(compiled): kinds.MANIFEST,
        **{folder / name: kind for name, kind in kind_by_name.items()},
    }


def _add_judging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target-mapping",
        type=Path,
        help="target mapping JSON: which of the classifier's categories make up each "
        "label of the training set; needs --label-index",
    )
    parser.add_argument(
        "--label-index",
        type=Path,
        help="label index JSON with the names of the classifier's categories; needs "
        "--target-mapping",
    )
    parser.add_argument(
        "--taxonomy-csv",
        type=Path,
        help="taxonomy CSV: tell how often a wrong label is a higher taxon of the right "
        "one, and how often the family, order, ... is right; needs --label-spec",
    )
    parser.add_argument(
        "--label-spec",
        type=Path,
        help="label specification JSON of the training set's labels; needs "
        "--taxonomy-csv",
    )
    parser.add_argument(
        "--bootstrap",
        type=cli.non_negative_int,
        default=Bootstrap().replicates,
        metavar="N",
        help="draw locations N times for the intervals of metrics.json (default: "
        "%(default)s; 0: no intervals)",
    )
    parser.add_argument(
        "--seed",
        type=cli.non_negative_int,
        default=Bootstrap().seed,
        help="of these draws (default: %(default)s)",
    )


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-m",
        "--model-name",
        help="architecture, such as efficientnet-b3 (default: the checkpoint's, else "
        "that of params.json)",
    )
    parser.add_argument(
        "--batch-size",
        type=cli.positive_int,
        help="crops classified at a time (default: 16, on a GPU 64)",
    )
    cli.add_num_workers(parser)
    parser.add_argument(
        "--dataset-dir",
        type=Path,
        help="folder of the training set's three files (default: that of params.json)",
    )
    parser.add_argument(
        "--cropped-images-dir",
        type=Path,
        help="folder that holds the crops (default: that of params.json)",
    )
    parser.add_argument(
        "--label-weighted",
        action=argparse.BooleanOptionalAction,
        help="let all labels count the same in the weighted metrics (default: as "
        "params.json says)",
    )


def run(params_json: Path, ckpt_path: Path, output_dir: Path, options: Options) -> None:
    """Measures a classifier.

    Raises:
        ArtifactError: a file is missing or breaks its format.
        ConfigurationError: the classifier, the labels and the mapping do not belong
            together, or a folder of params.json is not there.
        ModelError: the model is missing, damaged or refused.
        StorageError: nothing can be written into the output folder, or another run does.
        TooManyFailuresError: see ``cli.check_failures``.
    """
    params = run_params.read(params_json)
    dataset_dir = options.dataset_dir or Path(params.dataset_dir)
    crops_dir = options.cropped_images_dir or Path(params.cropped_images_dir)
    if options.splits:
        _refuse_missing(dataset_dir, "dataset_dir")
        _refuse_missing(crops_dir, "cropped_images_dir")
        atomic.check_writable(output_dir)
        if options.target_mapping and output_dir.samefile(dataset_dir):
            raise ConfigurationError(
                f"{output_dir} is the training set's folder, whose "
                f"{label_index.FILENAME} would be written over; name another --output-dir"
            )
    subject = Subject(
        path=ckpt_path,
        params=params,
        labels=lambda: label_index.read(dataset_dir / label_index.FILENAME),
        model_name=options.model_name,
        names=label_index.read(options.label_index) if options.label_index else None,
        trust=options.trust_model,
        calibrate=options.calibrate,
    )
    resources = Resources(device=options.device, threads=parallel.cores())
    classifier = trained.open_subject(subject, resources)
    compiled = trained.keep_compiled(subject, classifier)
    if not options.splits:
        _logger.info("%s; no --splits to measure", compiled or "nothing to compile")
        return
    log = _open_log(params_json, subject, classifier, options)
    if changed := run_params.find_changed(params, dataset_dir):
        note = (
            f"{', '.join(changed)} changed since the network was trained, which may have "
            "learnt from crops of val and test"
        )
        _logger.warning("%s: %s", dataset_dir, note)
        log.notes.append(("training set", note))
    examples = _read_examples(dataset_dir, params, options)
    store = LocalStore(crops_dir)
    with locking.only_run(output_dir, STEP):
        found = _measure(classifier, examples, store, output_dir, options)
        log.failures += found.failures
        log.notes += found.notes
        log.counts |= {"crops": found.crops, "failed": len(found.failures)}
        path = step_log.write(output_dir, log)
    _logger.info(
        "%d crops, %d failed; wrote %s; log: %s",
        found.crops,
        len(found.failures),
        output_dir,
        path,
    )
    cli.check_failures(len(found.failures), found.crops, options.max_failures)


def _read_examples(
    dataset_dir: Path, params: RunParams, options: Options
) -> TrainingSet:
    weighted = options.label_weighted
    examples = training_set.read(
        dataset_dir,
        label_weighted=params.label_weighted if weighted is None else weighted,
    )
    for note in examples.notes():
        _logger.warning("%s", note)
    return examples


def _measure(
    classifier: Classifier,
    examples: TrainingSet,
    store: LocalStore,
    output_dir: Path,
    options: Options,
) -> Found:
    judged = _judge(classifier, examples.labels, options)
    kin = _relate(judged.labels, options)
    if len(judged.labels) > len(examples.labels):
        label_index.write(output_dir / label_index.FILENAME, judged.labels, indent=None)
    return evaluating.evaluate(
        classifier,
        examples,
        options.splits,
        output_dir,
        store=store,
        options=options.measuring,
        judged=judged,
        kinship=kin,
    )


def _refuse_missing(folder: Path, key: str) -> None:
    if not folder.is_dir():
        flag = "--" + key.replace("_", "-")
        raise ConfigurationError(
            f"{key}: no such folder: {folder}; {flag} says where it is now"
        )


def _judge(classifier: Classifier, labels: tuple[str, ...], options: Options) -> Judged:
    """Says what the categories stand for, and tells what stands for nothing."""
    if options.target_mapping is None:
        return judging.as_labels(classifier.categories, labels)
    mapping = target_mapping.read(options.target_mapping)
    judged = judging.as_targets(classifier.categories, labels, mapping)
    if judged.silent:
        _logger.warning(
            "no category of the classifier stands for %s: their crops count as wrong",
            some_of(judged.silent),
        )
    if judged.ignored:
        _logger.warning(
            "%d categories stand for no label and are left out: %s",
            len(judged.ignored),
            some_of(judged.ignored),
        )
    return judged


def _relate(labels: Sequence[str], options: Options) -> Kinship | None:
    if options.taxonomy_csv is None or options.label_spec is None:
        return None
    taxonomy = taxonomy_csv.read(options.taxonomy_csv)
    specs = label_spec.read(options.label_spec)
    with in_file(options.label_spec):
        related = kinship.relate(labels, specs, taxonomy)
    for note in related.notes:
        _logger.warning("%s: %s", options.label_spec, cli.one_line(note))
    return related


def _open_log(
    params_json: Path, subject: Subject, classifier: Classifier, options: Options
) -> StepLog:
    return StepLog(
        step=STEP,
        options={
            "params_json": str(params_json),
            "model": str(subject.path),
            "model_sha256": classifier.fingerprint,
            "image_size": classifier.preprocessing.image_size,
            "device": classifier.device,
            "splits": list(options.splits),
            "calibrated": classifier.calibration is not None,
            "target_mapping": options.target_mapping and str(options.target_mapping),
        },
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    _refuse_half(parser, args, "target_mapping", "label_index")
    _refuse_half(parser, args, "taxonomy_csv", "label_spec")
    return cli.exit_code(
        run,
        args.params_json,
        args.ckpt_path,
        args.output_dir,
        Options(
            splits=tuple(dict.fromkeys(args.splits)),
            dataset_dir=args.dataset_dir,
            cropped_images_dir=args.cropped_images_dir,
            label_weighted=args.label_weighted,
            model_name=args.model_name,
            target_mapping=args.target_mapping,
            label_index=args.label_index,
            taxonomy_csv=args.taxonomy_csv,
            label_spec=args.label_spec,
            device=args.device,
            trust_model=args.trust_model,
            calibrate=not args.no_calibration,
            max_failures=args.max_failures,
            measuring=evaluating.Options(
                batch_size=args.batch_size,
                workers=min(args.num_workers, parallel.cores()),
                max_pixels=args.max_pixels,
                bootstrap=Bootstrap(replicates=args.bootstrap, seed=args.seed),
            ),
        ),
    )


def _refuse_half(
    parser: argparse.ArgumentParser, args: Arguments, one: str, other: str
) -> None:
    """Ends with a usage error where one of two options is there alone."""
    if (getattr(args, one) is None) != (getattr(args, other) is None):
        flags = [name.replace("_", "-") for name in (one, other)]
        parser.error(f"--{flags[0]} and --{flags[1]} go together")


if __name__ == "__main__":
    raise SystemExit(main())
