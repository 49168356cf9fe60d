"""Which labels of which datasets each label of a classifier is trained on.

* An entry of ``taxa`` takes every dataset label that means its taxon or one below it; the
  entry's ``datasets`` limit it to labels of these datasets.
* ``dataset_labels`` take exactly the labels they name. Such a label must stand in the
  taxonomy or in the metadata.
* ``exclude`` takes away what it selects by the same rules.

Here a label of a dataset is more than the taxon it means: ``{"idfg": ["elk"]}`` takes
elk of ``idfg`` only. (A target of ``map_classification_categories`` would take the taxon,
see ``selection``.)
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from classification.labels.selection import Unknown, explain
from classification.labels.wording import some_of
from classification.runtime.errors import ArtifactError
from taxonomy.graph import DatasetLabel, HomonymError, UnknownTaxonError, normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from classification.artifacts.label_spec import LabelSpec, Selection, TaxonEntry
    from taxonomy.graph import Taxon, Taxonomy

_NEAREST = 3
# All of them are to be excluded from one label; beyond these a taxon says it shorter.
_SHARED = 20


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All that a specification may name.

    Attributes:
        taxonomy: taxa, and the dataset labels that mean them.
        stored: dataset labels of the metadata store; empty where there is none.
        datasets: names of the store's datasets, as ``normal`` has them.
    """

    taxonomy: Taxonomy
    stored: frozenset[DatasetLabel] = frozenset()
    datasets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a specification, and what it takes.

    Attributes:
        where: its address, such as ``bear.taxa[0]``.
        name: what it names, for messages: ``genus ursus`` or ``idfg|elk``.
        pairs: dataset labels that it takes; never empty.
    """

    where: str
    name: str
    pairs: frozenset[DatasetLabel]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a label is trained on.

    Attributes:
        include: entries that take dataset labels.
        exclude: entries that take some of these away.
        pairs: what is left; never empty.
    """

    include: tuple[Entry, ...]
    exclude: tuple[Entry, ...]
    pairs: frozenset[DatasetLabel] = field(init=False)

    def __post_init__(self) -> None:
        """Subtracts what is excluded."""
        object.__setattr__(self, "pairs", _united(self.include) - _united(self.exclude))


def find_wanted(
    spec_by_label: Mapping[str, LabelSpec], vocabulary: Vocabulary
) -> dict[str, Wanted]:
    """Looks up what each label is trained on.

    Raises:
        ArtifactError: an entry names what neither taxonomy nor metadata hold, or
            matches nothing; or a label excludes all that it takes.
    """
    return {
        label: _wanted(label, spec, vocabulary) for label, spec in spec_by_label.items()
    }


def check_disjoint(wanted_by_label: Mapping[str, Wanted]) -> None:
    """Refuses two labels that take the same dataset label.

    Raises:
        ArtifactError: with both labels, and what they share.
    """
    for (one, first), (other, second) in combinations(wanted_by_label.items(), 2):
        shared = sorted(first.pairs & second.pairs)
        if shared:
            raise ArtifactError(
                f"shares dataset labels with {one!r}: {some_of(list(map(str, shared)), _SHARED)}; "
                "exclude them from one, or give --allow-multilabel",
                where=other,
            )


def labels_by_pair(
    wanted_by_label: Mapping[str, Wanted],
) -> dict[DatasetLabel, tuple[str, ...]]:
    """Returns which labels take each dataset label, in the order given; pairs sorted."""
    labels: dict[DatasetLabel, list[str]] = {}
    for label, wanted in wanted_by_label.items():
        for pair in wanted.pairs:
            labels.setdefault(pair, []).append(label)
    return {pair: tuple(labels[pair]) for pair in sorted(labels)}


def entries_without(
    wanted_by_label: Mapping[str, Wanted], present: Iterable[DatasetLabel]
) -> Iterator[tuple[Entry, str]]:
    """Yields each entry none of whose labels is ``present``, and what is like it there."""
    there = frozenset(present)
    for wanted in wanted_by_label.values():
        for entry in wanted.include:
            if not entry.pairs & there:
                yield entry, _like(entry, there)


