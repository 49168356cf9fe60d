from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxonomy.graph import (
    LEVELS,
    SETTLED_PARENTS,
    AmbiguousParentError,
    CycleError,
    DatasetLabel,
    HomonymError,
    LabelConflictError,
    LabelRow,
    Taxon,
    Taxonomy,
    UnknownLabelError,
    UnknownTaxonError,
    build_graph,
    examine,
    normal,
)
from tests.world import DEER_AND_BIRDS, label_row


@pytest.fixture(scope="module")
def world() -> Taxonomy:
    return build_graph(DEER_AND_BIRDS)


def names(taxa: tuple[Taxon, ...]) -> list[str]:
    return [str(taxon) for taxon in taxa]


def test_a_taxon_knows_its_way_up_and_down(world: Taxonomy) -> None:
    elk = world.find("species", "cervus canadensis")
    assert names(world.path(elk)) == [
        "species cervus canadensis",
        "genus cervus",
        "family cervidae",
        "order artiodactyla",
        "class mammalia",
        "phylum chordata",
        "kingdom animalia",
    ]
    assert world.parent(elk) == world.find("genus", "cervus")
    assert names(world.children(elk)) == ["subspecies cervus c. roosevelti"]
    assert names(world.at_or_below(world.find("genus", "cervus"))) == [
        "genus cervus",
        "species cervus canadensis",
        "subspecies cervus c. roosevelti",
    ]
    assert world.ids(elk) == {("inat", DEER_AND_BIRDS[1].chain[0].id)}
    assert world.parent(world.roots[0]) is None
    assert names(world.roots) == ["kingdom animalia"]
    assert len(world) == len(set(world)) == 14


def test_labels_are_found_by_taxon_and_taxa_by_label(world: Taxonomy) -> None:
    cervidae = world.find("family", "cervidae")
    assert world.labels_at(cervidae) == {DatasetLabel("idfg", "deer")}
    assert {str(label) for label in world.labels_at_or_below(cervidae)} == {
        "idfg|deer",
        "idfg|elk",
        "caltech|moose",
        "caltech|roosevelt elk",
    }
    assert world.taxon_of("idfg", "deer") == cervidae
    assert world.taxon_of("caltech", "empty") is None
    assert world.datasets == {"idfg", "caltech"}
    assert world.labels == {row.label for row in DEER_AND_BIRDS}


def test_what_is_not_there_is_an_error_that_says_what(world: Taxonomy) -> None:
    with pytest.raises(UnknownTaxonError, match=r"^unknown taxon genus rangifer$"):
        world.find("genus", "rangifer")
    with pytest.raises(UnknownTaxonError, match=r"in the kingdom plantae$"):
        world.find("genus", "cervus", "plantae")
    with pytest.raises(UnknownLabelError, match=r"^unknown dataset label idfg\|elks$"):
        world.taxon_of("IDFG", "elks")


def test_nearest_prefers_the_same_level(world: Taxonomy) -> None:
    assert str(world.nearest("species", "Cervus canadense")) == (
        "species cervus canadensis"
    )
    assert str(world.nearest("species", "meleagriss")) == "genus meleagris"
    assert world.nearest("species", "zzzz") is None


def test_lowest_common_ancestor(world: Taxonomy) -> None:
    elk = world.find("species", "cervus canadensis")
    moose = world.find("species", "alces alces")
    turkey = world.find("species", "meleagris gallopavo")
    assert world.lowest_common_ancestor([elk]) == elk
    assert str(world.lowest_common_ancestor([elk, moose])) == "family cervidae"
    assert str(world.lowest_common_ancestor([elk, moose, turkey])) == "phylum chordata"
    assert world.lowest_common_ancestor([]) is None


def test_taxa_of_two_trees_have_no_common_ancestor() -> None:
    forest = build_graph(
        [label_row("d|a", "kingdom animalia"), label_row("d|b", "kingdom plantae")]
    )
    assert len(forest.roots) == 2
    assert forest.lowest_common_ancestor(forest.roots) is None


def test_d7_names_are_found_in_any_case(world: Taxonomy) -> None:
    assert world.find(" Species", "Cervus Canadensis ", "ANIMALIA").level == "species"
    assert world.taxon_of("IDFG", " Elk") == world.find("species", "cervus canadensis")


def test_d11_homonyms_of_two_kingdoms_are_two_taxa() -> None:
    forest = build_graph(
        [
            label_row("d|dunnock", "genus prunella", "family x", "kingdom animalia"),
            label_row("d|self-heal", "genus prunella", "family y", "kingdom plantae"),
        ]
    )
    bird, plant = forest.homonyms[0]
    assert (bird.kingdom, plant.kingdom) == ("animalia", "plantae")
    assert forest.labels_at_or_below(forest.find("kingdom", "plantae")) == {
        DatasetLabel("d", "self-heal")
    }
    assert forest.find("genus", "prunella", "Plantae") == plant
    with pytest.raises(HomonymError) as refusal:
        forest.find("genus", "prunella")
    assert str(refusal.value) == (
        "genus prunella stands in several kingdoms: 'animalia', 'plantae'; "
        "name one under the key kingdom"
    )


