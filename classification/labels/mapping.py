"""Which target each label of a classifier belongs to.

A label goes to the target that takes **all** its taxa. A label of which a target takes
some taxa and not others is refused: the classifier cannot tell them apart, so no sum of
its probabilities is the target's. What no target takes goes to ``other``.

What a target takes exactly, by a dataset's label, stands for its taxon: where a label
holds that taxon, the target takes with it everything of the label that is below it. So
``{"dataset_labels": {"idfg": ["elk"]}}`` takes the label ``species: cervus canadensis``
with its subspecies; it does not take a label that holds only the subspecies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts.label_spec import LabelSpec, TaxonEntry
from classification.artifacts.target_mapping import OTHER
from classification.labels.selection import Member, Selected, explain, select
from classification.runtime.errors import ArtifactError
from taxonomy.graph import Taxon, Taxonomy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from classification.labels.selection import Claim

_SHOWN = 3


def select_targets(
    spec_by_target: Mapping[str, LabelSpec], taxonomy: Taxonomy
) -> dict[str, Selected]:
    """Looks up what the targets select; unknown taxa are left for the caller to tell.

    Raises:
        ArtifactError: a target is called ``other``, names a dataset or a label that
            the taxonomy does not hold, selects nothing, or shares taxa with another.
    """
    selected_by_target = {}
    for target, spec in spec_by_target.items():
        if target == OTHER:
            raise ArtifactError(
                "is the name for what no target takes; give this target another",
                where=target,
            )
        selected = select(target, spec, taxonomy)
        for unknown in selected.unknown:
            if not isinstance(unknown.name, TaxonEntry):
                raise explain(unknown, taxonomy)
        if not selected.members:
            raise ArtifactError("selects nothing of the taxonomy", where=target)
        selected_by_target[target] = selected
    owners({name: selected.members for name, selected in selected_by_target.items()})
    return selected_by_target


def select_labels(
    names: Iterable[str], spec_by_label: Mapping[str, LabelSpec], taxonomy: Taxonomy
) -> dict[str, Selected | None]:
    """Looks up what a classifier's labels select.

    Args:
        names: the labels that the classifier has.
        spec_by_label: what it was trained on; may hold further labels.
        taxonomy: where to look.

    Returns:
        What each name selects; None for one without a specification.

    Raises:
        ArtifactError: two labels share taxa.
    """
    selected_by_label = {
        name: select(name, spec_by_label[name], taxonomy)
        if name in spec_by_label
        else None
        for name in names
    }
    owners({name: meaning(selected) for name, selected in selected_by_label.items()})
    return selected_by_label


def meaning(selected: Selected | None) -> frozenset[Member]:
    """Returns what a classifier's label means: taxa, or dataset labels without one.

    Dataset labels that mean no taxon count only where the label has no taxon at all:
    they are why a label such as ``empty`` can be a target's.
    """
    members = selected.members if selected else frozenset()
    taxa = frozenset(member for member in members if isinstance(member, Taxon))
    return taxa or members


def map_labels(
    targets: Mapping[str, Selected],
    labels: Mapping[str, Selected | None],
    taxonomy: Taxonomy,
) -> dict[str, tuple[str, ...]]:
    """Assigns every label of a classifier to one target.

    Args:
        targets: what each target selects; no two share taxa.
        labels: what each label selects; no two share taxa, and one that means nothing
            goes to ``other``.
        taxonomy: of both.

    Returns:
        The sorted labels of every target, in the order given, then of ``other``; a
        target may have none. Together they are the classifier's labels, each once.

    Raises:
        ArtifactError: a target takes only a part of a label; ``where`` is the target.
    """
    target_by_member = owners({name: targets[name].members for name in targets})
    labels_by_target: dict[str, list[str]] = {name: [] for name in (*targets, OTHER)}
    for label in sorted(labels):
        members = meaning(labels[label])
        touched = {target_by_member.get(member) for member in members}
        owner = OTHER
        for target in (target for target in targets if target in touched):
            outside = members - taken(targets[target], members, taxonomy)
            if not outside:
                owner = target
            elif outside != members:
                raise _partial(target, label, members, outside)
        labels_by_target[owner].append(label)
    return {target: tuple(names) for target, names in labels_by_target.items()}


def owners(
    members_by_name: Mapping[str, frozenset[Member]],
) -> dict[Member, str]:
    """Returns whose each member is.

    Raises:
        ArtifactError: two own the same.
    """
    owner_by_member: dict[Member, str] = {}
    for name, members in members_by_name.items():
        claimed = members & owner_by_member.keys()
        if claimed:
            other = owner_by_member[min(claimed)]
            shared = members & members_by_name[other]
            raise ArtifactError(
                f"shares taxa with {other!r}: {_listed(shared)}; exclude them from one",
                where=name,
            )
        owner_by_member |= dict.fromkeys(members, name)
    return owner_by_member


def taken(
    target: Selected, members: frozenset[Member], taxonomy: Taxonomy
) -> frozenset[Member]:
    """Returns those of a label's ``members`` that the target takes."""
    return _reached(target.include, members, taxonomy) - _reached(
        target.exclude, members, taxonomy
    )


def _reached(
    claim: Claim, members: frozenset[Member], taxonomy: Taxonomy
) -> frozenset[Member]:
    reached = members & claim.members
    for member in members & claim.exact:
        if isinstance(member, Taxon):
            reached |= members & frozenset(taxonomy.at_or_below(member))
    return reached


def _partial(
    target: str, label: str, members: frozenset[Member], outside: frozenset[Member]
) -> ArtifactError:
    return ArtifactError(
        f"takes only a part of the classifier label {label!r}; outside are "
        f"{len(outside)} of {len(members)}: {_listed(outside)}. A target takes "
        "all of a label or nothing",
        where=target,
    )


def _listed(members: Iterable[Member]) -> str:
    names = sorted(map(str, members))
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
