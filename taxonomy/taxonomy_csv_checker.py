"""Checks a taxonomy CSV and tells everything that is wrong with it, row by row.

Reads   taxonomy CSV   which taxon each label of each dataset means
Writes  nothing; the report goes to stdout:

    error      a row that breaks the format or contradicts itself, a label with two
               meanings, a taxon whose parent no rule picks, taxa above each other
    resolved   a taxon with several parents, which one is kept, and by which rule
    homonym    two taxa of one level and name, in different kingdoms
    remark     unusual, but no error

Ends with exit code 1 where there are errors.

Example:
    python taxonomy_csv_checker.py camera_trap_taxonomy_mapping.csv
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import taxonomy_csv
from classification.runtime import cli
from classification.runtime.errors import ArtifactError
from taxonomy.graph import examine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taxonomy.graph import Findings, LabelRow


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    taxonomy_csv: Path
    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("taxonomy_csv_checker", __doc__, overwrite=False)
    parser.add_argument("taxonomy_csv", type=Path, help="the file to check")
    return parser


def run(path: Path) -> None:
    """Prints the report.

    Raises:
        ArtifactError: the file has errors.
    """
    table = _read(path)
    findings = examine(table.rows)
    errors = [*table.errors, *map(str, findings.problems)]
    for line in _report(table, findings, errors):
        sys.stdout.write(cli.one_line(line) + "\n")
    if errors:
        raise ArtifactError(f"{len(errors)} errors", where=str(path))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(run, args.taxonomy_csv)


@dataclass(slots=True)
class _Table:
    rows: list[LabelRow] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    count: int = 0


def _read(path: Path) -> _Table:
    table = _Table()
    for scanned in taxonomy_csv.scan(path):
        table.count += 1
        table.errors += map(str, scanned.problems)
        if scanned.remark:
            table.remarks.append(scanned.remark)
        if scanned.row is not None:
            table.rows.append(scanned.row)
    return table


def _report(table: _Table, findings: Findings, errors: list[str]) -> Iterator[str]:
    for error in errors:
        yield f"error     {error}"
    for choice in findings.choices:
        dropped = ", ".join(map(str, choice.dropped))
        yield (
            f"resolved  {choice.taxon}: below {choice.parent} ({choice.rule}), "
            f"not {dropped}"
        )
    if findings.taxonomy is not None:
        for homonyms in findings.taxonomy.homonyms:
            kingdoms = ", ".join(taxon.kingdom or "unknown" for taxon in homonyms)
            yield f"homonym   {homonyms[0]}: in the kingdoms {kingdoms}"
    for remark in table.remarks:
        yield f"remark    {remark}"
    yield from _counts(table, findings)
    yield f"{len(errors)} errors, {len(findings.choices)} taxa with several parents resolved"


def _counts(table: _Table, findings: Findings) -> Iterator[str]:
    labels = {row.label for row in table.rows}
    bare = {row.label for row in table.rows if not row.chain}
    yield (
        f"{table.count} rows: {len({label.dataset for label in labels})} datasets, "
        f"{len(labels)} labels, {len(bare)} of them without a taxon"
    )
    if findings.taxonomy is not None:
        roots = ", ".join(map(str, findings.taxonomy.roots))
        yield f"{len(findings.taxonomy)} taxa; roots: {roots}"


if __name__ == "__main__":
    raise SystemExit(main())
