from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.artifacts import label_spec
from classification.labels.mapping import (
    map_labels,
    meaning,
    owners,
    select_labels,
    select_targets,
    taken,
)
from classification.runtime.errors import ArtifactError
from taxonomy.graph import DatasetLabel, Taxon, Taxonomy, build_graph
from tests.world import DEER_AND_BIRDS, label_row

Document = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def world() -> Taxonomy:
    return build_graph(DEER_AND_BIRDS)


def mapped(
    world: Taxonomy, targets: Document, labels: Document, *names: str
) -> dict[str, tuple[str, ...]]:
    """Maps specifications as the command does; ``names`` is the label index."""
    return map_labels(
        select_targets(label_spec.from_dict(targets), world),
        select_labels(names or tuple(labels), label_spec.from_dict(labels), world),
        world,
    )


def refused(world: Taxonomy, targets: Document, labels: Document) -> str:
    with pytest.raises(ArtifactError) as refusal:
        mapped(world, targets, labels)
    return str(refusal.value)


def whole(taxon: str, **keys: object) -> dict[str, Any]:
    level, _, name = taxon.partition(" ")
    return {"taxa": [{"level": level, "name": name, **keys}]}


LABELS = {
    "species: cervus canadensis": whole("species cervus canadensis"),
    "species: alces alces": whole("species alces alces"),
    "class: aves": whole("class aves"),
}


def test_labels_go_to_the_target_they_lie_in(world: Taxonomy) -> None:
    targets = {
        "fish": whole("class mammalia") | {"exclude": whole("family cervidae")},
        "deer": whole("family cervidae"),
    }
    assert mapped(world, targets, LABELS) == {
        "fish": (),
        "deer": ("species: alces alces", "species: cervus canadensis"),
        "other": ("class: aves",),
    }


def test_a_target_finer_than_a_label_is_refused(world: Taxonomy) -> None:
    assert refused(world, {"turkey": whole("genus meleagris")}, LABELS) == (
        "turkey: takes only a part of the classifier label 'class: aves'; outside are "
        "2 of 4: class aves, order galliformes. A target takes all of a label or nothing"
    )


def test_targets_that_share_taxa_are_refused(world: Taxonomy) -> None:
    targets = {"deer": whole("family cervidae"), "elk": whole("genus cervus")}
    assert refused(world, targets, LABELS) == (
        "elk: shares taxa with 'deer': genus cervus, species cervus canadensis, "
        "subspecies cervus c. roosevelti; exclude them from one"
    )


def test_labels_that_share_taxa_are_refused(world: Taxonomy) -> None:
    labels = {"a": whole("genus alces"), "b": whole("species alces alces")}
    assert refused(world, {"x": whole("class aves")}, labels) == (
        "b: shares taxa with 'a': species alces alces; exclude them from one"
    )


def test_d8_datasets_count_in_a_classifier_label(world: Taxonomy) -> None:
    """Where they were ignored, moose made the label wider than the target."""
    labels = {"deer": whole("family cervidae", datasets=["idfg"])}
    targets = {"no moose": whole("family cervidae") | {"exclude": whole("genus alces")}}
    assert mapped(world, targets, labels)["no moose"] == ("deer",)


def test_d8_datasets_count_in_a_target(world: Taxonomy) -> None:
    targets = {"idfg's deer": whole("family cervidae", datasets=["idfg"])}
    assert mapped(world, targets, LABELS) == {
        "idfg's deer": ("species: cervus canadensis",),
        "other": ("class: aves", "species: alces alces"),
    }


def test_d8_a_dataset_label_leaves_what_is_below_to_others(world: Taxonomy) -> None:
    """Where it took all birds, the two labels were refused as overlapping."""
    labels = {
        "bird": {"dataset_labels": {"idfg": ["bird"]}},
        "turkey": whole("genus meleagris"),
    }
    assert mapped(world, {"turkeys": whole("genus meleagris")}, labels) == {
        "turkeys": ("turkey",),
        "other": ("bird",),
    }
    assert mapped(world, {"birds": labels["bird"]}, labels) == {
        "birds": ("bird",),
        "other": ("turkey",),
    }


def test_a_targets_dataset_label_stands_for_its_taxon(world: Taxonomy) -> None:
    """The label holds the elk's taxon, so the target takes its subspecies with it."""
    targets = {"elk": {"dataset_labels": {"idfg": ["elk"]}}}
    assert mapped(world, targets, LABELS)["elk"] == ("species: cervus canadensis",)
    roosevelt = {"roosevelt": whole("subspecies cervus c. roosevelti")}
    assert mapped(world, targets, roosevelt) == {"elk": (), "other": ("roosevelt",)}


def test_an_excluded_dataset_label_stands_for_its_taxon(world: Taxonomy) -> None:
    targets = {
        "other deer": whole("family cervidae")
        | {"exclude": {"dataset_labels": {"idfg": ["elk"]}}}
    }
    assert mapped(world, targets, LABELS) == {
        "other deer": ("species: alces alces",),
        "other": ("class: aves", "species: cervus canadensis"),
    }


