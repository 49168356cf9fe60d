from __future__ import annotations

import pytest

from classification.artifacts.label_spec import LabelSpec, from_dict
from classification.labels.selection import Selected, Unknown, explain, select
from classification.runtime.errors import ArtifactError
from taxonomy.graph import DatasetLabel, Taxonomy, build_graph
from tests.world import DEER_AND_BIRDS, label_row


@pytest.fixture(scope="module")
def world() -> Taxonomy:
    return build_graph(DEER_AND_BIRDS)


def spec(**document: object) -> LabelSpec:
    return from_dict({"x": document})["x"]


def found(world: Taxonomy, **document: object) -> Selected:
    return select("x", spec(**document), world)


def names(selected: Selected) -> set[str]:
    return {str(member) for member in selected.members}


CERVIDAE = {"level": "Family", "name": "Cervidae"}


def test_a_taxon_is_taken_with_everything_below(world: Taxonomy) -> None:
    assert names(found(world, taxa=[CERVIDAE])) == {
        "family cervidae",
        "genus cervus",
        "species cervus canadensis",
        "subspecies cervus c. roosevelti",
        "genus alces",
        "species alces alces",
    }


def test_d8_datasets_limit_a_taxon_to_what_they_name(world: Taxonomy) -> None:
    assert names(found(world, taxa=[CERVIDAE | {"datasets": ["idfg"]}])) == {
        "family cervidae",
        "species cervus canadensis",
    }
    assert names(found(world, taxa=[CERVIDAE | {"datasets": ["caltech"]}])) == {
        "species alces alces",
        "subspecies cervus c. roosevelti",
    }


def test_d8_a_dataset_label_takes_nothing_below(world: Taxonomy) -> None:
    assert names(found(world, dataset_labels={"idfg": ["deer", "elk"]})) == {
        "family cervidae",
        "species cervus canadensis",
    }


def test_d7_specifications_name_things_in_any_case(world: Taxonomy) -> None:
    assert names(found(world, dataset_labels={"IDFG": ["ELK"]})) == {
        "species cervus canadensis"
    }
    limited = found(world, taxa=[CERVIDAE | {"datasets": ["CalTech"]}])
    assert "species alces alces" in names(limited)
    assert limited.unknown == ()


def test_a_label_without_a_taxon_is_itself(world: Taxonomy) -> None:
    selected = found(world, dataset_labels={"caltech": ["empty"], "idfg": ["#REF!"]})
    assert selected.members == {
        DatasetLabel("caltech", "empty"),
        DatasetLabel("idfg", "#ref!"),
    }


def test_exclude_subtracts(world: Taxonomy) -> None:
    selected = found(
        world,
        taxa=[CERVIDAE],
        exclude={
            "taxa": [{"level": "genus", "name": "cervus"}],
            "dataset_labels": {"idfg": ["deer"]},
        },
    )
    assert names(selected) == {"genus alces", "species alces alces"}


def test_what_the_taxonomy_lacks_is_passed_over_and_told(world: Taxonomy) -> None:
    selected = found(
        world,
        taxa=[
            {"level": "genus", "name": "alcess"},
            CERVIDAE | {"datasets": ["idfg", "idgf"]},
            {"level": "genus", "name": "zzzz"},
            CERVIDAE | {"kingdom": "plantae"},
        ],
        dataset_labels={"idfg": ["elk", "elks"]},
    )
    assert names(selected) == {"family cervidae", "species cervus canadensis"}
    assert [str(explain(unknown, world)) for unknown in selected.unknown] == [
        "x.taxa[0]: the taxonomy has no genus alcess; did you mean genus alces?",
        "x.taxa[1].datasets[1]: the taxonomy has no dataset 'idgf'",
        "x.taxa[2]: the taxonomy has no genus zzzz",
        "x.taxa[3]: the taxonomy has no Family Cervidae in the kingdom plantae; did you mean family cervidae in the kingdom animalia?",
        "x.dataset_labels.idfg[1]: the taxonomy has no dataset label idfg|elks",
    ]
    assert selected.unknown[1] == Unknown("x.taxa[1].datasets[1]", "idgf")


def test_d11_a_homonym_needs_its_kingdom() -> None:
    world = build_graph(
        [
            label_row("d|dunnock", "genus prunella", "kingdom animalia"),
            label_row("d|self-heal", "genus prunella", "kingdom plantae"),
        ]
    )
    prunella = {"level": "genus", "name": "prunella"}
    with pytest.raises(ArtifactError) as refusal:
        found(world, taxa=[prunella])
    assert str(refusal.value) == (
        "x.taxa[0]: genus prunella stands in several kingdoms: 'animalia', 'plantae'; "
        "name one under the key kingdom"
    )
    (taxon,) = found(world, taxa=[prunella | {"kingdom": "Plantae"}]).members
    assert taxon == world.find("genus", "prunella", "plantae")
