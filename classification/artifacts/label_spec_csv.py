"""Label specification as CSV: the form in which people write ``label_spec.json``.

Written by people; read by ``csv_to_json``::

    # a comment; empty lines are passed over as well
    output_label,type,content
    cervid,row,idfg|elk
    cervid,datasettaxon,idfg|family|cervidae
    cervid,max_count,50000
    cervid,prioritize,"[['idfg_swwlf_2019'], ['idfg']]"
    bird,class,aves             # from all datasets
    !bird,genus,meleagris       # but no turkeys

Each row is one statement about its label; ``!`` before the label turns it into something
to leave out. By ``type``, ``content`` is

=================  ===================================================================
``row``            ``<dataset>|<dataset label>``: exactly this label
``datasettaxon``   ``<dataset>|<level>|<name>``: the taxon, in this dataset
a level            ``<name>``: the taxon, in all datasets
``max_count``      a whole number: at most so many images
``prioritize``     a list of lists of datasets, as a Python literal
=================  ===================================================================

A taxon's name that stands in two kingdoms is written ``<name>|kingdom=<kingdom>``.

``#`` begins a comment at the start of a line or after a space or tab; inside quotes, or
right after another character as in the real label ``idfg|#ref!``, it is part of the text.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from classification.artifacts import _csv, _literal
from classification.artifacts.label_spec import (
    LabelSpec,
    Selection,
    TaxonEntry,
    at_label,
)
from classification.runtime.errors import ArtifactError, in_file
from taxonomy.graph import LEVELS, normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

COLUMNS = ("output_label", "type", "content")

_EXCLUDE = "!"
_TYPES = ("row", "datasettaxon", "max_count", "prioritize")
_KINGDOM = "|kingdom="
_WHOLE_NUMBER = re.compile("0{0,99}[1-9][0-9]{0,17}")
_QUOTE_OR_COMMENT = re.compile(r'"|(?:^|(?<=[ \t]))#')


def read(path: Path) -> dict[str, LabelSpec]:
    """Reads and checks a label specification; labels in the order first named.

    Raises:
        ArtifactError: it is missing or breaks the format; with the row.
    """
    with in_file(path):
        drafts: dict[str, _Draft] = {}
        for row in _csv.read(
            path, columns=COLUMNS, further_columns=False, lines=without_comments
        ):
            label = row.cells["output_label"].removeprefix(_EXCLUDE).strip()
            if not label:
                raise ArtifactError("expected a label", where=row.where("output_label"))
            _note(drafts.setdefault(label, _Draft()), row)
        if not drafts:
            raise ArtifactError("no label; expected at least one row")
        return {label: _finished(label, draft) for label, draft in drafts.items()}


def without_comments(lines: Iterable[str]) -> Iterator[str]:
    """Yields each line up to its comment; quotes may run over several lines."""
    quoted = False
    for line in lines:
        end = len(line)
        closed_at = -2
        for mark in _QUOTE_OR_COMMENT.finditer(line):
            at = mark.start()
            if mark[0] == "#":
                if not quoted:
                    end = at
                    break
            elif quoted:
                quoted = False
                closed_at = at
            else:  # a quote opens at the start of a cell, or where it is doubled
                quoted = at == 0 or line[at - 1] == "," or closed_at == at - 1
        yield line if end == len(line) else line[:end] + "\n"


@dataclass(slots=True)
class _SelectionDraft:
    dataset_labels: dict[str, list[str]] = field(default_factory=dict)
    taxa: list[TaxonEntry] = field(default_factory=list)

    def finished(self) -> Selection:
        labels = {ds: tuple(names) for ds, names in self.dataset_labels.items()}
        return Selection(dataset_labels=labels, taxa=tuple(self.taxa))


@dataclass(slots=True)
class _Draft:
    include: _SelectionDraft = field(default_factory=_SelectionDraft)
    exclude: _SelectionDraft = field(default_factory=_SelectionDraft)
    max_count: int | None = None
    prioritize: tuple[tuple[str, ...], ...] = ()


def _note(draft: _Draft, row: _csv.Row) -> None:
    """Adds what one row states to the draft of its label."""
    kind = normal(row.cells["type"])
    excludes = row.cells["output_label"].startswith(_EXCLUDE)
    selection = draft.exclude if excludes else draft.include
    content = row.cells["content"]
    if kind == "row":
        dataset, label = _parts(row, content, "<dataset>|<dataset label>")
        selection.dataset_labels.setdefault(dataset, []).append(label)
    elif kind == "datasettaxon":
        selection.taxa.append(_taxon_of_dataset(row, content))
    elif kind not in _TYPES:
        _check_level(kind, row.where("type"), words=(*LEVELS, *_TYPES))
        selection.taxa.append(_taxon(row, row.cells["type"], content))
    elif excludes:
        raise ArtifactError(f"{kind} cannot be excluded", where=row.where("type"))
    elif kind == "max_count":
        draft.max_count = _max_count(row, draft)
    else:
        draft.prioritize = _prioritize(row, draft)


def _taxon_of_dataset(row: _csv.Row, content: str) -> TaxonEntry:
    unmarked, mark, kingdom = content.partition(_KINGDOM)
    dataset, level, name = _parts(row, unmarked, "<dataset>|<level>|<name>")
    _check_level(level, row.where("content"))
    return _taxon(row, level, name + mark + kingdom, datasets=(dataset,))


def _taxon(
    row: _csv.Row, level: str, content: str, datasets: tuple[str, ...] | None = None
) -> TaxonEntry:
    name, mark, kingdom = (part.strip() for part in content.partition(_KINGDOM))
    if not name or "|" in name or "#" in name or bool(mark) != bool(kingdom):
        raise ArtifactError(
            f"expected the name of a taxon, found {content!r}",
            where=row.where("content"),
        )
    return TaxonEntry(
        level=level, name=name, kingdom=kingdom or None, datasets=datasets
    )


def _parts(row: _csv.Row, content: str, form: str) -> list[str]:
    parts = [part.strip() for part in content.split("|")]
    if len(parts) != form.count("|") + 1 or not all(parts):
        raise ArtifactError(
            f"expected {form}, found {content!r}", where=row.where("content")
        )
    return parts


def _check_level(level: str, where: str, words: tuple[str, ...] = LEVELS) -> None:
    if normal(level) not in LEVELS:
        nearest = difflib.get_close_matches(normal(level), words, n=1, cutoff=0)
        raise ArtifactError(
            f"unknown level {level!r}; did you mean {nearest[0]!r}?", where=where
        )


def _max_count(row: _csv.Row, draft: _Draft) -> int:
    if draft.max_count is not None:
        raise ArtifactError("max_count stands twice", where=row.where("type"))
    content = row.cells["content"]
    if not _WHOLE_NUMBER.fullmatch(content):
        raise ArtifactError(
            f"expected a whole number above 0, found {content!r}",
            where=row.where("content"),
        )
    return int(content)


def _prioritize(row: _csv.Row, draft: _Draft) -> tuple[tuple[str, ...], ...]:
    if draft.prioritize:
        raise ArtifactError("prioritize stands twice", where=row.where("type"))
    value = _literal.parse(row.cells["content"], where=row.where("content"))
    levels = _lists_of_names(value)
    if levels is None:
        raise ArtifactError(
            "expected a list of lists of datasets, such as [['a', 'b'], ['c']]",
            where=row.where("content"),
        )
    return levels


def _lists_of_names(value: object) -> tuple[tuple[str, ...], ...] | None:
    if not isinstance(value, list):
        return None
    for level in value:
        if not isinstance(level, list) or not all(
            isinstance(name, str) and name.strip() for name in level
        ):
            return None
    return tuple(tuple(level) for level in value)


def _finished(label: str, draft: _Draft) -> LabelSpec:
    with at_label(label):
        return LabelSpec(
            include=draft.include.finished(),
            exclude=draft.exclude.finished(),
            max_count=draft.max_count,
            prioritize=draft.prioritize,
        )