def test_a_chain_without_a_kingdom_joins_the_one_its_taxa_are_known_in() -> None:
    forest = build_graph(
        [
            label_row("d|short", "species prunella v", "genus prunella", "family y"),
            label_row("d|bird", "genus prunella", "family x", "kingdom animalia"),
            label_row("d|plant", "genus prunella", "family y", "kingdom plantae"),
        ]
    )
    assert forest.find("species", "prunella v").kingdom == "plantae"
    assert len(forest.roots) == 2


def test_a_chain_that_fits_two_kingdoms_is_refused() -> None:
    with pytest.raises(HomonymError) as refusal:
        build_graph(
            [
                label_row("d|a", "genus prunella", "kingdom animalia"),
                label_row("d|b", "genus prunella", "kingdom plantae"),
                label_row("d|c", "species prunella x", "genus prunella", number=4),
            ]
        )
    assert str(refusal.value) == (
        "row 4: the taxa of d|c stand in several kingdoms (animalia, plantae), "
        "and its chain names none"
    )


def test_kingdoms_share_what_is_above_them() -> None:
    forest = build_graph(
        [
            label_row("d|a", "kingdom animalia", "stateofmatter life"),
            label_row("d|b", "kingdom plantae", "stateofmatter life"),
            label_row("d|c", "phylum chordata", "stateofmatter life"),
        ]
    )
    assert names(forest.roots) == ["stateofmatter life"]
    assert len(forest.children(forest.roots[0])) == 3


def test_d11_a_query_leaves_the_taxon_as_it_was(world: Taxonomy) -> None:
    cervidae = world.find("family", "cervidae")
    before = world.labels_at(cervidae)
    assert world.labels_at_or_below(cervidae) > before
    assert world.labels_at(cervidae) == before == {DatasetLabel("idfg", "deer")}


def test_a_parent_above_another_is_dropped() -> None:
    findings = examine(
        [
            label_row("d|a", "family felidae", "order carnivora", "class mammalia"),
            label_row(
                "d|b", "family felidae", "suborder feliformia", "order carnivora"
            ),
        ]
    )
    (choice,) = findings.choices
    assert findings.problems == ()
    assert str(choice.parent) == "suborder feliformia"
    assert names(choice.dropped) == ["order carnivora"]
    assert choice.rule == "the lowest"


def test_d11_three_parents_keep_the_lowest() -> None:
    forest = build_graph(
        [
            label_row("d|a", "genus g", "order o", "class c"),
            label_row("d|b", "genus g", "class c"),
            label_row("d|c", "genus g", "family f", "order o"),
        ]
    )
    assert str(forest.parent(forest.find("genus", "g"))) == "family f"


@pytest.mark.parametrize("taxon", sorted(SETTLED_PARENTS))
def test_a_settled_case_decides(taxon: tuple[str, str]) -> None:
    settled = " ".join(SETTLED_PARENTS[taxon])
    rows = [
        label_row("d|a", " ".join(taxon), "order somewhere else", "class c"),
        label_row("d|b", " ".join(taxon), settled, "class c", source="gbif"),
    ]
    findings = examine(rows)
    assert str(findings.choices[0].parent) == settled
    assert findings.choices[0].rule == "a settled case"


def test_inaturalist_goes_before_others() -> None:
    findings = examine(
        [
            label_row("d|a", "genus g", "family gbif", source="gbif"),
            label_row("d|b", "genus g", "family inat"),
            label_row("d|c", "genus g", "family manual", source="manual"),
        ]
    )
    assert str(findings.choices[0].parent) == "family inat"
    assert findings.choices[0].rule == "iNaturalist's"


def test_d11_other_ambiguity_is_refused_by_name_with_its_rows() -> None:
    rows = [
        label_row(f"d|{number}", "genus g", "family a", number=number)
        for number in range(2, 8)
    ]
    rows.append(label_row("d|x", "genus g", "family b", number=9))
    with pytest.raises(AmbiguousParentError) as refusal:
        build_graph(rows)
    assert str(refusal.value) == (
        "genus g has several parents, and no rule picks one: "
        "family a (row 2, 3, 4, ...); family b (row 9)"
    )


def test_taxa_above_each_other_are_refused() -> None:
    with pytest.raises(CycleError) as refusal:
        build_graph(
            [
                label_row("d|a", "genus a", "family b", number=2),
                label_row("d|b", "family b", "genus a", number=3),
            ]
        )
    assert str(refusal.value) == (
        "taxa above each other: "
        "genus a below family b (row 2); family b below genus a (row 3)"
    )


def test_a_taxon_above_itself_is_refused() -> None:
    findings = examine([label_row("d|a", "genus a", "genus a")])
    assert findings.taxonomy is None
    assert "genus a below genus a (row 2)" in str(findings.problems[0])


