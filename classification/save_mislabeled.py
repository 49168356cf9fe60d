"""Keeps what a review of labels found, for all queries to come.

Reads   INPUT_CSV                                Timelapse's, or the review page's: columns
                                                 File, RelativePath, mislabeled, correct_class
Writes  CONTAINER_PATH/megadb_mislabeled/<dataset>.csv
                                                 images whose label is wrong, and what they
                                                 are; merged into what is there

Rows whose mislabeled is not true say nothing and are passed over. A row that says what is
known already is fine. One that contradicts it ends the run before anything is written, or,
with --overwrite, changes it. To take an image off a list, take its line out of the file.

json_validator --mislabeled-images CONTAINER_PATH/megadb_mislabeled corrects labels by these
files, or leaves images out whose right class nobody knows.

Example:
  save_mislabeled.py /path/to/classifier-training mislabeled_images.csv
"""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import mislabeled, timelapse_csv
from classification.labels import correcting
from classification.runtime import cli, containment, locking, outputs
from classification.runtime.atomic import check_writable, together
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    in_file,
)
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.labels.correcting import Merged

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    container_path: Path
    input_csv: Path
    overwrite: bool
    dry_run: bool
    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("save_mislabeled", __doc__, overwrite=False)
    parser.add_argument(
        "container_path",
        type=outputs.folder(),
        help=f"folder that holds, or shall hold, {mislabeled.FOLDER}",
    )
    parser.add_argument(
        "input_csv", type=Path, help="CSV of Timelapse or of the review page"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="let the CSV be right where it contradicts what is known",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would change, and write nothing",
    )
    return parser


@dataclass(frozen=True)
class _Change:
    """What a dataset's file becomes."""

    path: Path
    merged: Merged

    def __str__(self) -> str:
        """Says how many images changed."""
        merged = self.merged
        return (
            f"{len(merged.added)} added, {len(merged.changed)} changed, "
            f"{merged.unchanged} unchanged"
        )


def run(
    container_path: Path, input_csv: Path, *, overwrite: bool, dry_run: bool
) -> None:
    """Merges the findings of a review into the lists of wrong labels.

    Raises:
        ArtifactError: a file breaks its format, or the CSV contradicts itself.
        ConfigurationError: the CSV contradicts what is known.
        StorageError: another run is at it, or the folder cannot be written.
    """
    if not container_path.is_dir():
        raise ConfigurationError(f"no such folder: {container_path}")
    folder = container_path / mislabeled.FOLDER
    found = _read(input_csv)
    with nullcontext() if dry_run else locking.exclusive(folder):
        changes = _merge(folder, found, overwrite=overwrite)
        if not dry_run:
            _write(folder, changes)
    _tell(folder, changes, dry_run=dry_run)


def _read(input_csv: Path) -> dict[str, dict[str, str]]:
    """Returns the right class of each file, by dataset as it is written first."""
    name_by_key: dict[str, str] = {}
    found: dict[str, dict[str, str]] = defaultdict(dict)
    row_by_image: dict[tuple[str, str], int] = {}
    for image in timelapse_csv.read(input_csv):
        dataset = name_by_key.setdefault(normal(image.dataset), image.dataset)
        first = row_by_image.setdefault((dataset, image.file), image.row)
        said = found[dataset].setdefault(image.file, image.correct_class)
        if said != image.correct_class:
            with in_file(input_csv):
                raise ArtifactError(
                    f"{image.correct_class!r}, but row {first} says {said!r} of the "
                    "same image",
                    where=f"row {image.row}, column correct_class",
                )
    return found


def _merge(
    folder: Path, found: dict[str, dict[str, str]], *, overwrite: bool
) -> dict[str, _Change]:
    """Returns what the file of each dataset becomes, sorted."""
    paths = mislabeled.paths(folder) if folder.exists() else {}
    changes = {}
    for dataset, class_by_file in sorted(found.items()):
        path = paths.get(normal(dataset), mislabeled.path_of(folder, dataset))
        known = mislabeled.read(path) if path.exists() else {}
        try:
            merged = correcting.merge(known, class_by_file, overwrite=overwrite)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error
        changes[dataset] = _Change(path, merged)
    written = [change.path.name for change in changes.values()]
    known_names = [path.name for path in paths.values()]
    for name, first in containment.find_alike([*known_names, *written]).items():
        raise ConfigurationError(f"{folder}: disks may take {name!r} for {first!r}")
    return changes


def _write(folder: Path, changes: dict[str, _Change]) -> None:
    check_writable(folder)
    with together():
        for change in changes.values():
            if change.merged.added or change.merged.changed:
                mislabeled.write(change.path, change.merged.class_by_file)


def _tell(folder: Path, changes: dict[str, _Change], *, dry_run: bool) -> None:
    for dataset, change in changes.items():
        for file, before, now in change.merged.changed:
            name = cli.one_line(f"{dataset}/{file}")
            _logger.info("%s: %r becomes %r", name, before, now)
    counts = "; ".join(f"{dataset}: {change}" for dataset, change in changes.items())
    _logger.info(
        "%s: %s%s",
        folder,
        cli.one_line(counts) or "no image is marked as mislabeled",
        "; nothing was written" if dry_run else "",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.container_path,
        args.input_csv,
        overwrite=args.overwrite,
        dry_run=args.dry_run,
    )


if __name__ == "__main__":
    raise SystemExit(main())
