"""Taxa, and the tree that several catalogues of them agree on.

The input is rows: a dataset, a label of it, and the chain of taxa from the one the label
means up to the root, as one catalogue (iNaturalist, GBIF, or a person) gives it. Chains
share taxa; together they are a graph in which a taxon may have several parents, since
catalogues differ in how many ranks they name and in how they classify.

**What a taxon is.** Its level, its name and its kingdom, so that the plant *Prunella*
and the bird *Prunella* are two taxa. A chain that stops short of a kingdom belongs to
the kingdom in which its taxa are known; where none is known, the kingdom is empty; where
several are, the row is refused.

**Which parent a taxon keeps.** Of all parents that the rows state for it:

1. one that is an ancestor of another is dropped: the lower one says more;
2. a settled case (``SETTLED_PARENTS``) decides;
3. a parent that iNaturalist states goes before one that only others state, since most
   rows are from there.

If more than one is left, the taxonomy is refused with an ``AmbiguousParentError`` that
names the taxon, the parents and the rows. So the result is a forest, whatever the number
of parents.

All text is lower-case; look-ups take any case. Nothing here changes after it is built.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Ranks that catalogues name, from the root down.
LEVELS = (
    "stateofmatter",
    "domain",
    "superkingdom",
    "kingdom",
    "subkingdom",
    "infrakingdom",
    "superphylum",
    "phylum",
    "subphylum",
    "infraphylum",
    "superclass",
    "class",
    "subclass",
    "infraclass",
    "subterclass",
    "cohort",
    "superorder",
    "order",
    "suborder",
    "infraorder",
    "parvorder",
    "zoosection",
    "zoosubsection",
    "superfamily",
    "epifamily",
    "family",
    "subfamily",
    "supertribe",
    "tribe",
    "subtribe",
    "genus",
    "genushybrid",
    "subgenus",
    "section",
    "subsection",
    "complex",
    "species",
    "hybrid",
    "subspecies",
    "variety",
    "form",
    "infrahybrid",
)

# Parents on which catalogues, or their editions, disagree and which users of camera
# traps settled: (level, name) of the taxon -> (level, name) of its parent.
SETTLED_PARENTS = {
    ("family", "cathartidae"): ("order", "accipitriformes"),
    ("family", "soricidae"): ("order", "eulipotyphla"),
    ("family", "trochilidae"): ("order", "caprimulgiformes"),
    ("species", "nyctanassa violacea"): ("genus", "nyctanassa"),
}

_PREFERRED_SOURCE = "inat"
_ABOVE_KINGDOMS = frozenset(LEVELS[: LEVELS.index("kingdom")])
_ROWS_SHOWN = 3


class TaxonomyError(ValueError):
    """A taxonomy that is no forest, or a name that it does not hold."""


class UnknownTaxonError(TaxonomyError):
    """No taxon has this level and name."""


class UnknownLabelError(TaxonomyError):
    """No row names this label of this dataset."""


class HomonymError(TaxonomyError):
    """Several taxa have this level and name, in different kingdoms."""


class AmbiguousParentError(TaxonomyError):
    """A taxon with several parents, of which no rule picks one."""


class CycleError(TaxonomyError):
    """Taxa that are above and below each other."""


class LabelConflictError(TaxonomyError):
    """A label of a dataset that means two things."""


class Link(NamedTuple):
    """One taxon of a chain, as a catalogue gives it; text is lower-case."""

    level: str
    name: str
    id: int | str | None = None


class DatasetLabel(NamedTuple):
    """What a dataset calls something: a taxon or, such as ``empty``, none."""

    dataset: str
    label: str

    def __str__(self) -> str:
        """Shows it as specifications do: ``dataset|label``."""
        return f"{self.dataset}|{self.label}"


class Taxon(NamedTuple):
    """A taxon of the tree: what it is told apart by.

    Attributes:
        level: rank, such as ``species``.
        name: scientific name.
        kingdom: name of its kingdom; empty above kingdoms, or where none is known.
    """

    level: str
    name: str
    kingdom: str

    def __str__(self) -> str:
        """Shows it as ``species ursus arctos``."""
        return f"{self.level} {self.name}"


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What one row of a taxonomy table states.

    Attributes:
        number: of the row, for messages.
        label: what the row is about; lower-case.
        chain: the label's taxon first, then each one above it, up to the root; empty
            for a label that means no taxon.
        source: the catalogue that the chain is from: ``inat``, ``gbif``, ``manual``.
    """

    number: int
    label: DatasetLabel
    chain: tuple[Link, ...]
    source: str = _PREFERRED_SOURCE


