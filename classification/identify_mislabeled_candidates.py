"""Lists crops whose label looks wrong, to be looked at by a person.

Reads   LOGDIR/outputs_<split>.csv.gz    of train_classifier or evaluate_model
        label_index.json in LOGDIR, or in the folder above: what the labels are
Writes  LOGDIR/mislabeled_candidates.csv the candidates of all splits, the worst first
        LOGDIR/mislabeled_candidates_<split>_<dataset>.txt
                                         their images, for download_images

margin               another label is more probable than the crop's own, by --margin or
                     more; the score is the difference
confident-learning   estimates how many crops of each label are wrong, and takes so many,
                     those first for whose label the probability is farthest below what is
                     normal for it (Northcutt et al., 2021); the score is how far

A crop for whose label the probability is the highest is never a candidate.

A network that learned a wrong label may repeat it, so look at crops that it was not taught:
the splits val and test, or, for all crops, folds, which train_classifier --folds writes.

Example:
  identify_mislabeled_candidates.py run/20261122_204715 --splits folds --method confident-learning
"""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn, get_args

import numpy as np

from classification.artifacts import (
    candidate_list,
    kinds,
    label_index,
    layout,
    mislabeled_candidates,
    predictions,
)
from classification.artifacts.mislabeled_candidates import Candidate
from classification.dataset.counts import SPLITS
from classification.labels import auditing
from classification.labels.merging import dataset_of
from classification.measuring import answers
from classification.runtime import cli, containment, locking, outputs
from classification.runtime.atomic import together
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    in_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.artifacts.predictions import PredictionsFile
    from classification.labels.auditing import Judge

Method = Literal["margin", "confident-learning"]

FOLDS = "folds"
_MARGIN = 0.5
_FIRST_ROW = 2  # row 1 is the header

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    logdir: Path
    splits: list[str]
    margin: float | None
    method: Method
    include_dataset_in_filename: bool
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to look for.

    Attributes:
        splits: whose crops.
        method: how labels are judged.
        margin: of the method of that name, in [0, 1].
        with_dataset: names in the lists of images begin with the dataset.
    """

    splits: Sequence[str]
    method: Method = "margin"
    margin: float = _MARGIN
    with_dataset: bool = False


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("identify_mislabeled_candidates", __doc__)
    add = parser.add_argument
    add(
        "logdir",
        type=outputs.folder({mislabeled_candidates.FILENAME: kinds.CANDIDATES}),
        help="run folder of train_classifier, or output folder of evaluate_model",
    )
    add(
        "--splits",
        nargs="+",
        choices=(*SPLITS, FOLDS),
        required=True,
        help="splits whose crops to judge",
    )
    add(
        "--method",
        choices=get_args(Method),
        default=Options.method,
        help="how to judge (default: %(default)s)",
    )
    add(
        "--margin",
        type=cli.fraction,
        help="least difference between the probabilities of another label and of the "
        f"crop's own (default: {_MARGIN})",
    )
    add(
        "-d",
        "--include-dataset-in-filename",
        action="store_true",
        help="let the names in the lists of images begin with the dataset",
    )
    return parser


def run(logdir: Path, options: Options) -> None:
    """Finds candidates and writes them.

    Raises:
        ArtifactError: a file is missing or breaks its format, or a crop's label is none
            of its columns.
        ConfigurationError: outputs and label index do not belong together.
    """
    splits = list(dict.fromkeys(options.splits))
    found = [_judge(logdir, split, options) for split in splits]
    candidates = [candidate for one in found for candidate in one.candidates]
    path = logdir / mislabeled_candidates.FILENAME
    with locking.exclusive(path), together():
        for one in found:
            _write_lists(logdir, one, with_dataset=options.with_dataset)
        mislabeled_candidates.write(path, candidates)
    counts = ", ".join(
        f"{one.split}: {len(one.candidates)} of {one.crops}" for one in found
    )
    _logger.info("%s: %d candidates (%s crops)", path, len(candidates), counts)


@dataclass
class _Found:
    """What was found in a split."""

    split: str
    crops: int = 0
    datasets: set[str] = field(default_factory=set)
    candidates: list[Candidate] = field(default_factory=list)


@dataclass(frozen=True)
class _Outputs:
    """The outputs of a split, whose crops are labelled with its columns."""

    file: PredictionsFile
    labels: tuple[str, ...]

    def rows(
        self,
    ) -> Iterator[tuple[list[str], NDArray[np.float64], NDArray[np.int64]]]:
        """Yields paths, probabilities and labels, batch by batch.

        Raises:
            ArtifactError: a crop's label is no column, or its name begins with no
                dataset; with its row.
        """
        id_by_label = {label: index for index, label in enumerate(self.labels)}
        first = _FIRST_ROW
        for batch in self.file.float64_batches():
            labels = batch.labels or []
            for row, (path, label) in enumerate(zip(batch.paths, labels, strict=True)):
                if label not in id_by_label or "/" not in path:
                    self._refuse(first + row, path, label)
            first += len(labels)
            ids = np.array([id_by_label[label] for label in labels], np.int64)
            yield batch.paths, batch.probabilities.clip(0, 1), ids

    def _refuse(self, row: int, path: str, label: str) -> NoReturn:
        with in_file(self.file.path):
            if "/" in path:
                raise ArtifactError(
                    f"{label!r} is no column of the file",
                    where=f"row {row}, column label",
                )
            raise ArtifactError(
                f"{path!r} does not begin with a dataset",
                where=f"row {row}, column path",
            )

    def batches(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Yields probabilities and labels."""
        return ((probabilities, labels) for _, probabilities, labels in self.rows())


