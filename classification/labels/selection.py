"""What a label's specification selects from a taxonomy.

* An entry of ``taxa`` takes its taxon **whole**: with everything below it.
* Limited to ``datasets``, it takes **exactly** the taxa at or below it that a label of
  one of these datasets means.
* ``dataset_labels`` take **exactly** the taxa that they mean, nothing below; a label that
  means no taxon, such as ``empty``, is taken as itself.
* ``exclude`` subtracts taxa, selected in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from classification.runtime.errors import ArtifactError
from taxonomy.graph import (
    DatasetLabel,
    HomonymError,
    Taxon,
    Taxonomy,
    UnknownLabelError,
    UnknownTaxonError,
    normal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from classification.artifacts.label_spec import LabelSpec, Selection, TaxonEntry

_WARNINGS = 5

Member: TypeAlias = Taxon | DatasetLabel  # a dataset label that means no taxon


@dataclass(frozen=True, slots=True)
class Claim:
    """What one list of entries takes.

    Attributes:
        whole: taxa taken with everything below them, which is here too.
        exact: members taken by themselves.
    """

    whole: frozenset[Taxon]
    exact: frozenset[Member]

    @property
    def members(self) -> frozenset[Member]:
        """Returns all that is taken."""
        return self.whole | self.exact


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that a specification names and the taxonomy does not hold.

    Attributes:
        where: its address in the specification.
        name: what it is; a string is the name of a dataset.
    """

    where: str
    name: TaxonEntry | DatasetLabel | str


@dataclass(frozen=True, slots=True)
class Selected:
    """What a label's specification selects.

    Attributes:
        include: what it takes.
        exclude: what is subtracted.
        unknown: what could not be looked up, and was passed over.
    """

    include: Claim
    exclude: Claim
    unknown: tuple[Unknown, ...]

    @property
    def members(self) -> frozenset[Member]:
        """Returns what is taken and not subtracted."""
        return self.include.members - self.exclude.members


def select(label: str, spec: LabelSpec, taxonomy: Taxonomy) -> Selected:
    """Looks up what a label selects.

    Args:
        label: its name, where addresses begin.
        spec: of this label.
        taxonomy: where to look.

    Raises:
        ArtifactError: a taxon's name stands in several kingdoms and the entry does not
            say which is meant.
    """
    unknown: list[Unknown] = []
    return Selected(
        include=_claim(spec.include, label, taxonomy, unknown),
        exclude=_claim(spec.exclude, f"{label}.exclude", taxonomy, unknown),
        unknown=tuple(unknown),
    )


def explain(unknown: Unknown, taxonomy: Taxonomy) -> ArtifactError:
    """Says what was not found, and what is there that looks almost like it."""
    name = unknown.name
    if isinstance(name, str):
        return ArtifactError(
            f"the taxonomy has no dataset {name!r}", where=unknown.where
        )
    if isinstance(name, DatasetLabel):
        return ArtifactError(
            f"the taxonomy has no dataset label {name}", where=unknown.where
        )
    missing = f"the taxonomy has no {name.level} {name.name}"
    if name.kingdom:
        missing += f" in the kingdom {name.kingdom}"
    nearest = taxonomy.nearest(name.level, name.name)
    if nearest:
        kingdom = f" in the kingdom {nearest.kingdom}" if name.kingdom else ""
        missing += f"; did you mean {nearest}{kingdom}?"
    return ArtifactError(missing, where=unknown.where)


def warnings(found: Iterable[Selected | None], taxonomy: Taxonomy) -> list[str]:
    """Returns a sentence on what was not found, for the first few, and on the rest."""
    unknown = [one for selected in found if selected for one in selected.unknown]
    told = [f"{explain(one, taxonomy)}; passed over" for one in unknown[:_WARNINGS]]
    if len(unknown) > _WARNINGS:
        told.append(f"{len(unknown) - _WARNINGS} more like these")
    return told


def _claim(
    selection: Selection, where: str, taxonomy: Taxonomy, unknown: list[Unknown]
) -> Claim:
    whole: set[Taxon] = set()
    exact: set[Member] = set()
    for index, entry in enumerate(selection.taxa):
        address = f"{where}.taxa[{index}]"
        try:
            taxon = taxonomy.find(entry.level, entry.name, entry.kingdom)
        except UnknownTaxonError:
            unknown.append(Unknown(address, entry))
        except HomonymError as error:
            raise ArtifactError(str(error), where=address) from error
        else:
            below = taxonomy.at_or_below(taxon)
            if entry.datasets is None:
                whole.update(below)
            else:
                datasets = set(map(normal, entry.datasets))
                exact.update(t for t in below if _is_labelled(t, datasets, taxonomy))
                unknown += _unknown_datasets(entry.datasets, address, taxonomy)
    for dataset, labels in selection.dataset_labels.items():
        address = f"{where}.dataset_labels.{dataset}"
        exact.update(_meanings(dataset, labels, address, taxonomy, unknown))
    return Claim(frozenset(whole), frozenset(exact))


def _is_labelled(taxon: Taxon, datasets: set[str], taxonomy: Taxonomy) -> bool:
    return any(label.dataset in datasets for label in taxonomy.labels_at(taxon))


def _unknown_datasets(
    datasets: tuple[str, ...], where: str, taxonomy: Taxonomy
) -> Iterator[Unknown]:
    for index, dataset in enumerate(datasets):
        if normal(dataset) not in taxonomy.datasets:
            yield Unknown(f"{where}.datasets[{index}]", dataset)


def _meanings(
    dataset: str,
    labels: tuple[str, ...],
    where: str,
    taxonomy: Taxonomy,
    unknown: list[Unknown],
) -> Iterator[Member]:
    for index, name in enumerate(labels):
        label = DatasetLabel(normal(dataset), normal(name))
        try:
            yield taxonomy.taxon_of(*label) or label
        except UnknownLabelError:
            unknown.append(Unknown(f"{where}[{index}]", label))
