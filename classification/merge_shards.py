"""Joins the shards of a step into what one run would have written.

Shards are what run_detector_batch, run_classifier and detect_and_crop write with
--shard I/N, on one machine or many. OUTPUT is what the step would have written without:
a detections JSON or a classifier output, beside which the shards are, or the detection
cache of detect_and_crop, in which they are.

Reads:
  OUTPUT's shards, such as detections.shard-003-of-010.json, each with its .shard.json,
  which says that it is complete and what part of which run it is
Writes:
  OUTPUT, with the same bytes that the step writes without --shard; of a classifier
  output .info.json, too; of a cache the file of each dataset

It is refused where a shard is missing or not complete, or where shards are not of the
same inputs and options; the line names them.

Example:
  merge_shards.py detections.json
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from classification.artifacts import kinds, predictions
from classification.runtime import cli, outputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    output: Path
    remove_shards: bool
    max_failures: int | None
    overwrite: bool
    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("merge_shards", __doc__)
    parser.add_argument(
        "output",
        type=outputs.Output(files=_written),
        help="what to make: a detections JSON, a classifier output (.csv or .csv.gz), or "
        "the folder of a detection cache",
    )
    parser.add_argument(
        "--remove-shards",
        action="store_true",
        help="remove the shards' files once they are joined",
    )
    cli.add_max_failures(parser)
    return parser


def _written(path: Path, _: Arguments) -> outputs.Files:
    """Returns the one file that is made; a folder's are checked against its shards."""
    if path.is_dir():
        return {}
    is_csv = path.name.endswith(predictions.ENDINGS)
    return {path: kinds.PREDICTIONS if is_csv else kinds.DETECTIONS}


def run(output: Path, *, remove_shards: bool, max_failures: int | None) -> None:
    """Joins shards.

    Raises:
        PipelineError: shards are missing, or not of one run; or too many items failed.
    """
    from classification.sharding import merging  # noqa: PLC0415 - loads numpy

    results = merging.merge(output)
    for merged in results:
        if remove_shards:
            merging.remove(merged.sources)
        _logger.info(
            "%s: %d items of %d shards, %d of them failed",
            merged.path,
            merged.items,
            merged.shards,
            merged.failed,
        )
    cli.check_failures(
        sum(merged.failed for merged in results),
        sum(merged.items for merged in results),
        max_failures,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.output,
        remove_shards=args.remove_shards,
        max_failures=args.max_failures,
    )


if __name__ == "__main__":
    raise SystemExit(main())
