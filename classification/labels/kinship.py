"""How near two labels are along a taxonomy: what a wrong prediction still gets right.

A label stands for the taxa that its specification selects. One label is **above** another
if all that the other stands for is at or below something that it includes: *bird* is above
*duck*, even where ducks are excluded from *bird* because they have a label of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.labels import selection
from classification.labels.wording import some_of
from taxonomy.graph import Taxon

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from classification.artifacts.label_spec import LabelSpec
    from classification.labels.selection import Selected
    from taxonomy.graph import Taxonomy

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
_NONE = -1


@dataclass(frozen=True, kw_only=True)
class Kinship:
    """How labels are related.

    Attributes:
        above: whether label j is above label i, and another one; bool [C, C].
        taxa: for each rank that any label is within a taxon of, the number of that
            taxon for each label, -1 for a label that is within none; int64 [C].
        notes: a sentence on each thing that the specifications lack.
    """

    above: NDArray[np.bool_]
    taxa: Mapping[str, NDArray[np.int64]]
    notes: tuple[str, ...] = ()

    def agreement(self, matrix: NDArray[np.int64]) -> dict[str, float]:
        """Returns how often truth and prediction are of one taxon, by rank.

        Args:
            matrix: confusion matrix, rows are the truth.

        Returns:
            A fraction of the crops whose true label is within a taxon of the rank;
            ranks without such a crop are left out.
        """
        shares = {}
        for rank, taxon in self.taxa.items():
            within = taxon != _NONE
            total = int(matrix[within].sum())
            same = (taxon[:, np.newaxis] == taxon) & within[:, np.newaxis]
            if total:
                shares[rank] = int(matrix[same].sum()) / total
        return shares


def relate(
    labels: Sequence[str], specs: Mapping[str, LabelSpec], taxonomy: Taxonomy
) -> Kinship:
    """Returns how labels are related.

    Args:
        labels: in id order; one without a specification stands for no taxon.
        specs: specification of labels, by name.
        taxonomy: where their taxa stand.

    Raises:
        ArtifactError: a specification names a taxon that is not told apart.
    """
    chosen = [
        selection.select(label, specs[label], taxonomy) if label in specs else None
        for label in labels
    ]
    means = [_tops(one.members if one else (), taxonomy) for one in chosen]
    includes = [_tops(one.include.members if one else (), taxonomy) for one in chosen]
    size = len(labels)
    above = np.array(
        [
            i != j and _is_above(includes[j], means[i], taxonomy)
            for i in range(size)
            for j in range(size)
        ],
        np.bool_,
    )
    return Kinship(
        above=above.reshape(size, size),
        taxa=_taxa_by_rank(means, taxonomy),
        notes=(
            *_without_specification(labels, chosen),
            *selection.warnings(chosen, taxonomy),
        ),
    )


def _without_specification(
    labels: Sequence[str], chosen: Sequence[Selected | None]
) -> list[str]:
    absent = [name for name, one in zip(labels, chosen, strict=True) if one is None]
    return [f"no specification of {some_of(absent)}"] if absent else []


def _tops(members: Iterable[object], taxonomy: Taxonomy) -> frozenset[Taxon]:
    """Returns the taxa that are below no other one of them."""
    taxa = {member for member in members if isinstance(member, Taxon)}
    return frozenset(t for t in taxa if taxa.isdisjoint(taxonomy.path(t)[1:]))


def _is_above(
    upper: frozenset[Taxon], lower: frozenset[Taxon], taxonomy: Taxonomy
) -> bool:
    return bool(lower) and all(
        not upper.isdisjoint(taxonomy.path(taxon)) for taxon in lower
    )


def _taxa_by_rank(
    means: Sequence[frozenset[Taxon]], taxonomy: Taxonomy
) -> dict[str, NDArray[np.int64]]:
    """Numbers, for each rank, the taxon that all of a label is within."""
    found: dict[str, NDArray[np.int64]] = {}
    common = [taxonomy.lowest_common_ancestor(taxa) for taxa in means]
    paths = [() if taxon is None else taxonomy.path(taxon) for taxon in common]
    for rank in RANKS:
        number: dict[Taxon, int] = {}
        column = np.full(len(means), _NONE, np.int64)
        for index, path in enumerate(paths):
            for taxon in path:
                if taxon.level == rank:
                    column[index] = number.setdefault(taxon, len(number))
        if number:
            found[rank] = column
    return found