def test_a_label_with_two_meanings_is_refused() -> None:
    with pytest.raises(LabelConflictError) as refusal:
        build_graph(
            [
                label_row("d|deer", "family cervidae", number=2),
                label_row("d|deer", "family cervidae", number=3),
                label_row("d|deer", number=4),
            ]
        )
    assert str(refusal.value) == (
        "row 4: d|deer is no taxon here and family cervidae in row 2"
    )


def test_all_problems_are_found() -> None:
    findings = examine(
        [
            label_row("d|a", "genus a", "family b"),
            label_row("d|b", "family b", "genus a"),
            label_row("d|a", "family c"),
            label_row("d|e", "genus e", "family f"),
            label_row("d|f", "genus e", "family g"),
        ]
    )
    assert [type(problem) for problem in findings.problems] == [
        LabelConflictError,
        CycleError,
        AmbiguousParentError,
    ]


def test_d57_a_deep_and_a_wide_taxonomy_are_quick() -> None:
    deep = [f"clade {number}" for number in range(20_000)]
    wide = [
        label_row(f"d|{number}", f"species {number}", f"genus {number % 100}")
        for number in range(20_000)
    ]
    begin = time.process_time()
    forest = build_graph([label_row("d|deep", *deep), *wide])
    bottom = forest.find("clade", "0")
    assert len(forest.path(bottom)) == 20_000
    assert len(forest.at_or_below(forest.find("clade", "19999"))) == 20_000
    assert len(forest.labels_at_or_below(forest.find("genus", "7"))) == 200
    assert time.process_time() - begin < 8


def test_an_empty_taxonomy_is_one() -> None:
    forest = build_graph([])
    assert (len(forest), forest.roots, forest.datasets) == (0, (), frozenset())


def test_levels_stand_once_from_the_root_down() -> None:
    assert len(set(LEVELS)) == len(LEVELS)
    known = ["kingdom", "phylum", "class", "order", "family", "genus", "species"]
    assert sorted(known, key=LEVELS.index) == known


def test_normal() -> None:
    assert normal("  Mule Deer ") == "mule deer"


def chain_up(parents: list[int], start: int) -> list[int]:
    chain = [start]
    while parents[chain[-1]] >= 0:
        chain.append(parents[chain[-1]])
    return chain


@st.composite
def forests(draw: st.DrawFn) -> list[int]:
    """Draws the parent of each of some taxa, -1 for a root; a parent comes first."""
    size = draw(st.integers(1, 25))
    return [draw(st.integers(-1, number - 1)) for number in range(size)]


@settings(max_examples=60)
@given(forests(), st.data())
def test_queries_agree_with_brute_force(
    parents: list[int], data: st.DataObject
) -> None:
    chains = [chain_up(parents, number) for number in range(len(parents))]
    world = build_graph(
        label_row(f"d|{chain[0]}", *(f"clade {number}" for number in chain))
        for chain in data.draw(st.permutations(chains))
    )

    def taxa(numbers: set[int]) -> set[Taxon]:
        return {world.find("clade", str(number)) for number in numbers}

    for number, chain in enumerate(chains):
        taxon = world.find("clade", str(number))
        below = {n for n, other in enumerate(chains) if number in other}
        assert names(world.path(taxon)) == [f"clade {n}" for n in chain]
        assert set(world.at_or_below(taxon)) == taxa(below)
        assert {label.label for label in world.labels_at_or_below(taxon)} == {
            str(n) for n in below
        }
    some = data.draw(st.sets(st.sampled_from(range(len(parents))), min_size=1))
    shared = set.intersection(*(set(chains[number]) for number in some))
    expected = max(taxa(shared), key=lambda t: len(world.path(t)), default=None)
    assert world.lowest_common_ancestor(taxa(some)) == expected


@settings(max_examples=100)
@given(st.data())
def test_any_number_of_parents_gives_a_forest_or_a_named_refusal(
    data: st.DataObject,
) -> None:
    size = data.draw(st.integers(2, 9))
    rows: list[LabelRow] = []
    stated: dict[int, set[int]] = {number: set() for number in range(size)}
    for number in range(1, size):
        for parent in data.draw(st.sets(st.integers(0, number - 1), max_size=3)):
            source = data.draw(st.sampled_from(["inat", "gbif"]))
            stated[number].add(parent)
            label = f"d|{number} {parent}"
            taxa = (f"clade {number}", f"clade {parent}")
            rows.append(label_row(label, *taxa, source=source))
    above = {number: ancestors(stated, number) for number in stated}
    try:
        world = build_graph(rows)
    except AmbiguousParentError:
        return
    for taxon in world:
        number = int(taxon.name)
        parent_taxon = world.parent(taxon)
        assert (parent_taxon is None) == (not stated[number])
        if parent_taxon is not None:
            kept = int(parent_taxon.name)
            assert kept in stated[number]
            assert not any(kept in above[other] for other in stated[number])


def ancestors(stated: dict[int, set[int]], number: int) -> set[int]:
    return stated[number].union(*(ancestors(stated, n) for n in stated[number]))
