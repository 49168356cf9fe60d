from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.labels.proposing import find_taxon, outline, propose, to_specs
from classification.labels.wanted import (
    Vocabulary,
    check_disjoint,
    find_wanted,
    labels_by_pair,
)
from taxonomy.graph import DatasetLabel, HomonymError, Taxon, build_graph
from tests.world import DEER_AND_BIRDS, label_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taxonomy.graph import Taxonomy

TAXONOMY = build_graph(DEER_AND_BIRDS)


def counts(**images: int) -> dict[DatasetLabel, int]:
    """Names a dataset label ``idfg_deer``, with ``__`` for a space."""
    named = {name.replace("__", " "): count for name, count in images.items()}
    return {DatasetLabel(*name.split("_", 1)): n for name, n in named.items()}


def images_by_name(
    images: Mapping[DatasetLabel, int], min_images: int, taxonomy: Taxonomy = TAXONOMY
) -> dict[str, int]:
    found = propose(taxonomy, images, min_images=min_images)
    return {label.name: label.images for label in found.labels}


def test_a_taxon_none_of_whose_children_has_enough_is_a_label() -> None:
    images = counts(idfg_elk=6, caltech_moose=6, caltech_turkey=3)
    assert images_by_name(images, 10) == {"family: cervidae": 12}


def test_children_with_enough_have_labels_of_their_own() -> None:
    images = counts(idfg_elk=10, caltech_moose=20, idfg_bird=10)
    assert images_by_name(images, 10) == {
        "class: aves": 10,
        "species: alces alces": 20,
        "species: cervus canadensis": 10,
    }


def test_images_of_the_inner_taxon_itself_are_not_lost() -> None:
    """The original counts them nowhere once a child has a label of its own."""
    images = counts(idfg_deer=12, idfg_elk=10, caltech_moose=3)
    assert images_by_name(images, 10) == {
        "family: cervidae (other)": 15,
        "species: cervus canadensis": 10,
    }


def test_what_is_left_has_a_label_only_if_it_is_enough() -> None:
    images = counts(idfg_deer=4, idfg_elk=10, caltech_moose=3)
    found = propose(TAXONOMY, images, min_images=10)
    assert [label.name for label in found.labels] == ["species: cervus canadensis"]
    assert (found.images, found.too_few, found.excluded) == (10, 7, 0)


def test_a_subspecies_with_enough_leaves_the_species_as_other() -> None:
    images = counts(idfg_elk=10, caltech_roosevelt__elk=11)
    assert images_by_name(images, 10) == {
        "species: cervus canadensis (other)": 10,
        "subspecies: cervus c. roosevelti": 11,
    }


def test_nothing_has_enough() -> None:
    found = propose(TAXONOMY, counts(idfg_elk=9), min_images=10)
    assert (found.labels, found.too_few) == ((), 9)


def test_what_is_left_excludes_what_has_a_label() -> None:
    images = counts(idfg_deer=12, idfg_elk=10, caltech_moose=3)
    specs = to_specs(propose(TAXONOMY, images, min_images=10), TAXONOMY, max_count=7)
    wanted = find_wanted(specs, Vocabulary(TAXONOMY))
    check_disjoint(wanted)
    labels = labels_by_pair(wanted)
    assert labels[DatasetLabel("idfg", "deer")] == ("family: cervidae (other)",)
    assert labels[DatasetLabel("caltech", "moose")] == ("family: cervidae (other)",)
    elk = ("species: cervus canadensis",)
    assert labels[DatasetLabel("caltech", "roosevelt elk")] == elk
    assert {spec.max_count for spec in specs.values()} == {7}


def test_a_label_takes_three_times_the_mean_unless_told() -> None:
    found = propose(TAXONOMY, counts(idfg_bird=11, idfg_elk=100), min_images=10)
    limits = {spec.max_count for spec in to_specs(found, TAXONOMY).values()}
    assert limits == {3 * 111 // 2}
    specs = to_specs(found, TAXONOMY, is_limited=False)
    assert {spec.max_count for spec in specs.values()} == {None}


def test_the_outline_shows_the_tree_of_labels() -> None:
    images = counts(idfg_deer=12, idfg_elk=100, caltech_turkey=3)
    found = propose(TAXONOMY, images, min_images=10)
    assert list(outline(found, TAXONOMY)) == [
        "      kingdom animalia",
        "        phylum chordata",
        "          class mammalia",
        "            order artiodactyla",
        " 12           family cervidae",
        "                genus cervus",
        "100               species cervus canadensis",
    ]


PEOPLE = build_graph(
    [
        label_row("d|ape", "family hominidae", "class mammalia", number=2),
        label_row(
            "d|person",
            *("species homo sapiens", "genus homo", "family hominidae"),
            "class mammalia",
            number=3,
        ),
        label_row("d|cow", "species bos taurus", "class mammalia", number=4),
    ]
)


def test_what_is_excluded_is_in_no_label_and_not_counted() -> None:
    images = {DatasetLabel("d", name): 10 for name in ("ape", "person", "cow")}
    person = find_taxon("Species: Homo sapiens", PEOPLE)
    assert person is not None
    found = propose(PEOPLE, images, min_images=15, exclude=[person])
    assert [(label.name, label.images) for label in found.labels] == [
        ("class: mammalia", 20)
    ]
    assert found.excluded == 10
    wanted = find_wanted(to_specs(found, PEOPLE), Vocabulary(PEOPLE))
    taken = set(labels_by_pair(wanted))
    assert taken == {DatasetLabel("d", "ape"), DatasetLabel("d", "cow")}


def test_the_bird_and_the_plant_of_one_name_are_two_labels() -> None:
    taxonomy = build_graph(
        [
            label_row("d|bird", "genus prunella", "kingdom animalia", number=2),
            label_row("d|herb", "genus prunella", "kingdom plantae", number=3),
        ]
    )
    images = {DatasetLabel("d", "bird"): 10, DatasetLabel("d", "herb"): 10}
    found = propose(taxonomy, images, min_images=10)
    assert [label.name for label in found.labels] == [
        "genus: prunella (animalia)",
        "genus: prunella (plantae)",
    ]
    check_disjoint(find_wanted(to_specs(found, taxonomy), Vocabulary(taxonomy)))
    with pytest.raises(HomonymError):
        find_taxon("genus: prunella", taxonomy)


@given(
    images=st.lists(
        st.integers(0, 30),
        min_size=len(TAXONOMY.labels),
        max_size=len(TAXONOMY.labels),
    ),
    min_images=st.integers(1, 40),
    excluded=st.sampled_from([None, *TAXONOMY]),
)
def test_no_image_is_lost_or_counted_twice(
    images: list[int], min_images: int, excluded: Taxon | None
) -> None:
    """What the specification takes is what was counted, whatever the numbers."""
    counted = dict(zip(sorted(TAXONOMY.labels), images, strict=True))
    exclude = [] if excluded is None else [excluded]
    found = propose(TAXONOMY, counted, min_images=min_images, exclude=exclude)
    specs = to_specs(found, TAXONOMY)
    wanted = find_wanted(specs, Vocabulary(TAXONOMY))
    check_disjoint(wanted)
    taken: Counter[str] = Counter()
    for pair, labels in labels_by_pair(wanted).items():
        taken[labels[0]] += counted[pair]
    assert taken == {label.name: label.images for label in found.labels}
    assert all(label.images >= min_images for label in found.labels)
    with_taxon = sum(n for pair, n in counted.items() if TAXONOMY.taxon_of(*pair))
    assert found.images + found.too_few + found.excluded == with_taxon