def test_labels_without_specification_or_taxon_go_to_other(world: Taxonomy) -> None:
    labels = LABELS | {
        "blank": {"dataset_labels": {"caltech": ["empty"]}},
        "typo": {"dataset_labels": {"caltech": ["mose"]}},
    }
    found = mapped(world, {"deer": whole("family cervidae")}, labels, *labels, "extra")
    assert found["other"] == ("blank", "class: aves", "extra", "typo")


def test_a_target_may_name_a_label_without_taxon(world: Taxonomy) -> None:
    blank = {"dataset_labels": {"Caltech": ["Empty"]}}
    assert mapped(world, {"nothing": blank}, LABELS | {"blank": blank}) == {
        "nothing": ("blank",),
        "other": tuple(sorted(LABELS)),
    }


def test_a_label_with_a_taxon_is_judged_by_it_alone(world: Taxonomy) -> None:
    labels = {
        "elk": LABELS["species: cervus canadensis"]
        | {"dataset_labels": {"idfg": ["#ref!"]}}
    }
    assert mapped(world, {"deer": whole("family cervidae")}, labels)["deer"] == ("elk",)
    selected = select_labels(["elk"], label_spec.from_dict(labels), world)
    assert DatasetLabel("idfg", "#ref!") not in meaning(selected["elk"])
    assert meaning(None) == frozenset()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            {"other": whole("class aves")},
            "other: is the name for what no target takes; give this target another",
        ),
        ({"x": whole("genus rangifer")}, "x: selects nothing of the taxonomy"),
        (
            {"x": whole("class aves") | {"exclude": whole("phylum chordata")}},
            "x: selects nothing of the taxonomy",
        ),
        (
            {"x": {"dataset_labels": {"idfg": ["elks"]}}},
            "x.dataset_labels.idfg[0]: the taxonomy has no dataset label idfg|elks",
        ),
        (
            {"x": whole("class aves", datasets=["lila"])},
            "x.taxa[0].datasets[0]: the taxonomy has no dataset 'lila'",
        ),
    ],
)
def test_targets_are_refused(world: Taxonomy, target: Document, message: str) -> None:
    assert refused(world, target, LABELS) == message


def test_a_target_passes_over_an_unknown_taxon_beside_known_ones(
    world: Taxonomy,
) -> None:
    target = {"taxa": [*whole("class aves")["taxa"], *whole("genus sus")["taxa"]]}
    assert mapped(world, {"x": target}, LABELS)["x"] == ("class: aves",)


def test_owners(world: Taxonomy) -> None:
    elk = world.find("species", "cervus canadensis")
    moose = world.find("species", "alces alces")
    assert owners({"a": frozenset([elk]), "b": frozenset([moose])}) == {
        elk: "a",
        moose: "b",
    }


def test_taken_is_what_is_shared(world: Taxonomy) -> None:
    deer = label_spec.from_dict({"deer": whole("family cervidae")})
    target = select_targets(deer, world)["deer"]
    elk = world.find("species", "cervus canadensis")
    aves = world.find("class", "aves")
    assert taken(target, frozenset([elk, aves]), world) == {elk}


SIZE = 12


def name(number: int) -> str:
    return f"clade {number}"


@st.composite
def worlds(draw: st.DrawFn) -> Taxonomy:
    """Draws a forest in which taxon n has the dataset label ``d|n``."""
    chains: list[tuple[str, ...]] = []
    for number in range(SIZE):
        below = draw(st.integers(-1, number - 1))
        above = chains[below] if below >= 0 else ()
        chains.append((name(number), *above))
    return build_graph(
        label_row(f"d|{number}", *chain) for number, chain in enumerate(chains)
    )


@st.composite
def specifications(draw: st.DrawFn, prefix: str) -> Document:
    """Draws labels, each of a taxon of its own, some without those of the others."""
    numbers = draw(st.lists(st.integers(0, SIZE - 1), unique=True, min_size=1))
    document: Document = {}
    for number in numbers:
        by_label = draw(st.booleans())
        one = (
            {"dataset_labels": {"d": [str(number)]}}
            if by_label
            else whole(name(number))
        )
        finer = [whole(name(n))["taxa"][0] for n in numbers if n > number]
        if draw(st.booleans()) and finer:
            one = one | {"exclude": {"taxa": finer}}
        document[f"{prefix}{number}"] = one
    return document


@settings(max_examples=150)
@given(worlds(), specifications("t"), specifications("c"))
def test_a_mapping_is_a_partition_of_the_labels(
    world: Taxonomy, targets: Document, labels: Document
) -> None:
    names = (*labels, "unspecified")
    try:
        found = mapped(world, targets, labels, *names)
    except ArtifactError:
        return
    assert list(found) == [*targets, "other"]
    assert Counter(name for taken in found.values() for name in taken) == Counter(names)
    selected = select_targets(label_spec.from_dict(targets), world)
    taxa = select_labels(names, label_spec.from_dict(labels), world)
    for target, taken_labels in found.items():
        for label in taken_labels if target != "other" else ():
            reached = brute_force_reach(world, selected[target].members)
            assert meaning(taxa[label]) <= reached
            assert meaning(taxa[label]) & selected[target].members


def brute_force_reach(world: Taxonomy, members: frozenset[Any]) -> set[Taxon]:
    """Returns the taxa that have one of ``members`` on their way to the root."""
    return {taxon for taxon in world if set(world.path(taxon)) & members}