def _open(logdir: Path, split: str) -> _Outputs:
    path = logdir / predictions.outputs_name(split)
    if split == FOLDS and not path.exists():
        raise ArtifactError(
            "missing; train_classifier --folds K writes it", where=str(path)
        )
    file = predictions.open_file(path)
    answers.check_labelled(file)
    known = label_index.find(logdir)
    if known is not None and set(label_index.read(known)) != set(file.categories):
        raise ConfigurationError(f"{path}: its columns are not the labels of {known}")
    return _Outputs(file, file.categories)


def _judge(logdir: Path, split: str, options: Options) -> _Found:
    outputs = _open(logdir, split)
    if split == "train":
        _logger.warning(
            "train: a network that learned from these crops repeats wrong labels; "
            "train_classifier --folds gives outputs of networks that did not"
        )
    judge = _make_judge(outputs, options)
    found = _Found(split)
    for paths, probabilities, labels in outputs.rows():
        found.crops += len(paths)
        found.datasets.update(map(dataset_of, paths))
        scores = judge(probabilities, labels)
        best = auditing.predicted(probabilities, labels)
        for row in np.flatnonzero(~np.isnan(scores)).tolist():
            own, other = int(labels[row]), int(best[row])
            found.candidates.append(
                Candidate(
                    paths[row],
                    dataset_of(paths[row]),
                    split,
                    outputs.labels[own],
                    outputs.labels[other],
                    float(probabilities[row, own]),
                    float(probabilities[row, other]),
                    float(scores[row]),
                )
            )
    return found


def _make_judge(outputs: _Outputs, options: Options) -> Judge:
    if options.method == "margin":
        return auditing.ByMargin(options.margin)
    return auditing.learn_confidence(outputs.batches, len(outputs.labels))


def _write_lists(logdir: Path, found: _Found, *, with_dataset: bool) -> None:
    images: dict[str, set[str]] = defaultdict(set)
    for candidate in found.candidates:
        image = layout.image_of(candidate.path)
        name = image if with_dataset else image.partition("/")[2]
        if candidate_list.is_line(name):
            images[candidate.dataset].add(name)
        else:
            _logger.warning("%s: a line break; in no list", cli.one_line(repr(name)))
    # Datasets are compared without case, and so are files on some disks.
    alike = containment.find_alike(sorted(found.datasets))
    for dataset, first in alike.items():
        images[first] |= images[dataset]
        _logger.warning("%s: listed with the images of %s", dataset, first)
    for dataset in sorted(found.datasets - alike.keys()):
        path = candidate_list.path_of(logdir, found.split, dataset)
        candidate_list.write(path, images[dataset])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if args.margin is not None and args.method != "margin":
        parser.error("--margin is for --method margin")
    return cli.exit_code(
        run,
        args.logdir,
        Options(
            splits=args.splits,
            method=args.method,
            margin=_MARGIN if args.margin is None else args.margin,
            with_dataset=args.include_dataset_in_filename,
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
