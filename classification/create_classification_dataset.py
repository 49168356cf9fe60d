"""Makes a training set out of crops, and splits it by location.

Reads:
  OUTPUT_DIR/queried_images.json of json_validator (or --queried-images-json)
  the detection cache and the crops of detect_and_crop
Writes into OUTPUT_DIR, with --mode csv:
  classification_ds.csv           one row for each crop
  label_index.json                the labels and their numbers
  classification_ds_left_out.csv  images and crops that are not in it, and why
and with --mode splits, out of classification_ds.csv:
  splits.json           the locations of train, val and test
  splits_summary.csv    crops and locations of each label in each split; also on stdout

All crops of a location are in one split. --method balanced, the default, puts each label
into every split wherever the locations allow it, and names the labels that block each
other; then it brings each label's crops as near as it can to the fractions asked for.

Example:
  create_classification_dataset.py run --cropped-images-dir crops --detector-output-cache-dir mdcache --detector-version 4.1 --threshold 0.8 --val-frac 0.2 --test-frac 0.2
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import (
    crops_left_out,
    dataset_csv,
    detection_cache,
    label_index,
    label_spec,
    layout,
    queried_images,
    split_summary,
    splits,
    step_log,
)
from classification.artifacts.left_out import LeftOut
from classification.cropping.existing import ExistingCrops
from classification.cropping.wanted import animal_categories
from classification.dataset import counting, rows
from classification.dataset.counts import Fractions
from classification.runtime import cli, progress, tables
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from classification.artifacts.dataset_csv import CropRow
    from classification.artifacts.splits import Location
    from classification.artifacts.step_log import StepLog
    from classification.dataset.splitting import Choice

STEP = "create_classification_dataset"
CSV, SPLITS = "csv", "splits"
METHODS = ("balanced", "random", "smallest_first")
_FEW_LOCATIONS = 3
_NOTHING = 1e-9

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    output_dir: Path
    mode: list[str]
    match_test: tuple[Path, Path] | None
    queried_images_json: Path | None
    cropped_images_dir: Path | None
    detector_output_cache_dir: Path | None
    detector_version: str | None
    threshold: float
    min_locs: int | None
    val_frac: float | None
    test_frac: float | None
    method: str
    label_spec: Path | None
    seed: int
    logdir: Path | None
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the table of crops is made of.

    Attributes:
        queried_images: the images.
        crops_dir: root of the crops.
        cache_dir: the detection cache.
        detector_version: names the folder of the cache, and crops.
        threshold: least confidence of a detector's box, in [0, 1].
        min_locs: labels at fewer locations are dropped; None for no limit.
    """

    queried_images: Path
    crops_dir: Path
    cache_dir: Path
    detector_version: str
    threshold: float
    min_locs: int | None


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """How locations are given to splits.

    Attributes:
        fractions: what each split is to hold.
        method: one of ``METHODS``.
        label_spec: whose ``prioritize`` says which datasets to test on, or None.
        seed: of the random numbers.
    """

    fractions: Fractions
    method: str
    label_spec: Path | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Match:
    """A test set that is taken over from another training set.

    Attributes:
        rows: its table of crops.
        test: its test locations.
    """

    rows: Path
    test: frozenset[Location]


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__)
    add = parser.add_argument
    add("output_dir", type=Path, help="folder of the training set's files")
    add(
        "--mode",
        nargs="+",
        choices=(CSV, SPLITS),
        default=[CSV, SPLITS],
        help="what to make (default: both)",
    )
    add(
        "--match-test",
        nargs=2,
        type=Path,
        metavar=("CSV", "SPLITS_JSON"),
        help="take over the test set of another training set: its classification_ds.csv "
        "and its splits.json; instead of --test-frac",
    )
    add("--logdir", type=Path, help="folder for the log (default: OUTPUT_DIR)")
    _add_csv(parser)
    _add_splits(parser)
    return parser


