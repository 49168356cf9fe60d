"""Taxonomy CSV: which taxon each label of each dataset means.

Kept by people, or released by LILA (``lila-taxonomy-mapping_release.csv``); read by
``json_validator``, ``map_classification_categories`` and ``taxonomy_csv_checker``::

    dataset_name,query,source,taxonomy_level,scientific_name,taxonomy_string
    idfg,elk,inat,species,cervus canadensis,"[(204114, 'species', 'cervus canadensis', ['elk']), (42158, 'genus', 'cervus', [])]"
    idfg,empty,,,,

``query`` is the dataset's own label. ``taxonomy_string`` is a Python literal: (id, level,
scientific name, [common names]) of each taxon, the label's own **first**, the root last;
it is empty for a label that is no taxon. ``taxonomy_level`` and ``scientific_name`` repeat
the level and the name of the first. ``source`` is ``inat``, ``gbif`` or ``manual``; where it
is empty, or the column is missing as in LILA's release, ``inat`` is meant. All forms in
use are read, since further columns are ignored; case and outer spaces do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.artifacts import _csv, _literal
from classification.runtime.errors import ArtifactError, in_file
from taxonomy.graph import (
    DatasetLabel,
    LabelRow,
    Link,
    Taxonomy,
    examine,
    normal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from taxonomy.graph import ParentChoice

COLUMNS = (
    "dataset_name",
    "query",
    "taxonomy_level",
    "scientific_name",
    "taxonomy_string",
)
_DEFAULT_SOURCE = "inat"
_CHOICES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ScannedRow:
    """One row, and what is wrong with it.

    Attributes:
        row: what it states, or None where that cannot be read.
        problems: what breaks the format, each with its address.
        remark: something unusual that is no error; mostly empty.
    """

    row: LabelRow | None
    problems: tuple[ArtifactError, ...]
    remark: str


def read(path: Path, *, single_parent: bool = False) -> Taxonomy:
    """Reads and checks a taxonomy CSV.

    Args:
        path: the file.
        single_parent: refuse taxa with several parents, also where a rule picks one.

    Raises:
        ArtifactError: it is missing, breaks the format, or its rows make no forest;
            with the row and the column where there is one.
    """
    with in_file(path):
        findings = examine(_rows(path))
        if findings.taxonomy is None:
            first, *further = findings.problems
            more = f" (and {len(further)} more)" if further else ""
            raise ArtifactError(
                f"{first}{more}; taxonomy_csv_checker lists all problems"
            )
        if single_parent and findings.choices:
            raise ArtifactError(_several_parents(findings.choices))
    return findings.taxonomy


def _several_parents(choices: Sequence[ParentChoice]) -> str:
    shown = "; ".join(
        f"{choice.taxon} (below {choice.parent}, {', '.join(map(str, choice.dropped))})"
        for choice in choices[:_CHOICES_SHOWN]
    )
    more = len(choices) - _CHOICES_SHOWN
    further = f"; and {more} more" if more > 0 else ""
    return f"taxa with several parents: {shown}{further}"


def scan(path: Path) -> Iterator[ScannedRow]:
    """Yields every row with its problems, going on after each.

    Raises:
        ArtifactError: the file is no such table.
    """
    with in_file(path):
        yield from _scan(path)


def _scan(path: Path) -> Iterator[ScannedRow]:
    chains: dict[str, tuple[Link, ...]] = {}  # most labels share theirs with others
    for row in _csv.read(path, columns=COLUMNS):
        yield _scanned(row, chains)


def _rows(path: Path) -> Iterator[LabelRow]:
    for scanned in _scan(path):
        if scanned.problems:
            raise scanned.problems[0]
        if scanned.row is not None:
            yield scanned.row


def _scanned(row: _csv.Row, chains: dict[str, tuple[Link, ...]]) -> ScannedRow:
    text = row.cells["taxonomy_string"]
    problems = [
        ArtifactError("expected a name", where=row.where(column))
        for column in ("dataset_name", "query")
        if not row.cells[column]
    ]
    try:
        if text not in chains:
            chains[text] = _chain(text, row.where("taxonomy_string"))
    except ArtifactError as problem:
        return ScannedRow(None, (*problems, problem), "")
    chain = chains[text]
    problems += _contradictions(row, chain)
    stated = LabelRow(
        number=row.number,
        label=DatasetLabel(
            normal(row.cells["dataset_name"]), normal(row.cells["query"])
        ),
        chain=chain,
        source=normal(row.cells.get("source", "")) or _DEFAULT_SOURCE,
    )
    remark = ""
    if not chain and row.cells["scientific_name"]:
        remark = (
            f"row {row.number}: {row.cells['scientific_name']} has no taxonomy_string, "
            "so the label counts as no taxon"
        )
    return ScannedRow(stated, tuple(problems), remark)


def _contradictions(row: _csv.Row, chain: tuple[Link, ...]) -> Iterator[ArtifactError]:
    if not chain:
        return
    for column, expected in (
        ("taxonomy_level", chain[0].level),
        ("scientific_name", chain[0].name),
    ):
        found = row.cells[column]
        if normal(found) != expected:
            yield ArtifactError(
                f"{found!r} is not {expected!r}, as taxonomy_string has it",
                where=row.where(column),
            )


def _chain(text: str, where: str) -> tuple[Link, ...]:
    if not text:
        return ()
    value = _literal.parse(text, where=where)
    if not isinstance(value, list):
        raise ArtifactError("expected a list of taxa", where=where)
    return tuple(_link(item, index, where) for index, item in enumerate(value))


def _link(item: object, index: int, where: str) -> Link:
    match item:
        case (int() | str() | None as number, str(level), str(name), [*names]) if (
            level.strip()
            and name.strip()
            and isinstance(item, tuple)
            and all(isinstance(common_name, str) for common_name in names)
        ):
            return Link(normal(level), normal(name), number)
        case _:
            raise ArtifactError(
                f"taxon {index}: expected (id, level, name, [common names])",
                where=where,
            )