def idle_exclusions(wanted_by_label: Mapping[str, Wanted]) -> Iterator[Entry]:
    """Yields each entry of ``exclude`` that takes nothing away."""
    for wanted in wanted_by_label.values():
        included = _united(wanted.include)
        yield from (entry for entry in wanted.exclude if not entry.pairs & included)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Returns up to three of ``names`` that look almost like ``name``, best first."""
    return difflib.get_close_matches(name, sorted(set(names)), n=_NEAREST)


def _united(entries: Iterable[Entry]) -> frozenset[DatasetLabel]:
    return frozenset().union(*(entry.pairs for entry in entries))


def _wanted(label: str, spec: LabelSpec, vocabulary: Vocabulary) -> Wanted:
    wanted = Wanted(
        include=tuple(_entries(spec.include, label, vocabulary)),
        exclude=tuple(_entries(spec.exclude, f"{label}.exclude", vocabulary)),
    )
    if not wanted.pairs:
        raise ArtifactError(
            "takes away everything that the label selects", where=f"{label}.exclude"
        )
    for level, datasets in enumerate(spec.prioritize):
        for index, dataset in enumerate(datasets):
            _check_dataset(dataset, f"{label}.prioritize[{level}][{index}]", vocabulary)
    return wanted


def _entries(
    selection: Selection, where: str, vocabulary: Vocabulary
) -> Iterator[Entry]:
    for index, entry in enumerate(selection.taxa):
        yield _of_taxon(entry, f"{where}.taxa[{index}]", vocabulary)
    for dataset, labels in selection.dataset_labels.items():
        address = f"{where}.dataset_labels.{dataset}"
        _check_dataset(dataset, address, vocabulary)
        for index, label in enumerate(labels):
            pair = DatasetLabel(normal(dataset), normal(label))
            _check_label(pair, f"{address}[{index}]", vocabulary)
            yield Entry(f"{address}[{index}]", str(pair), frozenset({pair}))


def _of_taxon(entry: TaxonEntry, where: str, vocabulary: Vocabulary) -> Entry:
    taxon = _find(entry, where, vocabulary.taxonomy)
    pairs = vocabulary.taxonomy.labels_at_or_below(taxon)
    if entry.datasets is not None:
        for index, dataset in enumerate(entry.datasets):
            _check_dataset(dataset, f"{where}.datasets[{index}]", vocabulary)
        limit = set(map(normal, entry.datasets))
        having = sorted({pair.dataset for pair in pairs})
        pairs = frozenset(pair for pair in pairs if pair.dataset in limit)
        if not pairs:
            raise ArtifactError(
                f"matches nothing: labels of {taxon} are in the datasets "
                f"{some_of(having)}",
                where=where,
            )
    return Entry(where, str(taxon), pairs)


def _find(entry: TaxonEntry, where: str, taxonomy: Taxonomy) -> Taxon:
    try:
        return taxonomy.find(entry.level, entry.name, entry.kingdom)
    except UnknownTaxonError:
        raise explain(Unknown(where, entry), taxonomy) from None
    except HomonymError as error:
        raise ArtifactError(str(error), where=where) from error


def _check_dataset(name: str, where: str, vocabulary: Vocabulary) -> None:
    known = vocabulary.taxonomy.datasets | vocabulary.datasets
    if normal(name) not in known:
        raise ArtifactError(
            f"{_lacking(f'dataset {name!r}', vocabulary)}"
            f"{_suggestion(nearest(normal(name), known), known)}",
            where=where,
        )


def _check_label(pair: DatasetLabel, where: str, vocabulary: Vocabulary) -> None:
    known = vocabulary.taxonomy.labels | vocabulary.stored
    if pair not in known:
        names = {label for dataset, label in known if dataset == pair.dataset}
        raise ArtifactError(
            f"{_lacking(f'dataset label {pair}', vocabulary)}"
            f"{_suggestion(nearest(pair.label, names), names)}",
            where=where,
        )


def _lacking(what: str, vocabulary: Vocabulary) -> str:
    if vocabulary.datasets:
        return f"neither the taxonomy nor the metadata store has the {what}"
    return f"the taxonomy lacks the {what}, and there is no --megadb to look in"


def _suggestion(near: list[str], known: Iterable[str]) -> str:
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    there = sorted(known)
    return f"; there are {some_of(there)}" if there else ""


def _like(entry: Entry, present: frozenset[DatasetLabel]) -> str:
    """Returns labels that are present and look almost like those of an entry."""
    sought = {pair.label for pair in entry.pairs} | {entry.name.partition(" ")[2]}
    datasets = {pair.dataset for pair in entry.pairs}
    same = [pair for pair in present if pair.dataset in datasets]
    by_name: dict[str, list[str]] = {}
    for pair in sorted(same or present):
        by_name.setdefault(pair.label, []).append(str(pair))
    found: dict[str, None] = {}
    for name in sorted(sought - {""}):
        for match in nearest(name, by_name):
            found.update(dict.fromkeys(by_name[match]))
    return some_of(list(found))
