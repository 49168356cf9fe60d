"""Turns a label specification written as CSV into the JSON that the pipeline reads.

Reads   label specification CSV   columns output_label, type, content; one statement
                                  a row, "!" before a label leaves out, "#" comments
Writes  label_spec.json           the same statements, label by label

    output_label,type,content
    cervid,family,cervidae                 everything at or below a taxon
    cervid,row,idfg|elk                    one label of one dataset
    cervid,datasettaxon,idfg|genus|alces   a taxon, in one dataset only
    cervid,max_count,50000                 at most so many images
    cervid,prioritize,"[['idfg'], ['b']]"  datasets to take them from first
    !cervid,genus,rangifer                 but no reindeer

Example:
    python csv_to_json.py label_spec.csv label_spec.json --json-indent 1
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import kinds, label_spec, label_spec_csv
from classification.runtime import cli, outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    input_csv_file: Path
    output_json_path: Path
    json_indent: int | None
    overwrite: bool
    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("csv_to_json", __doc__)
    parser.add_argument(
        "input_csv_file", type=Path, help="label specification CSV to read"
    )
    parser.add_argument(
        "output_json_path",
        type=outputs.file(kinds.LABEL_SPEC),
        help="label specification JSON to write",
    )
    parser.add_argument(
        "--json-indent",
        type=cli.non_negative_int,
        metavar="N",
        help="spaces to indent each level by (default: all on one line)",
    )
    return parser


def run(
    input_csv_file: Path, output_json_path: Path, *, json_indent: int | None
) -> None:
    """Writes the label specification."""
    spec_by_label = label_spec_csv.read(input_csv_file)
    label_spec.write(output_json_path, spec_by_label, indent=json_indent)
    _logger.info("wrote %s: %d labels", output_json_path, len(spec_by_label))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.input_csv_file,
        args.output_json_path,
        json_indent=args.json_indent,
    )


if __name__ == "__main__":
    raise SystemExit(main())
