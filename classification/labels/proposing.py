"""Proposes labels of a classifier: taxa with enough images, as fine as there are enough.

From each root of the taxonomy downwards:

* a taxon that has fewer images than asked for, itself and all below it, becomes nothing;
* a taxon none of whose children has enough becomes a label, with all below it;
* of any other, the children that have enough are searched further. What is left of it, its
  other children and the images labelled as the taxon itself, becomes one label together,
  ``<level>: <name> (other)``, if that is enough.

So no label has fewer images than asked for, no image is of two labels, and no image
counts twice. What is left out is told: images of taxa that have too few even together with
what is left of their parent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.artifacts.label_spec import LabelSpec, Selection, TaxonEntry
from taxonomy.graph import UnknownTaxonError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from taxonomy.graph import DatasetLabel, Taxon, Taxonomy

MIN_IMAGES = 2000
# So many times the mean of all labels is the most that one label takes.
_MEANS = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """A label that is proposed.

    Attributes:
        name: ``<level>: <name>``, with ``(other)`` at the end for what is left of a taxon
            whose larger children have labels of their own.
        taxon: taken with all below it.
        without: taxa at or below it that are not taken, with all below them.
        images: how many it has.
    """

    name: str
    taxon: Taxon
    without: tuple[Taxon, ...]
    images: int


@dataclass(frozen=True, slots=True)
class Proposed:
    """All labels that are proposed, and what has none.

    Attributes:
        labels: sorted by name.
        too_few: images of taxa that are in no label.
        excluded: images of taxa that were not to be in any.
    """

    labels: tuple[Proposal, ...]
    too_few: int
    excluded: int

    @property
    def images(self) -> int:
        """Returns how many images all labels have."""
        return sum(label.images for label in self.labels)


def propose(
    taxonomy: Taxonomy,
    images_by_label: Mapping[DatasetLabel, int],
    *,
    min_images: int = MIN_IMAGES,
    exclude: Collection[Taxon] = (),
) -> Proposed:
    """Searches the taxonomy for labels.

    Args:
        taxonomy: what dataset labels mean.
        images_by_label: images of each dataset label; those that mean no taxon do not
            count.
        min_images: least number of images of a label, above 0.
        exclude: taxa that no label takes, nor anything below them.
    """
    search = _Search(taxonomy, images_by_label, min_images, exclude)
    labels = sorted(search.labels(), key=lambda label: label.name)
    labelled = sum(label.images for label in labels)
    return Proposed(tuple(labels), search.counted - labelled, search.excluded)


def to_specs(
    proposed: Proposed,
    taxonomy: Taxonomy,
    *,
    max_count: int | None = None,
    is_limited: bool = True,
) -> dict[str, LabelSpec]:
    """Returns the specification of each proposed label, labels sorted by name.

    Args:
        proposed: the labels.
        taxonomy: in which they were proposed.
        max_count: the most images that each is to take; None for three times the mean
            number of images of all labels.
        is_limited: whether there is a most at all.
    """
    if is_limited and max_count is None and proposed.labels:
        max_count = max(1, _MEANS * proposed.images // len(proposed.labels))
    homonyms = frozenset(taxon for taxa in taxonomy.homonyms for taxon in taxa)
    return {
        label.name: LabelSpec(
            include=Selection(taxa=(_entry(label.taxon, homonyms),)),
            exclude=Selection(
                taxa=tuple(_entry(taxon, homonyms) for taxon in label.without)
            ),
            max_count=max_count if is_limited else None,
        )
        for label in proposed.labels
    }


def outline(proposed: Proposed, taxonomy: Taxonomy) -> Iterator[str]:
    """Yields the part of the tree that has labels, a taxon a line, each below its parent.

    A line that begins with a label's images is that of its taxon; one that begins with
    blanks has no label of its own, and is there for those below it.
    """
    images_by_taxon = {label.taxon: label.images for label in proposed.labels}
    shown = {above for taxon in images_by_taxon for above in taxonomy.path(taxon)}
    width = max((len(str(n)) for n in images_by_taxon.values()), default=0)
    for taxon in taxonomy:
        if taxon in shown:
            count = str(images_by_taxon.get(taxon, "")).rjust(width)
            yield f"{count} {'  ' * len(taxonomy.path(taxon))}{taxon}"


def find_taxon(text: str, taxonomy: Taxonomy) -> Taxon | None:
    """Returns the taxon that ``<level>: <name>`` or ``<level> <name>`` names, or None.

    Raises:
        HomonymError: several kingdoms have such a taxon.
    """
    level, _, name = text.replace(":", " ", 1).strip().partition(" ")
    try:
        return taxonomy.find(level, name)
    except UnknownTaxonError:
        return None


def _entry(taxon: Taxon, homonyms: Collection[Taxon]) -> TaxonEntry:
    entry = TaxonEntry(level=taxon.level, name=taxon.name)
    if taxon in homonyms and taxon.kingdom:
        return replace(entry, kingdom=taxon.kingdom)
    return entry


class _Search:
    """What the search for labels knows.

    Attributes:
        counted: images of all taxa that may be in a label.
        excluded: images of those that may not.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        images_by_label: Mapping[DatasetLabel, int],
        min_images: int,
        exclude: Collection[Taxon],
    ) -> None:
        self._taxonomy = taxonomy
        self._min_images = max(1, min_images)
        self._homonyms = frozenset(t for taxa in taxonomy.homonyms for t in taxa)
        self._out = _topmost(exclude, taxonomy)
        hidden = frozenset(
            taxon for top in self._out for taxon in taxonomy.at_or_below(top)
        )
        self._total: Counter[Taxon] = Counter()
        self.counted = self.excluded = 0
        # From below: a taxon comes after its parent in the taxonomy's order.
        for taxon in reversed(tuple(taxonomy)):
            own = sum(
                images_by_label.get(pair, 0) for pair in taxonomy.labels_at(taxon)
            )
            if taxon in hidden:
                self.excluded += own
                continue
            self.counted += own
            self._total[taxon] += own
            parent = taxonomy.parent(taxon)
            if parent is not None:
                self._total[parent] += self._total[taxon]

    def labels(self) -> Iterator[Proposal]:
        """Yields each label, in no order that means anything."""
        waiting = list(self._large(self._taxonomy.roots))
        while waiting:
            taxon = waiting.pop()
            large = tuple(self._large(self._taxonomy.children(taxon)))
            waiting += large
            left = self._total[taxon] - sum(self._total[child] for child in large)
            if left >= self._min_images:
                yield Proposal(
                    name=self._name(taxon) + (" (other)" if large else ""),
                    taxon=taxon,
                    without=tuple(sorted({*large, *self._out_below(taxon, large)})),
                    images=left,
                )

    def _large(self, taxa: Iterable[Taxon]) -> Iterator[Taxon]:
        return (taxon for taxon in taxa if self._total[taxon] >= self._min_images)

    def _out_below(self, taxon: Taxon, large: Collection[Taxon]) -> Iterator[Taxon]:
        """Yields what no label takes and is below ``taxon``, but below none of ``large``."""
        for out in self._out:
            path = self._taxonomy.path(out)
            if taxon in path and not set(large).intersection(path):
                yield out

    def _name(self, taxon: Taxon) -> str:
        name = f"{taxon.level}: {taxon.name}"
        is_homonym = taxon in self._homonyms and taxon.kingdom
        return f"{name} ({taxon.kingdom})" if is_homonym else name


def _topmost(taxa: Collection[Taxon], taxonomy: Taxonomy) -> tuple[Taxon, ...]:
    """Returns those of ``taxa`` that are below no other of them."""
    return tuple(
        taxon for taxon in taxa if not set(taxonomy.path(taxon)[1:]).intersection(taxa)
    )