@dataclass(frozen=True, slots=True)
class ParentChoice:
    """A taxon with several parents, and the one that a rule picked.

    Attributes:
        taxon: whose parents these are.
        parent: the one that is kept.
        dropped: the others.
        rule: why, in words.
    """

    taxon: Taxon
    parent: Taxon
    dropped: tuple[Taxon, ...]
    rule: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What the rows of a table make when they are put together.

    Attributes:
        taxonomy: the forest, or None where there are problems.
        problems: everything that forbids one, in the order found.
        choices: taxa with several parents, and how each case was resolved.
    """

    taxonomy: Taxonomy | None
    problems: tuple[TaxonomyError, ...]
    choices: tuple[ParentChoice, ...]


class Taxonomy:
    """A forest of taxa, and the dataset labels that mean them.

    Iteration yields each taxon after its parent. Every question about what is below a
    taxon is answered from one ordering made at the start, whatever the depth.
    """

    def __init__(
        self,
        parent_by_taxon: Mapping[Taxon, Taxon | None],
        taxon_by_label: Mapping[DatasetLabel, Taxon | None],
        ids_by_taxon: Mapping[Taxon, Iterable[tuple[str, int | str]]],
    ) -> None:
        """Takes over a forest that was checked; call ``build_graph`` instead.

        Args:
            parent_by_taxon: of every taxon; None for a root. Holds no cycle.
            taxon_by_label: None for a label that means no taxon.
            ids_by_taxon: (source, id) of the catalogue entries of a taxon.
        """
        self._parent = dict(parent_by_taxon)
        self._taxon_by_label = dict(taxon_by_label)
        self._datasets = frozenset(label.dataset for label in taxon_by_label)
        self._ids = {taxon: frozenset(ids) for taxon, ids in ids_by_taxon.items()}
        children: dict[Taxon | None, list[Taxon]] = defaultdict(list)
        taxa_by_name: dict[tuple[str, str], list[Taxon]] = defaultdict(list)
        for taxon, parent in self._parent.items():
            children[parent].append(taxon)
            taxa_by_name[taxon.level, taxon.name].append(taxon)
        labels: dict[Taxon, set[DatasetLabel]] = defaultdict(set)
        for label, meant in self._taxon_by_label.items():
            if meant is not None:
                labels[meant].add(label)
        self._children = {taxon: tuple(below) for taxon, below in children.items()}
        self._taxa_by_name = dict(taxa_by_name)
        self._labels = {taxon: frozenset(names) for taxon, names in labels.items()}
        self._order, self._span = _ordered(self._children)

    def __len__(self) -> int:
        """Returns the number of taxa."""
        return len(self._order)

    def __iter__(self) -> Iterator[Taxon]:
        """Yields the taxa, each after its parent."""
        return iter(self._order)

    @property
    def roots(self) -> tuple[Taxon, ...]:
        """Returns the taxa without a parent."""
        return self._children.get(None, ())

    @property
    def datasets(self) -> frozenset[str]:
        """Returns the datasets that have a label, be it one without a taxon."""
        return self._datasets

    @property
    def labels(self) -> frozenset[DatasetLabel]:
        """Returns every dataset label, those that mean no taxon too."""
        return frozenset(self._taxon_by_label)

    @property
    def homonyms(self) -> tuple[tuple[Taxon, ...], ...]:
        """Returns the taxa that share level and name, kingdom by kingdom."""
        return tuple(tuple(t) for t in self._taxa_by_name.values() if len(t) > 1)

    def find(self, level: str, name: str, kingdom: str | None = None) -> Taxon:
        """Returns the taxon of a level and a name, in any case.

        Args:
            level: rank.
            name: scientific name.
            kingdom: needed only where several kingdoms have such a taxon.

        Raises:
            UnknownTaxonError: there is none.
            HomonymError: there are several, and no kingdom is given.
        """
        found = self._taxa_by_name.get((normal(level), normal(name)), [])
        if kingdom is not None:
            found = [taxon for taxon in found if taxon.kingdom == normal(kingdom)]
        if len(found) > 1:
            kingdoms = ", ".join(sorted(repr(taxon.kingdom) for taxon in found))
            raise HomonymError(
                f"{found[0]} stands in several kingdoms: {kingdoms}; "
                "name one under the key kingdom"
            )
        if not found:
            within = "" if kingdom is None else f" in the kingdom {kingdom}"
            raise UnknownTaxonError(f"unknown taxon {level} {name}{within}")
        return found[0]

    def nearest(self, level: str, name: str) -> Taxon | None:
        """Returns a taxon whose name is almost ``name``, first of the same level."""
        wanted = normal(name)
        same = [taxon for taxon in self if taxon.level == normal(level)]
        for taxa in (same, self._order):
            by_name = {taxon.name: taxon for taxon in taxa}
            for match in difflib.get_close_matches(wanted, by_name, n=1, cutoff=0.8):
                return by_name[match]
        return None

    def taxon_of(self, dataset: str, label: str) -> Taxon | None:
        """Returns what a dataset's label means, in any case; None if it is no taxon.

        Raises:
            UnknownLabelError: no row names it.
        """
        key = DatasetLabel(normal(dataset), normal(label))
        try:
            return self._taxon_by_label[key]
        except KeyError:
            raise UnknownLabelError(f"unknown dataset label {key}") from None

    def ids(self, taxon: Taxon) -> frozenset[tuple[str, int | str]]:
        """Returns (source, id) of each catalogue entry of a taxon."""
        return self._ids.get(taxon, frozenset())

    def parent(self, taxon: Taxon) -> Taxon | None:
        """Returns the taxon above, or None for a root."""
        return self._parent[taxon]

    def children(self, taxon: Taxon) -> tuple[Taxon, ...]:
        """Returns the taxa directly below."""
        return self._children.get(taxon, ())

    def path(self, taxon: Taxon) -> tuple[Taxon, ...]:
        """Returns the taxon itself, then each one above it, up to its root."""
        path = []
        step: Taxon | None = taxon
        while step is not None:
            path.append(step)
            step = self._parent[step]
        return tuple(path)

    def at_or_below(self, taxon: Taxon) -> tuple[Taxon, ...]:
        """Returns the taxon itself and all its descendants, parents first."""
        first, end = self._span[taxon]
        return self._order[first:end]

    def labels_at(self, taxon: Taxon) -> frozenset[DatasetLabel]:
        """Returns the dataset labels that mean exactly this taxon."""
        return self._labels.get(taxon, frozenset())

    def labels_at_or_below(self, taxon: Taxon) -> frozenset[DatasetLabel]:
        """Returns the dataset labels of the taxon and of all its descendants."""
        return frozenset().union(*map(self.labels_at, self.at_or_below(taxon)))

    def lowest_common_ancestor(self, taxa: Iterable[Taxon]) -> Taxon | None:
        """Returns the lowest taxon that all of ``taxa`` are at or below.

        None where there is none: they stand in different trees, or are no taxa at all.
        """
        common: tuple[Taxon, ...] | None = None
        for taxon in taxa:
            path = self.path(taxon)
            above = set(path)
            common = path if common is None else tuple(t for t in common if t in above)
        return common[0] if common else None


def normal(text: str) -> str:
    """Returns the form in which names are compared: lower-case, no outer spaces."""
    return text.strip().lower()


def build_graph(rows: Iterable[LabelRow]) -> Taxonomy:
    """Puts the rows of a table together to a forest.

    Raises:
        TaxonomyError: of one of its kinds, the first of the problems that ``examine``
            finds.
    """
    findings = examine(rows)
    if findings.taxonomy is None:
        raise findings.problems[0]
    return findings.taxonomy


def examine(rows: Iterable[LabelRow]) -> Findings:
    """Puts the rows of a table together, and tells all that is wrong with them."""
    rows = tuple(rows)
    kingdoms = _kingdoms_by_name(rows)
    draft = _Draft()
    problems: list[TaxonomyError] = []
    for row in rows:
        try:
            draft.add(row, _taxa(row, kingdoms))
        except TaxonomyError as problem:
            problems.append(problem)
    problems += [draft.cycle_error(cycle) for cycle in _cycles(draft.parents)]
    parent_by_taxon, choices, ambiguities = _resolve(draft)
    problems += ambiguities
    taxonomy = None
    if not problems:
        meaning = {label: taxon for label, (taxon, _) in draft.meaning.items()}
        taxonomy = Taxonomy(parent_by_taxon, meaning, draft.ids)
    return Findings(taxonomy, tuple(problems), choices)


@dataclass(slots=True)
class _Evidence:
    """Who says that a taxon has a parent."""

    sources: set[str] = field(default_factory=set)
    rows: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.rows[:_ROWS_SHOWN]))
        return f"row {shown}" + (", ..." if len(self.rows) > _ROWS_SHOWN else "")


_Parents: TypeAlias = "dict[Taxon, dict[Taxon, _Evidence]]"


@dataclass(slots=True)
class _Draft:
    """What the rows state, before it is judged."""

    parents: _Parents = field(default_factory=dict)
    ids: dict[Taxon, set[tuple[str, int | str]]] = field(
        default_factory=lambda: defaultdict(set)
    )
    meaning: dict[DatasetLabel, tuple[Taxon | None, int]] = field(default_factory=dict)

    def add(self, row: LabelRow, taxa: tuple[Taxon, ...]) -> None:
        """Notes what ``row`` states; ``taxa`` are those of its chain."""
        for link, taxon in zip(row.chain, taxa, strict=True):
            self.parents.setdefault(taxon, {})
            if link.id is not None:
                self.ids[taxon].add((row.source, link.id))
        for child, parent in pairwise(taxa):
            stated = self.parents[child]
            if parent not in stated:
                stated[parent] = _Evidence()
            evidence = stated[parent]
            evidence.sources.add(row.source)
            if len(evidence.rows) <= _ROWS_SHOWN:
                evidence.rows.append(row.number)
        meant = taxa[0] if taxa else None
        known, number = self.meaning.setdefault(row.label, (meant, row.number))
        if known != meant:
            raise LabelConflictError(
                f"row {row.number}: {row.label} is {meant or 'no taxon'} here "
                f"and {known or 'no taxon'} in row {number}"
            )

    def cycle_error(self, cycle: tuple[Taxon, ...]) -> CycleError:
        """Says which rows put the taxa of ``cycle`` each below the next."""
        steps = zip(cycle, (*cycle[1:], cycle[0]), strict=True)
        return CycleError(
            "taxa above each other: "
            + "; ".join(f"{a} below {b} ({self.parents[a][b]})" for a, b in steps)
        )


def _kingdoms_by_name(rows: Iterable[LabelRow]) -> dict[tuple[str, str], set[str]]:
    kingdoms: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        height = _height_of_kingdom(row.chain)
        if height is not None:
            for link in row.chain[: height + 1]:
                kingdoms[link.level, link.name].add(row.chain[height].name)
    return dict(kingdoms)


def _height_of_kingdom(chain: tuple[Link, ...]) -> int | None:
    return next((i for i, link in enumerate(chain) if link.level == "kingdom"), None)


def _taxa(
    row: LabelRow, kingdoms: Mapping[tuple[str, str], set[str]]
) -> tuple[Taxon, ...]:
    height = _height_of_kingdom(row.chain)
    if height is not None:
        name = row.chain[height].name
        return tuple(
            Taxon(link.level, link.name, name if place <= height else "")
            for place, link in enumerate(row.chain)
        )
    name = _known_kingdom(row, kingdoms)
    return tuple(
        Taxon(link.level, link.name, "" if link.level in _ABOVE_KINGDOMS else name)
        for link in row.chain
    )


def _known_kingdom(row: LabelRow, kingdoms: Mapping[tuple[str, str], set[str]]) -> str:
    known = [
        kingdoms[link.level, link.name]
        for link in row.chain
        if (link.level, link.name) in kingdoms
    ]
    if not known:
        return ""
    shared = set.intersection(*known)
    if len(shared) != 1:
        names = ", ".join(sorted(set.union(*known)))
        raise HomonymError(
            f"row {row.number}: the taxa of {row.label} stand in several kingdoms "
            f"({names}), and its chain names none"
        )
    return next(iter(shared))


def _cycles(parents: _Parents) -> Iterator[tuple[Taxon, ...]]:
    finished: set[Taxon] = set()
    for start in parents:
        if start in finished:
            continue
        trail = {start: iter(parents[start])}  # ordered: the way up that is being tried
        while trail:
            taxon, above = next(reversed(trail.items()))
            for parent in above:
                if parent in trail:
                    way = tuple(trail)
                    yield way[way.index(parent) :]
                elif parent not in finished:
                    trail[parent] = iter(parents[parent])
                    break
            else:
                trail.popitem()
                finished.add(taxon)


def _resolve(
    draft: _Draft,
) -> tuple[
    dict[Taxon, Taxon | None],
    tuple[ParentChoice, ...],
    tuple[AmbiguousParentError, ...],
]:
    parent_by_taxon: dict[Taxon, Taxon | None] = {}
    choices = []
    problems = []
    above_by_taxon: dict[Taxon, frozenset[Taxon]] = {}
    for taxon, stated in draft.parents.items():
        parent_by_taxon[taxon] = next(iter(stated), None)
        if len(stated) > 1:
            for parent in stated:
                if parent not in above_by_taxon:
                    above_by_taxon[parent] = _above(parent, draft.parents)
            try:
                choice = _choose(taxon, stated, above_by_taxon)
            except AmbiguousParentError as problem:
                problems.append(problem)
            else:
                choices.append(choice)
                parent_by_taxon[taxon] = choice.parent
    return parent_by_taxon, tuple(choices), tuple(problems)


def _choose(
    taxon: Taxon,
    stated: Mapping[Taxon, _Evidence],
    above: Mapping[Taxon, frozenset[Taxon]],
) -> ParentChoice:
    higher = frozenset().union(*(above[parent] for parent in stated))
    left = [parent for parent in stated if parent not in higher]
    rule = "the lowest"
    if len(left) > 1:
        settled = SETTLED_PARENTS.get((taxon.level, taxon.name))
        preferred = [p for p in left if (p.level, p.name) == settled]
        rule = "a settled case"
        if not preferred:
            preferred = [p for p in left if _PREFERRED_SOURCE in stated[p].sources]
            rule = "iNaturalist's"
        left = preferred or left
    if len(left) != 1:
        known = "; ".join(f"{p} ({evidence})" for p, evidence in stated.items())
        raise AmbiguousParentError(
            f"{taxon} has several parents, and no rule picks one: {known}"
        )
    dropped = tuple(parent for parent in stated if parent != left[0])
    return ParentChoice(taxon, left[0], dropped, rule)


def _above(taxon: Taxon, parents: _Parents) -> frozenset[Taxon]:
    above: set[Taxon] = set()
    waiting = list(parents[taxon])
    while waiting:
        step = waiting.pop()
        if step not in above:
            above.add(step)
            waiting += parents[step]
    return frozenset(above)


def _ordered(
    children: Mapping[Taxon | None, tuple[Taxon, ...]],
) -> tuple[tuple[Taxon, ...], dict[Taxon, tuple[int, int]]]:
    """Returns the taxa, parents first, and where each one's subtree begins and ends."""
    order: list[Taxon] = []
    first: dict[Taxon, int] = {}
    span: dict[Taxon, tuple[int, int]] = {}
    waiting = list(reversed(children.get(None, ())))
    while waiting:
        taxon = waiting.pop()
        if taxon in first:
            span[taxon] = (first[taxon], len(order))
            continue
        first[taxon] = len(order)
        order.append(taxon)
        waiting.append(taxon)  # comes up again when all below it is in order
        waiting += reversed(children.get(taxon, ()))
    return tuple(order), span