def _add_csv(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("--mode csv")
    add = group.add_argument
    add(
        "-q",
        "--queried-images-json",
        type=Path,
        help="the images (default: OUTPUT_DIR/queried_images.json)",
    )
    add("-c", "--cropped-images-dir", type=Path, help="root of the crops")
    add("-d", "--detector-output-cache-dir", type=Path, help="the detection cache")
    add(
        "-v",
        "--detector-version",
        help="names the folder of the cache, and crops (default: that of the cache "
        "where it holds a single one)",
    )
    add(
        "-t",
        "--threshold",
        type=cli.fraction,
        default=0.8,
        help="take a detector's boxes of at least this confidence (default: %(default)s; "
        "MegaDetector 5 wants about 0.2)",
    )
    add(
        "--min-locs",
        type=cli.positive_int,
        metavar="N",
        help="drop labels with crops at fewer than N locations",
    )


def _add_splits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("--mode splits")
    add = group.add_argument
    add("--val-frac", type=cli.fraction, help="share of val")
    add("--test-frac", type=cli.fraction, help="share of test")
    add(
        "--method",
        choices=METHODS,
        default=METHODS[0],
        help="how locations are given to splits: losing the fewest labels, by the best "
        "of 10,000 random trials, or rarest labels first (default: %(default)s)",
    )
    add(
        "--label-spec",
        type=Path,
        metavar="JSON",
        help="label specification, whose prioritize says which datasets each label is "
        "to be validated and tested on",
    )
    add("--seed", type=int, default=0, help="of random numbers (default: %(default)s)")


def run(
    output_dir: Path,
    *,
    sources: Sources | None,
    splitting: Splitting | None,
    match: tuple[Path, Path] | None,
    logdir: Path,
) -> None:
    """Makes the table of crops, the splits, or both.

    Raises:
        PipelineError: a file that is missing or breaks its format, or nothing to split.
    """
    taken_over = _read_match(match)
    log = step_log.StepLog(step=STEP, options={"output_dir": str(output_dir)})
    if sources:
        _make_csv(output_dir, sources, taken_over, log)
    if splitting:
        _make_splits(output_dir, splitting, taken_over, log)
    _logger.info("log: %s", step_log.write(logdir, log))


def _read_match(match: tuple[Path, Path] | None) -> Match | None:
    if match is None:
        return None
    return Match(rows=match[0], test=frozenset(splits.read(match[1]).test))


def _make_csv(
    output_dir: Path, sources: Sources, match: Match | None, log: StepLog
) -> None:
    skipped: list[tuple[str, str]] = []
    with dataset_csv.Spool(output_dir) as spool:
        own = _own_rows(sources, skipped)
        test = match.test if match else frozenset()
        spool.add(row for row in own if (row.dataset, row.location) not in test)
        dropped = _rare_labels(spool.rows(), sources.min_locs)
        labels: set[str] = set()
        kept = _kept_rows(spool.rows(), match, dropped, labels)
        count = dataset_csv.write(output_dir / dataset_csv.FILENAME, kept)
    label_index.write(output_dir / label_index.FILENAME, sorted(labels))
    with crops_left_out.writing(output_dir / crops_left_out.FILENAME) as table:
        table.writerows(LeftOut(_kind(why), item, why) for item, why in skipped)
    _log_csv(log, skipped, dropped, count)
    _logger.info(
        "%s: %d crops of %d labels; %d images and crops left out, see %s",
        output_dir / dataset_csv.FILENAME,
        count,
        len(labels),
        len(skipped),
        crops_left_out.FILENAME,
    )
    if dropped:
        _logger.info("--min-locs drops %s", ", ".join(sorted(dropped)))
    if not count:
        raise ConfigurationError(
            f"no crop is left; {output_dir / crops_left_out.FILENAME} says why of each"
        )


def _kind(reason: str) -> str:
    is_crop = reason == rows.NO_CROP
    return crops_left_out.CROP if is_crop else crops_left_out.IMAGE


def _log_csv(
    log: StepLog, skipped: Sequence[tuple[str, str]], dropped: Iterable[str], rows: int
) -> None:
    log.counts["crops"] = rows
    for _, reason in skipped:
        log.counts[reason] = log.counts.get(reason, 0) + 1
    log.extra["labels_dropped"] = sorted(dropped)


def _own_rows(sources: Sources, skipped: list[tuple[str, str]]) -> Iterator[CropRow]:
    file = queried_images.open_file(sources.queried_images)
    crops = ExistingCrops(sources.crops_dir)
    suffix = layout.training_suffix(sources.detector_version)
    dataset, boxes = None, _Found()
    shown = progress.track(file.images(), total=file.image_count, unit="images")
    for name, image in shown:
        if image.dataset != dataset:
            dataset, boxes = image.dataset, _find_boxes(sources, image.dataset)
        below = name[len(image.dataset) + 1 :]
        taken = rows.take(
            name, image, boxes.confident.get(below), suffix=suffix, crops=crops
        )
        if below in boxes.failed and image.boxes is None:
            skipped.append((name, rows.DETECTOR_FAILED))
        else:
            skipped += taken.left_out
        yield from taken.rows


class _Found:
    """What a detector found in a dataset.

    Attributes:
        confident: (index, confidence) of the animals it is sure enough of, by file.
        failed: files that it failed on.
    """

    def __init__(self) -> None:
        self.confident: dict[str, tuple[rows.Box, ...]] = {}
        self.failed: set[str] = set()


def _find_boxes(sources: Sources, dataset: str) -> _Found:
    found = _Found()
    file = detection_cache.find(sources.cache_dir, sources.detector_version, dataset)
    if file is None:
        return found
    animals = animal_categories(file.header.detection_categories)
    for image in file.images():
        if image.detections is None:
            found.failed.add(image.file)
            continue
        found.confident[image.file] = tuple(
            (index, box.conf if box.conf is not None else 1.0)
            for index, box in enumerate(image.detections)
            if box.category in animals
            and (box.conf is None or box.conf >= sources.threshold)
        )
    return found


def _rare_labels(found: Iterable[CropRow], min_locs: int | None) -> set[str]:
    if min_locs is None:
        return set()
    places = rows.labels_at(found)
    return {label for label, where in places.items() if len(where) < min_locs}


def _kept_rows(
    own: Iterable[CropRow], match: Match | None, dropped: set[str], labels: set[str]
) -> Iterator[CropRow]:
    """Yields the rows to write, and collects their labels."""
    for row in own:
        kept = rows.without_labels(row, dropped)
        if kept is not None:
            labels.update(kept.labels)
            yield kept
    if match is None:
        return
    for row in dataset_csv.read(match.rows):
        if (row.dataset, row.location) in match.test:
            labels.update(row.labels)
            yield row


def _make_splits(
    output_dir: Path, splitting: Splitting, match: Match | None, log: StepLog
) -> None:
    from classification.dataset.splitting import (  # noqa: PLC0415 - scipy takes a moment
        Method,
        choose,
    )

    path = output_dir / dataset_csv.FILENAME
    crops = counting.count_crops(dataset_csv.read(path))
    test = match.test if match else frozenset()
    if len(crops.keys() - test) < 2:  # noqa: PLR2004 - one location cannot be split
        raise ConfigurationError(
            f"{path}: all crops are of one location, so there is nothing to split; "
            "import_metadata --location-from day, sequence or folder makes several"
        )
    places = counting.group(crops)
    counts = counting.count_places(
        crops, places, test=test, datasets_by_label=_prioritized(splitting.label_spec)
    )
    choice = choose(
        counts,
        splitting.fractions,
        method=Method(splitting.method),
        seed=splitting.seed,
    )
    targets = _targets(splitting.fractions, test)
    summary = counting.summarize(counts, choice.split, targets)
    splits.write(output_dir / splits.FILENAME, counting.to_splits(places, choice.split))
    split_summary.write(output_dir / split_summary.FILENAME, summary)
    table = [split_summary.COLUMNS, *(row.cells() for row in summary)]
    sys.stdout.writelines(f"{line}\n" for line in tables.align(table))
    _say(choice, crops, log)
    _logger.info(
        "%s: %d locations; score %.4f; %d missing pairs of label and split",
        output_dir / splits.FILENAME,
        len(crops),
        choice.score,
        len(choice.missing),
    )


def _prioritized(path: Path | None) -> dict[str, tuple[str, ...]]:
    if path is None:
        return {}
    return {
        label: tuple(dataset for level in spec.prioritize for dataset in level)
        for label, spec in label_spec.read(path).items()
        if spec.prioritize
    }


def _targets(
    fractions: Fractions, test: Collection[Location]
) -> Mapping[str, float | None]:
    train, val, share = fractions.targets
    return {"train": train, "val": val, "test": None if test else share}


def _say(choice: Choice, crops: counting.Crops, log: StepLog) -> None:
    """Says which labels are not in every split, and why."""
    where: dict[str, int] = {}
    for counter in crops.values():
        for label in counter:
            where[label] = where.get(label, 0) + 1
    few = sorted(label for label, count in where.items() if count < _FEW_LOCATIONS)
    if few:
        _logger.info("at fewer than %d locations: %s", _FEW_LOCATIONS, ", ".join(few))
    for label, split in choice.missing:
        _logger.info("%s: no crop of %s", split, label)
    for group in choice.blocking:
        _logger.info("these block each other: %s", ", ".join(group))
    log.extra["missing"] = [list(pair) for pair in choice.missing]
    log.extra["blocking"] = [list(group) for group in choice.blocking]
    log.extra["labels_at_few_locations"] = few
    log.extra["fewest_missing_proven"] = choice.proven


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    _check(parser, args)
    return cli.exit_code(_run_with, args)


def _check(parser: argparse.ArgumentParser, args: Arguments) -> None:
    if CSV in args.mode and not (
        args.cropped_images_dir and args.detector_output_cache_dir
    ):
        parser.error(
            "--mode csv needs --cropped-images-dir and --detector-output-cache-dir"
        )
    if SPLITS not in args.mode:
        return
    if args.val_frac is None or (args.test_frac is None) == (args.match_test is None):
        parser.error("--mode splits needs --val-frac, and --test-frac or --match-test")
    if args.val_frac + (args.test_frac or 0) >= 1 - _NOTHING:
        parser.error("--val-frac and --test-frac leave nothing for train")


def _run_with(args: Arguments) -> None:
    match = tuple(args.match_test) if args.match_test else None
    run(
        args.output_dir,
        sources=_sources(args) if CSV in args.mode else None,
        splitting=_splitting(args) if SPLITS in args.mode else None,
        match=(match[0], match[1]) if match else None,
        logdir=args.logdir or args.output_dir,
    )


def _sources(args: Arguments) -> Sources:
    cache_dir = args.detector_output_cache_dir or Path()
    return Sources(
        queried_images=args.queried_images_json
        or args.output_dir / queried_images.FILENAME,
        crops_dir=args.cropped_images_dir or Path(),
        cache_dir=cache_dir,
        detector_version=args.detector_version or _only_version(cache_dir),
        threshold=args.threshold,
        min_locs=args.min_locs,
    )


def _only_version(cache_dir: Path) -> str:
    found = sorted(path.name[1:] for path in cache_dir.glob("v*") if path.is_dir())
    if len(found) != 1:
        raise ArtifactError(
            f"holds {', '.join(found) or 'no version'}; --detector-version says which",
            where=str(cache_dir),
        )
    return found[0]


def _splitting(args: Arguments) -> Splitting:
    return Splitting(
        fractions=Fractions(val=args.val_frac or 0.0, test=args.test_frac or 0.0),
        method=args.method,
        label_spec=args.label_spec,
        seed=args.seed,
    )


if __name__ == "__main__":
    raise SystemExit(main())
